"""Leaderboards with style held equal and on people's scale, from the files to what a reader sees."""

import json
import random

import pytest
from synthetic_project import build

from arena_learning.core.errors import ArenaError
from arena_learning.leaderboard import make_leaderboard
from arena_learning.leaderboard.human import read_human_verdicts
from arena_learning.params import load_params
from arena_learning.report import leaderboard_markdown, leaderboard_text, make_report
from arena_learning.schema.row_files import read_rows
from arena_learning.schema.rows import Battle
from arena_learning.tracking.figures import flywheel_points, round_figures
from arena_learning.tracking.files import read_files


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return build(tmp_path_factory.mktemp("other"), instructions=24, judges=("rubric", "content"))


def evaluated(params, **keys):
    return params.model_copy(update={"evaluate": params.evaluate.model_copy(update=keys)})


def test_every_judge_has_both_ratings_and_the_plain_ones_stay_the_same(project):
    params, paths = project
    assert load_params(paths.params).evaluate.style
    plain, both = (make_leaderboard(evaluated(params, style=one), paths) for one in (False, True))
    for judge in ("rubric", "content"):
        assert "style" not in plain["boards"][judge]
        found = both["boards"][judge].pop("style")
        assert {r["model"] for r in found["ratings"]} == set(params.contestants)
        assert found["gain"]["to"] == params.ordered_rounds[-1]
        # The synthetic answers differ in their length alone.
        assert [e["name"] for e in found["effects"]] == ["length"]
        assert found["effects"][0]["lower"] < found["effects"][0]["elo"] < found["effects"][0]["upper"]
    assert both == plain


def test_an_adaptive_board_holds_style_equal_with_its_own_wider_intervals(project):
    params, paths = project
    chosen = evaluated(params, schedule="adaptive")
    fixed, adaptive = (make_leaderboard(p, paths)["boards"]["rubric"]["style"] for p in (params, chosen))
    assert adaptive["gain"]["difference"] == pytest.approx(fixed["gain"]["difference"])
    assert adaptive["gain"]["upper"] - adaptive["gain"]["lower"] > (
        fixed["gain"]["upper"] - fixed["gain"]["lower"]
    )


