"""The figures are there, are PNG of a sensible size, are the same twice, and compute what they show."""

from __future__ import annotations

import struct

import pytest
from synthetic_project import build

from arena_learning.core.errors import ArenaError
from arena_learning.core.json_files import read_json
from arena_learning.report import draw_battles, draw_elo
from arena_learning.report.figures import list_figures, make_figures
from arena_learning.schema import BattleResult


def size_of(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


@pytest.fixture(scope="module")
def drawn(project):
    params, paths = project
    return {file.path.name: file.path.read_bytes() for file in make_figures(params, paths)}


def test_there_is_one_figure_for_each_question(drawn):
    assert set(drawn) == {"elo.png", "win_rates.png", "categories.png", "gaps.png"}


def test_each_is_a_png_that_fits_a_page(drawn):
    for name, data in drawn.items():
        width, height = size_of(data)
        assert 900 <= width <= 2500, name
        assert 400 <= height <= 2000, name
        assert b"Software" not in data[:400], name


def test_drawing_again_gives_the_same_bytes(project, drawn):
    params, paths = project
    assert {file.path.name: file.path.read_bytes() for file in make_figures(params, paths)} == drawn


def test_a_second_judge_has_its_own_elo_figure(tmp_path):
    params, paths = build(tmp_path, rounds=("sft-i1",), instructions=4, judges=("rubric", "reference"))
    names = [file.path.name for file in make_figures(params, paths)]
    assert names[:2] == ["elo.png", "elo_reference.png"]
    assert [file.path.name for file in list_figures(paths, read_json(paths.leaderboard))] == names


@pytest.mark.parametrize("rounds", [(), ("sft-i0", "dpo-i1")])
def test_no_rounds_and_a_round_without_battles_can_be_drawn(tmp_path, rounds):
    params, paths = build(tmp_path, rounds=rounds, instructions=4)
    assert len(make_figures(params, paths)) == 4


def test_without_a_leaderboard_it_says_what_to_run(tmp_path, project):
    params, paths = project
    with pytest.raises(ArenaError, match="run `arena repro`"):
        make_figures(params, type(paths)(tmp_path))


def rating(model, lower, value, upper):
    return {"model": model, "rating": value, "lower": lower, "upper": upper}


def test_a_distant_opponent_is_noted_and_does_not_flatten_the_rounds():
    # The rounds take 1000 to 1120: 120 points, so 60 more on each side are allowed for opponents.
    chain = [rating("base", 1000, 1000, 1000), rating("sft", 1020, 1070, 1120)]
    near, far = rating("plain", 1050, 1100, 1180), rating("expert", 1700, 1800, 1900)
    window, shown, hidden = draw_elo.fit_window(chain, [near, far])
    assert (shown, hidden) == ([near], [far])
    assert window.low < 1000
    assert 1180 < window.high < 1300


def test_without_an_opponent_that_fits_the_figure_is_drawn_all_the_same():
    counts = {"wins": 1, "ties": 0, "losses": 1}
    ratings = [{**rating("base", 1000, 1000, 1000), **counts}, {**rating("sft", 990, 1010, 1030), **counts}]
    gain = {
        "from": "base",
        "to": "sft",
        "difference": 10,
        "lower": -10,
        "upper": 30,
        "verdict": "not separated",
    }
    figure = draw_elo.elo_over_rounds("j", {"ratings": ratings, "gain": gain, "instructions": 1}, {"sft": 0})
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["base", "sft"]
    assert list(axes.get_xticks()) == [-1, 0]


def test_labels_beside_each_other_are_spread():
    assert draw_elo.spread_labels([10.0, 1.0, 1.5], 2.0) == [10.0, 1.0, 3.0]


def result(number, category, score_a, score_b):
    return BattleResult(
        instruction_id=f"i{number}",
        category=category,
        judge="j",
        a="base",
        b="sft",
        score_a=score_a,
        score_b=score_b,
        winner="b",
        gap=1.0,
    )


def test_category_changes_pair_the_instructions():
    results = [result(1, "x", 3.0, 5.0), result(2, "x", 4.0, 7.0), result(3, "y", 2.0, 2.5)]
    x, y = draw_battles.category_changes(results, "base", "sft")
    # Differences 2 and 3: standard deviation 0.7071; t(0.975, 1 df) is 12.706: 12.706 * 0.7071 / sqrt(2).
    assert (x.before, x.after, x.instructions) == (3.5, 6.0, 2)
    assert x.reach == pytest.approx(6.353, abs=1e-3)
    assert (y.category, y.reach) == ("y", None)
