"""The forecast of a run on a project whose stages have left their files: counts, lengths, rates, and plan against run."""

from __future__ import annotations

import json

import pytest

from arena_learning.core.json_files import write_json, write_text
from arena_learning.core.paths import Paths
from arena_learning.core.tables import table_text
from arena_learning.core.yaml_files import read_yaml
from arena_learning.params import load_params, parse_params
from arena_learning.params.costs import Budget, Price
from arena_learning.project import (
    Rates,
    against_run,
    forecast_dict,
    forecast_notes,
    forecast_run,
    forecast_table,
)
from arena_learning.project.forecast import contestant_of, spending_place
from arena_learning.project.plan import PlannedStage, RunPlan
from arena_learning.project.plan_record import keep_forecast
from arena_learning.project.seen import Seen
from arena_learning.report import ledger_text, ledger_view, read_ledger, read_ledger_rows
from arena_learning.report.terminal import Page
from arena_learning.store import Account, Spent, Store, store_key

REPOSITORY_PROFILE = "laptop.yaml"
# Two recorded opponents, and these sizes, whatever the profile's are.
SIZES = {"splits": {"d1": 108, "d2": 24, "d3": 16}, "test": 120}
BATTLE = {"contestants": {"base": {"answers": 108, "tokens": 10800, "seconds": 54.0}}}


@pytest.fixture
def project(tmp_path, request):
    """The laptop profile, with the metrics of the first round's stages and nothing else."""
    profile = request.path.parents[3] / "profiles" / REPOSITORY_PROFILE
    raw = read_yaml(profile)
    raw["pool"] |= SIZES
    raw["battle"]["samples"] = 6
    write_text(tmp_path / "params.yaml", json.dumps(raw))
    paths = Paths(tmp_path)
    write_json(paths.stage_metrics("sft-i1", "battle"), BATTLE)
    write_json(paths.stage_metrics("sft-i1", "judge"), {"games": 324, "tokens": 0, "seconds": 3.24})
    cost = {"seconds": {"sft": 190.8}}
    write_json(paths.stage_metrics("sft-i1", "train"), {"rows": 106, "settings": {"epochs": 3}, "cost": cost})
    write_json(paths.card("sft-i1"), {"rows": 106, "rows_new": 106, "instructions": 108})
    return load_params(paths.params), paths


def plan(*names, seconds=None, certain=True):
    return RunPlan(tuple(PlannedStage(name, certain, seconds, True) for name in names), "")


def forecast(project, *names, seconds=None, **fields):
    found = forecast_run(plan(*names, seconds=seconds), *project, **fields)
    return {stage.stage: stage for stage in found}


def made(stage):
    return {share.work.name: share.work.made for share in stage.shares}


def test_what_is_wanted_follows_from_the_sizes_before_anything_is_prepared(project):
    found = forecast(project, "prepare", "battle@sft-i1", "battle@dpo-i1", "judge@dpo-i1", "evaluate")
    assert made(found["battle@sft-i1"]) == {"base": 108, "expert": 108, "plain": 108}
    assert made(found["battle@dpo-i1"]) == {
        "sft-i1": 24 * 7,
        "expert": 24,
        "plain": 24,
    }  # an answer and 6 samples
    # The rubric scores one answer alone: 3 pairs in one order, and each sample's game with itself.
    assert made(found["judge@dpo-i1"]) == {"rubric": 24 * 3 + 24 * 6}
    # 6 contestants: 15 pairs under three judges, all of that kind
    assert made(found["evaluate"]) == dict.fromkeys(("rubric", "content", "reference"), 120 * 15)


def test_stages_that_do_not_run_have_everything(project):
    found = forecast(project, "evaluate")
    assert list(found) == ["evaluate"]


def test_lengths_are_a_contestants_own_then_those_of_the_other_models(project):
    found = forecast(project, "battle@sft-i1", "answer-base", "answer@rloo-i1")
    base = found["answer-base"].shares[0]
    assert (base.tokens_out, base.lengths) == (120 * 100, "its own")
    assert base.seconds == pytest.approx(120 * 100 * 54 / 10800)
    other = found["answer@rloo-i1"].shares[0]
    assert (other.tokens_out, other.lengths) == (120 * 100, "the project's other models")
    recorded = found["battle@sft-i1"].shares[1]
    assert (recorded.tokens_out, recorded.money, recorded.seconds) == (0, 0, 0)


def test_time_is_that_of_the_requests_with_a_usual_start_where_a_stage_has_not_run(project):
    found = forecast(project, "answer-base", "train@sft-i1", "train@dpo-i1", "judge@sft-i1")
    assert found["answer-base"].seconds == pytest.approx(10 + 60)
    assert found["judge@sft-i1"].seconds == pytest.approx(10 + 3.24)  # 324 games
    assert found["train@sft-i1"].seconds == pytest.approx(10 + 190.8)
    assert found["train@dpo-i1"].seconds is None  # no DPO has run here
    assert forecast(project, "train@dpo-i1", seconds=80.0)["train@dpo-i1"].seconds == 80.0


