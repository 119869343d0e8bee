"""Judges' games as traces in a real MLflow store, and people's verdicts on them in a file."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import mlflow
from arena_files import both_orders
from mlflow.entities import AssessmentSource
from mlflow.tracing.client import TracingClient

from arena_learning.core.json_files import write_json
from arena_learning.judge.audit.labelled import read_labelled
from arena_learning.leaderboard.human import read_human_verdicts
from arena_learning.params import parse_params
from arena_learning.schema import Battle, FeedbackVerdict, Game, Response, read_rows, write_rows
from arena_learning.tracking import track_project
from arena_learning.tracking.feedback import restored
from arena_learning.tracking.judge_calls import draw_judge_calls
from arena_learning.tracking.mlflow_store import local_uri, opened
from arena_learning.tracking.stage import scope
from arena_learning.tracking.traces import _info


def with_traces(params, number):
    raw = params.model_dump(mode="json")
    return parse_params({**raw, "track": {"traces": number}}, "test")


def ids_of(store):
    found = store.client.search_traces(locations=[store.experiment], max_results=500)
    return {trace.info.tags["arena.key"]: trace.info.trace_id for trace in found}


def traces(paths):
    """Return all traces of the store by the key of their game; each game has one."""
    with opened(paths) as store:
        found = store.client.search_traces(locations=[store.experiment], max_results=500)
    keys = [trace.info.tags["arena.key"] for trace in found]
    assert len(keys) == len(set(keys))
    return dict(zip(keys, found, strict=True))


def ids(paths):
    return {key: trace.info.trace_id for key, trace in traces(paths).items()}


@contextmanager
def at_store(paths, monkeypatch):
    """Let MLflow's own functions reach the project's store, as a user's script does."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local_uri(paths))
    yield
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


def verdict(paths, monkeypatch, value, *, key="", who="ann", kind="HUMAN", name="winner", note=None):
    """Give feedback on a trace (the first by key), and return what MLflow made of it."""
    trace = ids(paths)[key or min(ids(paths))]
    source = AssessmentSource(source_type=kind, source_id=who)
    with at_store(paths, monkeypatch):
        return mlflow.log_feedback(trace_id=trace, name=name, value=value, source=source, rationale=note)


def with_verdict(project, monkeypatch, said):
    """Track a project, let a person judge one of its traces, and track it again."""
    params, paths = project
    track_project(params, paths)
    verdict(paths, monkeypatch, said)
    track_project(params, paths)
    return params, paths


def feedback(paths):
    return read_rows(paths.feedback, FeedbackVerdict) if paths.feedback.is_file() else []


def on_traces(paths):
    """Return the people's verdicts that MLflow shows: the game, the value and who gave it."""
    return sorted(
        (key, given.feedback.value, given.source.source_id)
        for key, trace in traces(paths).items()
        for given in trace.info.assessments
    )


def test_a_trace_shows_what_the_judge_saw_and_said(project):
    params, paths = project
    write_json(paths.stage_metrics("sft-i1", "judge"), {"judge": "rubric-all v1", "games": 4, "seconds": 2.0})
    report = track_project(params, paths)
    assert (report.traces, report.traces_logged, report.warnings) == (4, 4, [])
    found = traces(paths)
    assert set(found) == {
        f"sft-i1/rubric-all v1/d1-{i}/{first}/{second}"
        for i in (1, 2)
        for first, second in (("expert", "base"), ("base", "expert"))
    }
    trace = found["sft-i1/rubric-all v1/d1-1/base/expert"]
    texts = {
        r.contestant: r.text
        for r in read_rows(paths.responses("sft-i1"), Response)
        if r.instruction_id == "d1-1"
    }
    (span,) = trace.data.spans
    assert span.span_type == "EVALUATOR"
    assert (span.inputs["first"], span.inputs["second"]) == (texts["base"], texts["expert"])
    assert span.inputs["messages"][-1]["role"] == "user"
    kept = {"outcome": "second", "score_first": 4.0, "score_second": 8.0, "rationale": "better"}
    assert kept.items() <= span.outputs.items()
    tags = {key: trace.info.tags[f"arena.{key}"] for key in ("judge", "round", "first", "second")}
    assert tags == {"judge": "rubric-all v1", "round": "sft-i1", "first": "base", "second": "expert"}
    # 2 s for 4 games, up to the time at which the file was written.
    assert trace.info.execution_duration == 500
    assert trace.info.request_time + 500 == int(paths.games("sft-i1").stat().st_mtime * 1000)
    assert (trace.info.state, trace.info.response_preview) == ("OK", "second 4 to 8")


