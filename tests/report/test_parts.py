"""Boards by test set side by side, and leaderboards that refuse another test set."""

from __future__ import annotations

import pytest
from synthetic_project import build

from arena_learning.core.errors import ArenaError
from arena_learning.core.json_files import read_json, write_json
from arena_learning.leaderboard import make_leaderboard
from arena_learning.leaderboard.ratings import rate_battles
from arena_learning.pool import fingerprint
from arena_learning.report import leaderboard_markdown, leaderboard_text, make_report
from arena_learning.schema import Battle, Instruction, read_rows, write_rows
from arena_learning.tracking.figures import flywheel_points, round_figures
from arena_learning.tracking.files import read_files


@pytest.fixture
def project(tmp_path):
    params, paths = build(tmp_path, instructions=24)
    test = read_rows(paths.split("test"), Instruction)
    parts = {"diverse": [one.id for one in test[:10]], "hard": [one.id for one in test[10:]]}
    largest = [
        {
            "cluster": 0,
            "size": 30,
            "chosen": 14,
            "words": ["bread", "<b>"],
            "central": "How <i>do</i> I bake?",
        }
    ]
    card = {
        "read": 40,
        "dropped": {},
        "splits": {"test": 24},
        "unused": 0,
        "categories": {"test": {"coding": 8, "mathematics": 8, "writing": 8}},
        "multi_turn": {"test": 6},
        "test_set": {
            "kind": "mix",
            "fingerprint": fingerprint(test),
            "parts": parts,
            "candidates": 20,
            "unrated": 2,
            "clusters": 1,
            "largest": largest,
        },
    }
    write_json(paths.prepare_card, card)
    return params, paths


def test_each_part_is_rated_by_its_own_battles(project):
    params, paths = project
    table = make_leaderboard(params, paths)
    assert table["test_set"]["kind"] == "mix"
    assert sum(table["test_set"]["categories"].values()) == 24
    boards = table["boards"]["rubric"]["by_part"]
    assert {name: board["instructions"] for name, board in boards.items()} == {"diverse": 10, "hard": 14}
    parts = read_json(paths.prepare_card)["test_set"]["parts"]
    battles = read_rows(paths.arena_battles, Battle)
    for name, board in boards.items():
        own = rate_battles([b for b in battles if b.instruction_id in parts[name]], params)
        assert {r["model"]: r["rating"] for r in board["ratings"]} == {r.model: r.rating for r in own.ratings}


def test_the_boards_stand_side_by_side_for_every_reader(project):
    params, paths = project
    table = make_leaderboard(params, paths)
    board = table["boards"]["rubric"]
    hard = {r["model"]: r["rating"] for r in board["by_part"]["hard"]["ratings"]}
    for text in (leaderboard_text(table), leaderboard_markdown(table)):
        assert "By test set, side by side" in text
        assert "instructions: diverse 10, hard 14, mix 24" in text
        after = text[text.index("By test set") :]
        assert after.index("diverse") < after.index("hard") < after.index("mix")
        assert f"{hard['expert']:.0f}" in after
    page = make_report(params, paths).read_text(encoding="utf-8")
    assert "By test set, side by side" in page
    files = read_files(params, paths)
    last = params.ordered_rounds[-1]
    assert round_figures(last, files)["elo_hard/rubric"] == hard[last]
    names = {point.name for point in flywheel_points(files, params)}
    assert {"elo_diverse/rubric_lower", "gain_diverse/rubric", "gain_hard/rubric_upper"} <= names


def test_the_report_shows_how_the_test_set_was_chosen(project):
    params, paths = project
    make_leaderboard(params, paths)
    page = make_report(params, paths).read_text(encoding="utf-8")
    assert "The test set (mix) has the fingerprint" in page
    assert "25.0 % of it have several turns" in page
    assert "Of 20 candidates for hard ones 18 were rated by a judge." in page
    assert "How &lt;i&gt;do&lt;/i&gt; I bake?" in page
    assert "bread, &lt;b&gt;" in page


def test_a_test_set_of_one_kind_has_one_board(project):
    params, paths = project
    card = read_json(paths.prepare_card)
    card["test_set"] |= {"kind": "diverse", "parts": {"diverse": card["test_set"]["parts"]["diverse"]}}
    write_json(paths.prepare_card, card)
    assert "by_part" not in make_leaderboard(params, paths)["boards"]["rubric"]


def test_battles_of_another_test_set_are_refused_also_where_the_ids_are_the_same(project):
    params, paths = project
    test = read_rows(paths.split("test"), Instruction)
    metrics = read_json(paths.arena_metrics)
    metrics["rubric"]["test_set"] = fingerprint(test)
    write_json(paths.arena_metrics, metrics)
    make_leaderboard(params, paths)
    other = test[0].model_copy(update={"turns": test[1].turns})
    write_rows(paths.split("test"), [other, *test[1:]])
    with pytest.raises(
        ArenaError, match=f"battles of another test set: its fingerprint is {fingerprint(test)}"
    ):
        make_leaderboard(params, paths)
    write_rows(paths.split("test"), test[1:])
    with pytest.raises(ArenaError, match="1 of their instructions are not in this one"):
        make_leaderboard(params, paths)


def test_a_card_of_another_test_set_names_no_parts(project):
    params, paths = project
    card = read_json(paths.prepare_card)
    card["test_set"]["fingerprint"] = "0" * 16
    write_json(paths.prepare_card, card)
    table = make_leaderboard(params, paths)
    assert table["test_set"]["kind"] == "unknown"
    assert "by_part" not in table["boards"]["rubric"]
