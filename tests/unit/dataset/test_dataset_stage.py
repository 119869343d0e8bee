from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_learning.core.json_files import read_json
from arena_learning.core.paths import Paths
from arena_learning.dataset.card import data_card
from arena_learning.dataset.select import Rules
from arena_learning.dataset.stage import make_dataset, select_rows
from arena_learning.params import Round, parse_params
from arena_learning.schema.row_files import read_rows, write_rows
from arena_learning.schema.rows import PreferenceRow, SftRow, Turn

SFT = {"index": 0, "method": "sft", "split": "d1", "target": "t", "init": "base", "threshold": 2}


@pytest.fixture
def project(tmp_path, make_params):
    def make(rounds, **dataset):
        for path in (Paths(tmp_path).sft("none"), Paths(tmp_path).preferences("none")):
            write_rows(path, [])
        opponents = {name: {"engine": "recorded", "model": f"{name}.jsonl"} for name in "xy"}
        raw = make_params(rounds=rounds, opponents=opponents, dataset=dataset)
        return parse_params(raw, "here"), Paths(tmp_path)

    return make


@pytest.fixture
def fill(make_instruction, make_response):
    """Write a round's instructions, responses (one for each of t, x, y) and battles."""

    def write(paths, name, split, ids, battles, **changes):
        write_rows(paths.split(split), [make_instruction(i, f"Question {i}", category="c") for i in ids])
        write_rows(
            paths.responses(name),
            [make_response(i, c, f" {c} on {i} ", **changes.get(c, {})) for i in ids for c in "txy"],
        )
        write_rows(paths.battles(name), battles)

    return write


def test_a_row_is_conversational_and_tells_where_it_comes_from(project, fill, make_battle):
    params, paths = project({"r1": SFT})
    battle = make_battle("t", 3, "x", 7.5, "i1", category="c", orders_agree=False)
    fill(paths, "r1", "d1", ["i1"], [battle, make_battle("t", 3, "y", 5, "i1", category="c")])
    make_dataset("r1", params, paths)
    (row,) = read_rows(paths.sft("r1"), SftRow)
    assert row.prompt == (Turn(role="user", content="Question i1"),)
    assert row.completion == (Turn(role="assistant", content="x on i1"),)
    assert row.provenance.model_dump() == {
        "round": "r1",
        "instruction_id": "i1",
        "category": "c",
        "winner": "x",
        "loser": "t",
        "score_winner": 7.5,
        "score_loser": 3.0,
        "gap": 4.5,
        "threshold": 2.0,
        "orders_agree": False,
        "judge": "j",
        "rationales": ("r1", "r2"),
    }
    assert read_rows(paths.preferences("r1"), PreferenceRow) == []


def test_preferences_hold_winner_and_loser(project, fill, make_battle):
    params, paths = project({"r1": {**SFT, "method": "dpo"}})
    battles = [
        make_battle("t", 8, "x", 3, "i1"),
        make_battle("t", 8, "y", 7, "i1"),
        make_battle("x", 3, "y", 7, "i1"),
    ]
    fill(paths, "r1", "d1", ["i1"], battles)
    card = make_dataset("r1", params, paths)
    (row,) = read_rows(paths.preferences("r1"), PreferenceRow)
    assert (row.chosen[0].content, row.rejected[0].content) == ("t on i1", "x on i1")
    assert (row.provenance.score_winner, row.provenance.score_loser, row.provenance.gap) == (8, 3, 5)
    assert card["target_chosen_share"] == 1.0
    assert read_rows(paths.sft("r1"), SftRow) == []


def test_rows_add_up_over_the_rounds(project, fill, make_battle):
    later = {**SFT, "index": 1, "split": "d2", "adds_to": "r1"}
    params, paths = project({"r1": SFT, "r2": later, "r3": {**later, "index": 2, "adds_to": "r2"}})
    for name, split, i in (("r1", "d1", "i1"), ("r2", "d2", "i2"), ("r3", "d2", "i3")):
        fill(paths, name, split, [i], [make_battle("t", 3, "x", 7, i)])
        card = make_dataset(name, params, paths)
    assert [r.provenance.round for r in read_rows(paths.sft("r3"), SftRow)] == ["r1", "r2", "r3"]
    assert (card["rows_new"], card["rows_accumulated"], card["rows"]) == (1, 2, 3)


