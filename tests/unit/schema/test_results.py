"""Results of battles: the same fields without the texts, and equal names once."""

from __future__ import annotations

from arena_learning.schema import BattleResult, read_battle_results, write_rows


def test_a_file_of_battles_is_read_as_results_whose_names_are_shared(tmp_path, make_battle):
    battles = [make_battle("x", 3, "y", 7.5, f"i{n % 2}", rationales=("long", "texts")) for n in range(4)]
    write_rows(tmp_path / "battles.jsonl", battles)
    found = read_battle_results(tmp_path / "battles.jsonl")
    assert found == [BattleResult.of(battle) for battle in battles]
    assert found[0].judge is found[3].judge
    assert found[0].instruction_id is found[2].instruction_id
    assert found[0].a is found[1].a
    # A winner may be called like a contestant, and a number like a truth: they stay what they are.
    assert [type(value) for value in found[0]] == [type(value) for value in BattleResult.of(battles[0])]


def test_sides_are_seen_from_either_contestant(make_battle):
    lost = BattleResult.of(make_battle("x", 3, "y", 7.5, "i1"))
    assert (lost.margin("x"), lost.margin("y")) == (-4.5, 4.5)
    assert (lost.outcome("x"), lost.outcome("y")) == ("lost", "won")
    assert (lost.other("x"), lost.other("y")) == ("y", "x")
    tie = BattleResult.of(make_battle("x", 5, "y", 5, "i1"))
    assert (tie.outcome("x"), tie.margin("x")) == ("tie", 0.0)
    unscored = lost._replace(winner="unscored", score_a=None, score_b=None, gap=None)
    assert (unscored.outcome("y"), unscored.margin("y")) == ("unscored", None)