def test_a_trace_says_nothing_of_this_machine(project):
    """MLflow's own functions would add the login name, the script's path and git's remote."""
    params, paths = project
    track_project(params, paths)
    for trace in traces(paths).values():
        assert set(trace.info.trace_metadata) <= {"mlflow.trace_schema.version", "mlflow.trace.infoFinalized"}
        own = {key for key in trace.info.tags if not key.startswith("arena.")}
        assert own == {"mlflow.traceName", "mlflow.artifactLocation", "mlflow.trace.spansLocation"}


def test_an_unscored_game_is_an_error_with_its_reason(project):
    params, paths = project
    rows = read_rows(paths.games("sft-i1"), Game)
    lost = rows[0].model_copy(
        update={"score_first": None, "score_second": None, "unscored": "https://me:pw@host/v1 refused"}
    )
    write_rows(paths.games("sft-i1"), [lost])
    track_project(params, paths)
    (trace,) = traces(paths).values()
    assert (trace.info.state, trace.info.response_preview) == ("ERROR", "unscored")
    assert trace.data.spans[0].outputs["unscored"] == "https://***@host/v1 refused"


def test_a_password_in_a_judges_name_is_shown_nowhere(project):
    params, paths = project
    named = "llm https://me:pw@host/v1"
    rows = read_rows(paths.games("sft-i1"), Game)
    write_rows(paths.games("sft-i1"), [row.model_copy(update={"judge": named}) for row in rows])
    battles = read_rows(paths.battles("sft-i1"), Battle)
    why = {"winner": "unscored", "score_a": None, "score_b": None, "gap": None, "unscored": named}
    write_rows(paths.battles("sft-i1"), [row.model_copy(update=why) for row in battles])
    assert track_project(params, paths).traces == 4
    shown = json.dumps([trace.to_dict() for trace in traces(paths).values()])
    tables = [path.read_text(encoding="utf-8") for path in paths.mlruns.rglob("battles.json")]
    assert "***@host" in shown
    assert any("***@host" in table for table in tables)
    assert not [text for text in (shown, *tables) if "me:pw" in text]


def test_a_second_call_leaves_traces_alone_and_a_rebuild_makes_the_same(project):
    params, paths = project
    track_project(params, paths)
    before = ids(paths)
    again = track_project(params, paths)
    assert (again.traces, again.traces_logged) == (4, 0)
    rebuilt = track_project(params, paths, rebuild=True)
    assert (rebuilt.traces, rebuilt.traces_logged, rebuilt.failed) == (4, 4, False)
    assert ids(paths) == before


def test_the_draw_follows_the_seed_and_not_the_order_of_games(project):
    params, paths = project
    drawn = {n: [c.key for c in draw_judge_calls(with_traces(params, n), paths).calls] for n in range(5)}
    assert [len(keys) for keys in drawn.values()] == [0, 1, 2, 3, 4]
    assert all(set(drawn[n]) < set(drawn[n + 1]) for n in range(4))
    write_rows(paths.games("sft-i1"), read_rows(paths.games("sft-i1"), Game)[::-1])
    assert {c.key for c in draw_judge_calls(with_traces(params, 2), paths).calls} == set(drawn[2])