def people(paths, share, file="people.jsonl", keys=("instruction_id", "model_a", "model_b", "winner")):
    """Write verdicts of people, who agree with the judge on five battles of six, on a share of the battles."""
    draw = random.Random(4)
    said = {"a": "model_a", "b": "model_b", "tie": "tie"}
    rows = []
    for b in read_rows(paths.arena_battles, Battle):
        if b.judge.startswith("rubric") and b.winner != "unscored" and draw.random() < share:
            winner = said[b.winner] if draw.random() < 5 / 6 else draw.choice(["model_a", "model_b"])
            rows.append(dict(zip(keys, (b.instruction_id, b.a, b.b, winner), strict=True)))
    (paths.root / file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return evaluated(load_params(paths.params), human_verdicts=file), rows


def test_people_s_verdicts_give_every_judge_a_calibrated_board(project):
    paths = project[1]
    params, rows = people(paths, 0.6)
    table = make_leaderboard(params, paths)
    for judge in ("rubric", "content"):
        found = table["boards"][judge]["calibrated"]
        assert {r["model"] for r in found["ratings"]} == set(params.contestants)
        assert found["verdicts"] == len(rows)
        assert sum(r["verdicts"] for r in found["ratings"]) == 2 * len(rows)
        assert found["left_out"] == []
    assert table["boards"]["rubric"]["calibrated"]["agreement"] > 0.75
    text, page = leaderboard_text(table), leaderboard_markdown(table)
    for shown in (text, page):
        assert shown.count("With style held equal") == shown.count("On the scale of human verdicts") == 2
        assert f"people judged {len(rows)} battles on 24 instructions" in shown
    assert "| # | contestant | rating | 95 % interval | by the judge | human verdicts |" in page
    html = make_report(params, paths).read_text(encoding="utf-8")
    assert html.count("<summary>On the scale of human verdicts</summary>") == 2
    assert "chosen at random" in html
    files = read_files(params, paths)
    figures = round_figures(params.ordered_rounds[-1], files)
    points = {point.name: point.value for point in flywheel_points(files, params)}
    last = table["boards"]["rubric"]
    for rule, board in (("_style", last["style"]), ("_calibrated", last["calibrated"])):
        rating = next(r for r in board["ratings"] if r["model"] == params.ordered_rounds[-1])
        assert figures[f"elo{rule}/rubric"] == rating["rating"]
        assert figures[f"elo{rule}/rubric_upper"] == rating["upper"]
        assert points[f"gain{rule}/rubric"] == board["gain"]["difference"]
    assert points["style/rubric/length_lower"] == last["style"]["effects"][0]["lower"]
    assert points["calibrated/rubric/verdicts"] == len(rows)


def test_too_few_verdicts_are_said_and_stop_nothing(project):
    paths = project[1]
    params, _ = people(paths, 0.01)
    table = make_leaderboard(params, paths)
    assert set(table["boards"]["rubric"]["calibrated"]) == {"problem", "passed_over"}
    text = leaderboard_text(table)
    assert "On the scale of human verdicts" in text
    assert "let people judge more of the battles" in text
    assert "none:" in make_report(params, paths).read_text(encoding="utf-8")


def test_labels_under_other_names_and_spellings_are_read(project):
    paths = project[1]
    params, rows = people(paths, 0.3)
    same = read_human_verdicts(params, paths).rows
    spelt = {"model_a": "A", "model_b": "[[B]]", "tie": "tie (bothbad)"}
    lines = ["prompt_id,model_a,model_b,label"]
    lines += [f"{r['instruction_id']},{r['model_a']},{r['model_b']},{spelt[r['winner']]}" for r in rows]
    (paths.root / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert read_human_verdicts(evaluated(params, human_verdicts="people.csv"), paths).rows == same


GOOD = {"instruction_id": "test-1", "model_a": "base", "model_b": "expert", "winner": "tie"}


def test_rows_about_something_else_are_counted(project):
    params, paths = project
    rows = [GOOD, {**GOOD, "instruction_id": "d1-1"}, {**GOOD, "model_b": "gpt"}, {**GOOD, "winner": None}]
    (paths.root / "odd.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    found = read_human_verdicts(evaluated(params, human_verdicts="odd.jsonl"), paths)
    assert len(found.rows) == 1
    assert found.passed == {
        "a contestant that is not on the leaderboard": 1,
        "an instruction that is not in the test set": 1,
        "no winner given": 1,
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**GOOD, "winner": "gpt"}, "line 1: the winner 'gpt' is unknown"),
        ({**GOOD, "model_b": "base"}, "line 1: 'base' meets itself"),
        ({k: v for k, v in GOOD.items() if k != "model_a"}, "line 1: no text in model_a"),
        ({k: v for k, v in GOOD.items() if k != "winner"}, "line 1: no column for the winner"),
        ({**GOOD, "instruction_id": "elsewhere"}, "no verdict in it is about this leaderboard"),
    ],
)
def test_a_wrong_row_is_an_error_with_its_place(project, row, said):
    params, paths = project
    (paths.root / "bad.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(ArenaError) as error:
        read_human_verdicts(evaluated(params, human_verdicts="bad.jsonl"), paths)
    assert said in str(error.value)


def test_a_missing_file_and_one_outside_are_errors(project):
    params, paths = project
    with pytest.raises(ArenaError, match=r"no such file: none\.csv"):
        read_human_verdicts(evaluated(params, human_verdicts="none.csv"), paths)
    with pytest.raises(ArenaError, match="lies outside the project"):
        read_human_verdicts(evaluated(params, human_verdicts="../people.csv"), paths)


def test_a_judge_that_has_not_judged_the_test_set_is_named(project):
    params, paths = project
    with pytest.raises(ArenaError, match=r"judge 'third' of evaluate\.judges has not judged the test set"):
        make_leaderboard(evaluated(params, judges=("rubric", "third")), paths)