def test_labels_are_learnt_without_battles(project, fill):
    params, paths = project({"r1": {**SFT, "target": "none", "labels": "x"}}, max_words=3)
    fill(paths, "r1", "d1", ["i1", "i2"], [])
    card = make_dataset("r1", params, paths)
    rows = read_rows(paths.sft("r1"), SftRow)
    assert [r.completion[0].content for r in rows] == ["x on i1", "x on i2"]
    assert (rows[0].provenance.winner, rows[0].provenance.loser, rows[0].provenance.gap) == ("x", "", None)
    assert (card["rows"], card["left_out"], card["mean_gap"]) == (2, {}, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"finish_reason": "length"}, "the label is cut off"),
        ({"text": " "}, "the label is empty"),
        ({"text": "one two three four"}, "the label is too long"),
        ({"contestant": "stranger"}, "no label"),
    ],
)
def test_unfit_labels_are_left_out_with_their_reason(make_instruction, make_response, change, reason):
    this = Round(**{**SFT, "target": "none", "labels": "x"})
    response = make_response("i1", "x").model_copy(update=change)
    curated = select_rows("r1", this, [make_instruction("i1")], [response], [], Rules(2, "all", 3, 0))
    assert curated.sft == []
    assert curated.outcomes == {"i1": reason}


def test_the_order_of_the_files_changes_nothing(make_instruction, make_response, make_battle):
    ids = [f"i{n}" for n in range(6)]
    instructions = [make_instruction(i) for i in ids]
    responses = [make_response(i, c) for i in ids for c in "txy"]
    battles = [make_battle("t", 3, c, 7, i) for i in ids for c in "xy"]
    rules = Rules(1, "all", 0, 5)
    one = select_rows("r1", Round(**SFT), instructions, responses, battles, rules)
    other = select_rows("r1", Round(**SFT), instructions[::-1], responses[::-1], battles[::-1], rules)
    assert one == other
    assert [r.provenance.instruction_id for r in one.sft] == ids


def test_a_round_run_again_writes_the_same_bytes(project, fill, make_battle):
    params, paths = project({"r1": SFT})
    fill(paths, "r1", "d1", ["i2", "i1"], [make_battle("t", 3, "x", 7, i) for i in ("i2", "i1")])
    files = (paths.sft("r1"), paths.preferences("r1"), paths.card("r1"))
    card = make_dataset("r1", params, paths)
    before = [p.read_bytes() for p in files]
    make_dataset("r1", params, paths)
    assert [p.read_bytes() for p in files] == before
    assert card == read_json(paths.card("r1"))


half = st.integers(2, 20).map(lambda n: n / 2)
score = st.none() | st.tuples(half, half)
fate = st.sampled_from(["stop", "length", "empty"])


@given(
    st.lists(st.tuples(score, score, score, st.tuples(fate, fate, fate)), max_size=5),
    st.sampled_from(["sft", "dpo", "ppo"]),
    st.sampled_from(["all", "target"]),
    st.sampled_from([0, 1, 3]),
)
def test_the_card_accounts_for_every_instruction(
    make_instruction, make_response, make_battle, rows, method, pairs, threshold
):
    instructions, responses, battles = [], [], []
    for n, (*scores, fates) in enumerate(rows):
        name = f"i{n}"
        instructions.append(make_instruction(name))
        for contestant, how in zip("txy", fates, strict=True):
            text = "" if how == "empty" else f"{contestant} says"
            reason = "length" if how == "length" else "stop"
            responses.append(make_response(name, contestant, text, finish_reason=reason))
        for (a, b), pair in zip(("tx", "ty", "xy"), scores, strict=True):
            battle = make_battle(a, *(pair or (1, 1))[:1], b, (pair or (1, 1))[1], name)
            lost = {"winner": "unscored", "gap": None, "score_a": None, "score_b": None, "unscored": "why"}
            battles.append(battle if pair else battle.model_copy(update=lost))
    this = Round(**{**SFT, "method": method, "threshold": threshold})
    curated = select_rows("r1", this, instructions, responses, battles, Rules(threshold, pairs, 0, 0))
    selected = [*curated.sft, *curated.preferences]
    card = data_card("r1", this, selected, curated.outcomes, battles, accumulated=4)
    assert card["instructions"] == len(rows) == card["rows_new"] + sum(card["left_out"].values())
    assert card["rows"] == card["rows_new"] + 4
    assert (
        card["rows_new"] == len(curated.sft) + len(curated.preferences) == sum(card["chosen_from"].values())
    )
    assert card["rows_new"] == sum(card["categories"].values())
    assert sum(card["battles"].values()) == len(battles)
    for row in (*curated.sft, *curated.preferences):
        assert row.provenance.gap >= threshold
        assert row.provenance.gap == row.provenance.score_winner - row.provenance.score_loser