def test_given_rates_replace_measured_ones(project):
    rates = Rates(answers=1000.0, games=100.0, rows=2.0)
    found = forecast(project, "answer-base", "judge@sft-i1", "train@dpo-i1", rates=rates)
    assert found["answer-base"].shares[0].seconds == pytest.approx(12)
    assert found["judge@sft-i1"].shares[0].seconds == pytest.approx(3.24)
    # no DPO round was made: all 24 instructions are rows, in 2 epochs
    assert found["train@dpo-i1"].seconds == pytest.approx(10 + 24 * 2 / 2)


def test_a_stage_that_only_might_run_and_has_nothing_to_make_takes_no_time(project):
    params, paths = project
    for name in ("base", "sft-i1"):
        paths.model(name).mkdir(parents=True)
        (paths.model(name) / "model.safetensors").write_bytes(b"x")
    found = forecast_run(plan("train@sft-i1", seconds=200.0, certain=False), params, paths)
    assert (found[0].certain, found[0].seconds, found[0].shares[0].work.made) == (False, 0.0, 0)


def test_what_a_run_took_besides_its_requests_is_known_from_the_ledger(project):
    params, paths = project
    with Store(paths.store, account=Account("answer", params)) as store:
        payer = store.account.payer("contestant", "base")
        store.put("response", {b"k" * 32: {}}, payer=payer, spent=Spent(120, 120, 20_000, 8_000, 30.0))
    began = read_ledger_time(paths)
    paths.stage_seconds.write_text(
        json.dumps({"stage": "answer-base", "seconds": 45.0, "ended": began}) + "\n", encoding="utf-8"
    )
    # 15 s of the 45 s were no request; 120 answers of 100 tokens at 30 s for 12,000 tokens are made again
    assert forecast(project, "answer-base", seconds=45.0)["answer-base"].seconds == pytest.approx(15 + 30)


SERVED = {"engine": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}


@pytest.mark.parametrize(("local", "seconds"), [(54.0, 200.0), (250.0, 250.0)])
def test_a_rounds_endpoints_are_asked_at_the_same_time_as_its_local_model(project, local, seconds):
    _, paths = project
    raw = read_yaml(paths.params)
    raw["opponents"] = dict.fromkeys(("expert", "plain"), SERVED)
    told = {
        name: {"answers": 108, "tokens": 10800, "seconds": one}
        for name, one in (("base", local), ("expert", 200.0), ("plain", 30.0))
    }
    write_json(paths.stage_metrics("sft-i1", "battle"), {"contestants": told})
    changed = parse_params(raw, "here"), paths
    assert forecast(changed, "battle@sft-i1")["battle@sft-i1"].seconds == pytest.approx(10 + seconds)
    # What the stage took besides: the same requests took as long, of 300 s in all.
    with Store(paths.store, account=Account("battle", changed[0], "sft-i1")) as store:
        for name, one in told.items():
            payer = store.account.payer("contestant", name)
            spent = Spent(108, 108, 21_600, 10_800, one["seconds"])
            store.put("response", {name.encode() * 8: {}}, payer=payer, spent=spent)
    row = {"stage": "battle@sft-i1", "seconds": 300.0, "ended": read_ledger_time(paths)}
    paths.stage_seconds.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert forecast(changed, "battle@sft-i1")["battle@sft-i1"].seconds == pytest.approx(300)


def read_ledger_time(paths):
    with Store(paths.store) as store:
        return store.spending_rows()[-1].ended


def test_the_table_and_its_notes(project):
    params, paths = project
    told = forecast_dict(
        forecast_run(plan("battle@sft-i1", "train@dpo-i1", "gate"), params, paths), params, {}
    )
    text = table_text(forecast_table(told))
    assert [line.split()[0] for line in text.splitlines()[2:]] == [
        "battle@sft-i1",
        "expert",
        "plain",
        "train@dpo-i1",
        "gate",
        "together",
    ]
    assert forecast_notes(told)[0].startswith("unknown time (`?`), not in the sum: train@dpo-i1, gate")
    assert json.loads(json.dumps(told)) == told


def test_a_kept_plan_is_held_against_what_the_stages_took(project):
    params, paths = project
    told = forecast_dict(forecast_run(plan("answer-base", "gate"), params, paths), params, {})
    paths.plans.parent.mkdir(parents=True, exist_ok=True)
    paths.plans.write_text('{"began": "2025-01-01 00:0', encoding="utf-8")  # a kill has cut it
    keep_forecast(told, paths)
    with Store(paths.store, account=Account("answer", params)) as store:
        payer = store.account.payer("contestant", "base")
        store.put("response", {b"k" * 32: {}}, payer=payer, spent=Spent(120, 120, 20_000, 8_000, 30.0))
    ended = read_ledger_time(paths)
    rows = [{"stage": "answer-base", "seconds": s, "ended": ended, "failed": s == 7.0} for s in (7.0, 45.0)]
    old = {"stage": "gate", "seconds": 3.0}  # a line from before the plan
    paths.stage_seconds.write_text("".join(json.dumps(row) + "\n" for row in (old, *rows)), encoding="utf-8")
    held = against_run(params, paths)
    answer, gate = held["stages"]
    assert answer["planned"] == {"made": 120, "tokens": None, "seconds": 70.0, "money": 0.0}
    assert answer["taken"] == {"made": 120, "tokens": 20_000, "money": 0.0, "seconds": 52.0}
    assert (answer["ran"], gate["ran"]) == (True, False)
    assert held["total"]["taken"]["seconds"] == 52.0