def test_games_of_the_test_set_are_drawn_too_and_fewer_or_changed_games_replace_traces(project):
    params, paths = project
    write_rows(paths.arena_games, both_orders("t-1", "sft-i1"))
    for name in ("expert", "sft-i1"):
        said = Response(
            instruction_id="t-1", contestant=name, text=f"{name} says", finish_reason="stop",
            prompt_tokens=1, completion_tokens=1,
        )  # fmt: skip
        write_rows(paths.arena_responses(name), [said])
    write_rows(paths.split("test"), [read_instruction(paths).model_copy(update={"id": "t-1"})])
    track_project(params, paths)
    before = ids(paths)
    assert len(before) == 6
    changed = [g.model_copy(update={"score_first": 1.0}) for g in both_orders("t-1", "sft-i1")]
    write_rows(paths.arena_games, changed)
    report = track_project(params, paths)
    assert (report.traces, report.traces_logged) == (6, 2)
    shown = traces(paths)
    assert shown["test/rubric-all v1/t-1/sft-i1/expert"].data.spans[0].outputs["score_first"] == 1.0
    assert track_project(with_traces(params, 0), paths).traces == 0
    # Another number of traces is no other flywheel.
    assert traces(paths) == {}


def read_instruction(paths):
    from arena_learning.schema import Instruction

    return read_rows(paths.split("d1"), Instruction)[0]


def test_a_game_without_its_answers_is_counted_and_not_shown(project):
    params, paths = project
    rows = read_rows(paths.responses("sft-i1"), Response)
    write_rows(paths.responses("sft-i1"), [row for row in rows if row.instruction_id != "d1-1"])
    report = track_project(params, paths)
    assert report.traces == 2
    assert report.warnings == [
        "2 of the drawn games are not shown as traces: their instruction or an answer is missing; run `arena repro`"
    ]


def test_a_persons_verdict_becomes_a_row_and_outlives_rebuilds_and_stores(project, template, monkeypatch):
    params, paths = project
    track_project(params, paths)
    key = "sft-i1/rubric-all v1/d1-2/base/expert"
    verdict(paths, monkeypatch, "first", key=key, note="kinder")
    report = track_project(params, paths)
    assert (report.feedback, report.feedback_new, report.warnings) == (1, 1, [])
    (row,) = feedback(paths)
    assert (row.round, row.instruction_id, row.judge) == ("sft-i1", "d1-2", "rubric-all v1")
    assert (row.model_a, row.model_b, row.label, row.said) == ("base", "expert", "model_a", "first")
    assert (row.reviewer, row.note, row.source) == ("ann", "kinder", "mlflow")
    assert row.response_a != row.response_b

    for rebuild in (False, True, True):
        again = track_project(params, paths, rebuild=rebuild)
        assert (again.feedback, again.feedback_new) == (1, 0)
        assert on_traces(paths) == [(key, "first", "ann")]
    shutil.rmtree(paths.mlruns)
    shutil.copytree(template, paths.mlruns)
    assert track_project(params, paths).feedback == 1
    assert on_traces(paths) == [(key, "first", "ann")]
    assert feedback(paths) == [row]


def test_a_colleagues_verdict_that_came_by_git_is_shown_on_the_trace_that_is_there(project, monkeypatch):
    params, paths = with_verdict(project, monkeypatch, "tie")
    (mine,) = feedback(paths)
    theirs = mine.model_copy(update={"id": "theirs", "reviewer": "ben", "said": "second", "label": "model_b"})
    write_rows(paths.feedback, [mine, theirs])
    report = track_project(params, paths)
    assert (report.feedback, report.feedback_new, report.traces_logged) == (2, 0, 0)
    key = min(ids(paths))
    assert on_traces(paths) == [(key, "second", "ben"), (key, "tie", "ann")]
    assert feedback(paths) == [mine, theirs]


def test_a_trace_that_a_kill_left_without_its_span_is_made_again_with_its_verdict(project, monkeypatch):
    params, paths = with_verdict(project, monkeypatch, "first")
    rows, key = feedback(paths), min(ids(paths))
    call = next(call for call in draw_judge_calls(params, paths).calls if call.key == key)
    with opened(paths) as store:
        trace = ids_of(store)[key]
        store.client.delete_traces(experiment_id=store.experiment, trace_ids=[trace])
        given = [one for _, one in restored(call, rows)]
        TracingClient(store.uri).start_trace(_info(store, scope(store.project, params), trace, call, given))
    report = track_project(params, paths)
    assert (report.failed, report.traces_logged, feedback(paths)) == (False, 1, rows)
    assert on_traces(paths) == [(key, "first", "ann")]


