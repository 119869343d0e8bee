"""The tables against text written by hand from a small leaderboard."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from synthetic_project import build

from arena_learning.cli.main import cli
from arena_learning.core import ArenaError, read_json
from arena_learning.core.tables import Table, table_markdown
from arena_learning.leaderboard.ratings import make_leaderboard
from arena_learning.pool import fingerprint
from arena_learning.report.phrases import elo, format_number, gain_sentence, percent, score
from arena_learning.report.tables import leaderboard_markdown, leaderboard_text
from arena_learning.schema import Instruction, read_rows, write_rows


def rating(model, value, lower, upper, wins, ties, losses, ranks):
    return {
        "model": model,
        "rating": value,
        "lower": lower,
        "upper": upper,
        "battles": wins + ties + losses,
        "wins": wins,
        "ties": ties,
        "losses": losses,
        "rank_lower": ranks[0],
        "rank_upper": ranks[1],
        "group": 0,
    }


def board(**changes):
    step = {
        "from": "base",
        "to": "sft-i1",
        "difference": 81.2,
        "lower": 30.4,
        "upper": 132.0,
        "verdict": "gain",
    }
    flat = {"from": "sft-i1", "to": "dpo-i1", "difference": -0.2, "lower": -9.7, "upper": 9.0}
    health = {
        "battles": 12,
        "tie_rate": 2 / 10,
        "flip_rate": 0.0,
        "unscored_rate": 2 / 12,
        "unscored_reasons": {"no score line": 4},
    }
    return {
        "ratings": [
            rating("sft-i1", 1081.2, 1030.4, 1132.0, 6, 1, 1, (1, 2)),
            rating("dpo-i1", 1081.0, 1029.0, 1131.0, 5, 1, 2, (1, 2)),
            rating("base", 1000.0, 1000.0, 1000.0, 1, 2, 5, (3, 3)),
        ],
        "diagnosis": ["few_clusters: only 4 prompts: intervals are a rough guess below 20"],
        "gain": {**step, "to": "dpo-i1", "difference": 81.0},
        "steps": [step, {**flat, "verdict": "not separated"}],
        "instructions": 4,
        "health": health,
        **changes,
    }


def leaderboard(**boards):
    answers = {
        "base": {"answers": 4, "mean_words": 120.4, "cut_off": 2, "repetition": 0.1254},
        "sft-i1": {"answers": 4, "mean_words": 61.0, "cut_off": 0, "repetition": 0.0},
        "dpo-i1": {"answers": 0},
    }
    return {"judge": "rubric", "answers": answers, "boards": {"rubric": board(), **boards}}


TEXT = """\
Leaderboard by the judge 'rubric' on 4 instructions

  #  contestant  rating  95 % interval  battles  W/T/L  mean words  cut off  repetition
---  ----------  ------  -------------  -------  -----  ----------  -------  ----------
1-2  sft-i1        1081   1030 to 1132        8  6/1/1          61        0       0.000
1-2  dpo-i1        1081   1029 to 1131        8  5/1/2           -        -           -
  3  base          1000         anchor        8  1/2/5         120        2       0.125

dpo-i1 is 81 Elo above base (95 % interval of the difference +30 to +132): a gain.

from    to       Elo  95 % interval  verdict
------  ------  ----  -------------  -------------
base    sft-i1   +81    +30 to +132  gain
sft-i1  dpo-i1  -0.2      -10 to +9  not separated