def test_the_ledger_of_an_older_store_says_what_is_unknown(project):
    params, paths = project
    with Store(paths.store) as store:
        value = {"text": "x", "prompt_tokens": 7, "completion_tokens": 3, "seconds": 0.5}
        store.put("response", {b"k" * 32: value})
        store.put("game", {b"g" * 32: {"tokens": 40, "seconds": 2.0}})
    view = ledger_view(read_ledger(params, paths), params)
    assert view["earlier"]["answers"]["tokens_in"] == 7
    assert view["earlier"]["games"]["tokens_in"] is None
    assert view["by_round"]["sft-i1"]["seconds"] == 190.8  # the training
    told = {(row["round"], row["stage"], row["name"]): row for row in view["files"]}
    base, rubric = told["sft-i1", "battle", "base"], told["sft-i1", "judge", "rubric"]
    assert [base[key] for key in ("made", "requests", "tokens_in", "tokens_out", "seconds")] == [
        108,
        None,
        None,
        10800,
        54.0,
    ]
    assert (rubric["made"], rubric["tokens_in"], rubric["money"]) == (324, 0, 0.0)
    assert view["total"]["tokens"] == 0  # they are in no sum
    text = ledger_text(view, Page(120, colour=False))
    assert "In the store from before the ledger began: 1 games, 2 s, ? tokens in, ? out" in text


def test_stages_and_their_places_in_the_store():
    assert spending_place("train@rloo-i1") == ("train", "rloo-i1")
    assert contestant_of("judge@sft-i1") == ""


def test_ratings_of_difficulty_are_no_games_and_opponents_for_labels_are_seen(project):
    params, paths = project
    served = {"engine": "openai", "base_url": "http://127.0.0.1:9/v1"}
    judge = params.judges["rubric"].model_copy(update={"kind": "llm", "model": "j", **served})
    teacher = params.opponents["expert"].model_copy(update={"role": "labels", "model": "t", **served})
    params = params.model_copy(
        update={"judges": {**params.judges, "big": judge}, "opponents": {"teacher": teacher}}
    )
    for stage, role, name, tokens in (
        ("difficulty", "judge", "big", 90_000),
        ("judge", "judge", "big", 5_000),
        ("battle", "contestant", "teacher", 7_000),
    ):
        with Store(paths.store, account=Account(stage, params)) as store:
            payer = store.account.payer(role, name)
            key = store_key("response", {"stage": stage})
            store.put("response", {key: {}}, payer=payer, spent=Spent(10, 10, tokens, 1_000, 2.0))
    seen = Seen(read_ledger_rows(params, paths), params, paths, Rates())
    assert seen.game("big", None).generated == 400  # (5,000 - 1,000) / 10
    teachers = seen.answer("teacher", None, 4096)
    assert (teachers.generated, teachers.source) == (600, "its own")


def test_the_ledgers_budget_is_the_one_that_stops_a_run(project):
    """Two runs of one contestant, of which one has tokens of unknown kind: what is known of their money counts."""
    params, paths = project
    served = {"engine": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    one = params.opponents["expert"].model_copy(update=served)
    price = Price(input=1.0, output=5.0)
    update = {"opponents": {"one": one}, "prices": {"m": price}, "budget": Budget(money=1.0, tokens=10_000)}
    params = params.model_copy(update=update)
    for number, prompts in enumerate((1_000, None)):
        with Store(paths.store, account=Account("answer", params)) as store:
            payer = store.account.payer("contestant", "one")
            key = store_key("response", {"number": number})
            store.put("response", {key: {}}, payer=payer, spent=Spent(1, 1, 2_000, prompts, 1.0))
    with Store(paths.store, account=Account("answer", params)) as store:
        spent = store.spent()
    budget = ledger_view(read_ledger(params, paths), params)["budget"]
    assert spent == {"money": pytest.approx(0.006), "tokens": 4_000}  # 1,000 at 1 and 1,000 at 5
    assert (budget["money"]["spent"], budget["tokens"]["spent"]) == (spent["money"], spent["tokens"])


def test_a_note_why_games_cannot_be_counted_is_kept_beside_samples(project):
    params, paths = project
    write_text(paths.responses("dpo-i1"), "no row\n")
    share = forecast((params, paths), "judge@dpo-i1")["judge@dpo-i1"].shares[0]
    assert share.work.note.startswith("the row: Invalid JSON")