def test_what_another_process_added_to_the_file_while_this_one_waited_is_kept(project, monkeypatch):
    params, paths = with_verdict(project, monkeypatch, "tie")
    (mine,) = feedback(paths)
    theirs = mine.model_copy(update={"id": "theirs", "reviewer": "ben"})
    verdict(paths, monkeypatch, "second", who="eve")

    @contextmanager
    def waited(where):
        with opened(where) as store:
            write_rows(paths.feedback, [mine, theirs])
            yield store

    monkeypatch.setattr("arena_learning.tracking.stage.opened", waited)
    assert track_project(params, paths).feedback == 3
    assert {row.reviewer for row in feedback(paths)} == {"ann", "ben", "eve"}


def test_an_overridden_verdict_is_replaced(project, monkeypatch):
    params, paths = project
    track_project(params, paths)
    given = verdict(paths, monkeypatch, "first")
    track_project(params, paths)
    with at_store(paths, monkeypatch):
        mlflow.override_feedback(
            trace_id=given.trace_id,
            assessment_id=given.assessment_id,
            value="both_bad",
            source=AssessmentSource(source_type="HUMAN", source_id="ann"),
        )
    track_project(params, paths)
    assert [(row.said, row.label) for row in feedback(paths)] == [("both_bad", "tie")]


def test_what_is_no_persons_verdict_is_passed_over(project, monkeypatch):
    params, paths = project
    track_project(params, paths)
    verdict(paths, monkeypatch, "first", kind="CODE")
    verdict(paths, monkeypatch, "first", kind="LLM_JUDGE")
    assert track_project(params, paths).warnings == []
    verdict(paths, monkeypatch, True, name="correct")
    verdict(paths, monkeypatch, "the longer one")
    report = track_project(params, paths)
    assert (report.feedback, paths.feedback.exists()) == (0, False)
    assert report.warnings == [
        "people's feedback on traces that is no verdict was passed over: correct True (1), "
        "winner 'the longer one' (1); name it 'winner', with the value first, second, tie or both_bad"
    ]


def test_a_verdict_is_not_put_on_other_answers_than_it_was_given_on(project, monkeypatch):
    params, paths = with_verdict(project, monkeypatch, "first")
    rows = read_rows(paths.responses("sft-i1"), Response)
    write_rows(paths.responses("sft-i1"), [row.model_copy(update={"text": "something else"}) for row in rows])
    track_project(params, paths)
    assert on_traces(paths) == []
    assert len(feedback(paths)) == 1


def test_the_rows_are_labelled_pairs_and_human_verdicts(project, monkeypatch):
    params, paths = with_verdict(project, monkeypatch, "second")
    (row,) = feedback(paths)
    (pair,) = read_labelled(paths.feedback).pairs
    assert (pair.id, pair.label, pair.response_a, pair.turns) == (
        row.id,
        "model_b",
        row.response_a,
        row.turns,
    )
    write_rows(paths.split("test"), [read_instruction(paths)])
    raw = params.model_dump(mode="json")
    raw["evaluate"]["human_verdicts"] = "feedback.jsonl"
    found = read_human_verdicts(parse_params(raw, "test"), paths)
    assert [(v.instruction_id, v.model_a, v.model_b, v.winner) for v in found.rows] == [
        (row.instruction_id, row.model_a, row.model_b, "model_b")
    ]


def test_a_malformed_file_of_verdicts_is_an_error_before_a_trace_is_touched(project):
    params, paths = project
    track_project(params, paths)
    before = ids(paths)
    write_rows(paths.feedback, [])
    paths.feedback.write_text('{"id": 3}\n', encoding="utf-8")
    report = track_project(params, paths, rebuild=True)
    assert report.failed
    assert "feedback.jsonl" in report.warnings[-1]
    assert ids(paths) == before