judge: 12 battles, ties 20.0 %, flips between the orders 0.0 %, unscored 16.7 %
unscored games: no score line (4)
note: few_clusters: only 4 prompts: intervals are a rough guess below 20"""


def test_text_is_what_a_careful_hand_writes():
    assert leaderboard_text(leaderboard()) == TEXT


def test_the_leaderboards_own_judge_comes_first_then_the_others_by_name():
    text = leaderboard_text(leaderboard(content=board(), reference=board()))
    heads = [line.split("'")[1] for line in text.splitlines() if line.startswith("Leaderboard")]
    assert heads == ["rubric", "content", "reference"]


def test_markdown_has_a_table_a_verdict_and_notes():
    lines = leaderboard_markdown(leaderboard()).splitlines()
    assert lines[0] == "### Leaderboard by the judge 'rubric' on 4 instructions"
    assert lines[3] == "| --: | :-- | --: | --: | --: | --: | --: | --: | --: |"
    assert "| 3 | base | 1000 | anchor | 8 | 1/2/5 | 120 | 2 | 0.125 |" in lines
    assert "**dpo-i1 is 81 Elo above base (95 % interval of the difference +30 to +132): a gain.**" in lines
    assert "- unscored games: no score line (4)" in lines


def test_a_board_without_rounds_has_no_gain_and_no_steps():
    text = leaderboard_text({**leaderboard(), "boards": {"rubric": board(gain=None, steps=[], diagnosis=[])}})
    assert "above" not in text
    assert "verdict" not in text


def test_a_bar_in_a_cell_does_not_split_the_markdown_row():
    assert table_markdown(Table(("name",), [("a|b",)])).endswith("| a\\|b |")


@pytest.mark.parametrize(
    ("points", "text"), [(81.2, "+81"), (-9.7, "-10"), (0.4, "+0.4"), (-0.2, "-0.2"), (0.0, "0")]
)
def test_elo_keeps_its_sign_even_where_it_rounds_to_nothing(points, text):
    assert elo(points) == text


@pytest.mark.parametrize(
    ("difference", "verdict", "said"),
    [
        (-40.0, "fall", "b is 40 Elo below a (95 % interval of the difference -60 to -20): a fall."),
        (
            0.3,
            "not separated",
            "b is level with a (95 % interval of the difference -60 to -20): "
            "not separated, as the interval holds 0.",
        ),
    ],
)
def test_the_gain_in_words(difference, verdict, said):
    gain = {"from": "a", "to": "b", "difference": difference, "lower": -60, "upper": -20, "verdict": verdict}
    assert gain_sentence(gain) == said


def test_absent_numbers_are_dashes():
    assert (format_number(None, 1), percent(None), score(None)) == ("-", "-", "-")
    assert score(6.25) == "6.25"


@pytest.mark.parametrize(("options", "head"), [([], "monitor "), (["--markdown"], "| monitor | of | base |")])
def test_the_command_prints_the_boards_and_then_the_monitors(project, monkeypatch, options, head):
    monkeypatch.chdir(project[1].root)
    said = CliRunner().invoke(cli, ["leaderboard", "--print", *options]).output
    assert (
        said.index("Leaderboard by the judge 'rubric'") < said.index("Monitors by round") < said.index(head)
    )


def test_an_adaptive_board_says_what_its_intervals_hold_for(project):
    params, paths = project
    chosen = params.model_copy(
        update={"evaluate": params.evaluate.model_copy(update={"schedule": "adaptive"})}
    )
    before = paths.leaderboard.read_bytes(), paths.elo_plot.read_bytes()
    fixed, stopped = (make_leaderboard(one, paths)["boards"]["rubric"] for one in (params, chosen))
    anchored = make_leaderboard(
        params.model_copy(update={"evaluate": params.evaluate.model_copy(update={"schedule": "anchored"})}),
        paths,
    )["boards"]["rubric"]
    assert anchored == fixed
    assert (fixed["intervals"], stopped["intervals"]) == (
        "95 %, battles chosen beforehand",
        "95 % at the adaptive schedule's own stop",
    )
    # The same ratings; whatever has an interval has the wider one, and the words go by it.
    for one, other in zip(fixed["ratings"], stopped["ratings"], strict=True):
        assert one["rating"] == other["rating"]
        assert other["rank_lower"] <= one["rank_lower"]
        assert other["rank_upper"] >= one["rank_upper"]
    for one, other in zip(
        [fixed["gain"], *fixed["steps"]], [stopped["gain"], *stopped["steps"]], strict=True
    ):
        assert other["upper"] - other["lower"] > one["upper"] - one["lower"]
        words = "gain" if other["lower"] > 0 else "fall" if other["upper"] < 0 else "not separated"
        assert other["verdict"] == words
    told = "note: adaptive: the adaptive schedule chose the battles and stopped by what it saw"
    page = {**leaderboard(rubric={**board(), **stopped, "health": board()["health"]})}
    assert told in leaderboard_text(page)
    assert told in leaderboard_markdown(page)
    assert told not in leaderboard_text(
        {**page, "boards": {"rubric": {**board(), **fixed, "health": board()["health"]}}}
    )
    make_leaderboard(params, paths)
    assert (paths.leaderboard.read_bytes(), paths.elo_plot.read_bytes()) == before


def test_battles_of_another_test_set_are_refused(tmp_path):
    params, paths = build(tmp_path)
    test = read_rows(paths.split("test"), Instruction)
    said = read_json(paths.leaderboard)["test_set"]
    assert (said["instructions"], said["fingerprint"]) == (len(test), fingerprint(test))
    write_rows(paths.split("test"), test[1:])
    with pytest.raises(ArenaError, match="battles of another test set: 1 of their instructions") as caught:
        make_leaderboard(params, paths)
    assert test[0].id in caught.value.what
