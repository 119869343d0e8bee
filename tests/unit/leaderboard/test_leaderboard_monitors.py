"""Monitors of a project small enough to work them out by hand, in the leaderboard and, the same, in MLflow's figures."""

from __future__ import annotations

from itertools import product

import pytest
import yaml

from arena_learning.core.json_files import read_json, write_json
from arena_learning.core.paths import Paths
from arena_learning.dataset.stage import make_dataset
from arena_learning.judge.health import judge_health
from arena_learning.judge.merge import merge_games
from arena_learning.leaderboard.monitors import round_monitors
from arena_learning.leaderboard.ratings import make_leaderboard
from arena_learning.leaderboard.round_files import RoundFiles, read_rounds
from arena_learning.params import Round, load_params
from arena_learning.report.monitors import SHOWN, monitor_rows, monitors_markdown, monitors_text
from arena_learning.schema.row_files import write_rows
from arena_learning.schema.rows import Game, Instruction, Response, Turn
from arena_learning.tracking.figures import flywheel_points, round_figures
from arena_learning.tracking.files import read_files

VARIED = [f"{a}{b}" for a, b in product("abcdefg", "klmnopq")]
# Twelve words with nine runs of four, of which four differ: 5/9 of them occurred already.
LOOP = "the river runs on the river runs on the river runs on"
SPLITS = {"d1": 4, "d2": 3}
TEST_WORDS = {"base": (10, 0), "sft-i1": (6, 8), "ppo-i1": (20, 10), "expert": (30, 30)}

# Scores of a pair in both orders, as (first contestant's, second's), and how many words the two said.
ROUNDS = {
    "sft-i1": {
        "d1-1": ("base", "expert", [(4, 8), (4, 8)], (5, 10)),  # the longer answer wins
        "d1-2": ("base", "expert", [(6, 6), (6, 6)], (5, 10)),  # a tie
        "d1-3": (
            "base",
            "expert",
            [(5, 7), (6, 5)],
            (8, 4),
        ),  # a flip; on average the shorter one wins, by 0.5
        "d1-4": ("base", "expert", [(5, 7), None], (5, 10)),  # unscored
    },
    "ppo-i1": {
        "d2-1": ("sft-i1", "expert", [(9, 5), (9, 5)], (12, 6)),  # the target wins, and is longer
        "d2-2": ("sft-i1", "expert", [(6, 8), (6, 8)], (5, 10)),  # it loses, and is shorter
        "d2-3": ("sft-i1", "expert", [(8, 2), (8, 2)], (3, 6)),  # it wins, and is shorter
    },
}
# On the test set: who wins under the rubric, and under the reference judge.
ARENA = [
    ("t-1", "base", "sft-i1", "sft-i1", "sft-i1"),
    ("t-2", "base", "sft-i1", "sft-i1", "base"),
    ("t-1", "base", "ppo-i1", "ppo-i1", "ppo-i1"),
    ("t-2", "base", "ppo-i1", "tie", "ppo-i1"),  # not decided by the rubric: not counted
    ("t-1", "ppo-i1", "sft-i1", "ppo-i1", None),  # unscored by the other judge: not counted
    ("t-1", "expert", "sft-i1", "expert", "sft-i1"),
]
# PPO's curve; its reward model has a curve of its own, which is not PPO's.
PHASES = [
    {
        "name": "reward",
        "steps": 1,
        "curve": [{"step": 1, "loss": 0.7, "reward": 99.0}],
        "figures": {"held_out_accuracy": 0.75},
    },
    {
        "name": "ppo",
        "steps": 3,
        "curve": [
            {"step": 1, "kl": 0.5, "reward": -1.0},
            {"step": 2, "kl": 0.9, "reward": 0.5},
            {"step": 3, "kl": 0.2, "reward": 0.25},
        ],
    },
]
HAND = {
    "base": {
        "mean_words": 11.0,
        "cut_off_rate": 0.5,
        "repetition": 0.278,  # of 0 and 5/9, as rounded in the leaderboard
        "agreement_reference": pytest.approx(2 / 3),
    },
    "sft-i1": {
        "mean_words": 7.0,
        "cut_off_rate": 0.0,
        "repetition": 0.0,
        "agreement_reference": pytest.approx(1 / 3),
        "longer_wins": 0.5,
        "flip_rate": pytest.approx(1 / 3),
        "tie_rate": pytest.approx(1 / 3),
        "unscored_rate": 0.25,
        "target_chosen_share": 0.0,  # one row, of the expert's: a share of none, not an absent one
    },
    "ppo-i1": {
        "mean_words": 15.0,
        "cut_off_rate": 0.0,
        "repetition": 0.0,
        "agreement_reference": 1.0,
        "longer_wins": pytest.approx(2 / 3),
        "flip_rate": 0.0,
        "tie_rate": 0.0,
        "unscored_rate": 0.0,
        "target_chosen_share": pytest.approx(2 / 3),
        "reward_model_accuracy": 0.75,
        "kl": 0.2,
        "kl_max": 0.9,
        "reward": 0.25,
        "reward_change": 1.25,
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Parameters and paths of the project, its leaderboard written by the stage's own code."""
    root = tmp_path_factory.mktemp("monitors")
    (root / "params.yaml").write_text(yaml.safe_dump(raw()), encoding="utf-8")
    params, paths = load_params(root / "params.yaml"), Paths(root)
    write_rows(paths.sft("none"), [])
    write_rows(paths.preferences("none"), [])
    for name in ROUNDS:
        play_round(name, params, paths)
    write_json(paths.stage_metrics("ppo-i1", "train"), {"method": "ppo", "rows": 3, "phases": PHASES})
    play_arena(paths)
    make_leaderboard(params, paths)
    return params, paths


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_a_training_by_a_judges_word_shows_how_the_second_judge_went(method):
    curve = [
        {"step": 1, "reward": 3.0, "kl": 0.0, "monitor": 6.0, "monitor_agreement": 0.75},
        {"step": 2, "reward": 4.0, "kl": 0.1},  # the second judge scored nothing
        {"step": 3, "reward": 5.5, "kl": 0.3, "monitor": 5.5, "monitor_agreement": 0.25},
    ]
    this = Round(index=1, method=method, split="d2", target="base", init="base", threshold=0)
    train = {"method": method, "phases": [{"name": method, "steps": 3, "curve": curve}]}
    found = round_monitors(RoundFiles("one", this, battle={}, judge={}, card={}, train=train), {}, {})
    shown = {
        name: found[name] for name in ("reward", "reward_change", "kl", "monitor_change", "monitor_agreement")
    }
    assert shown == {
        "reward": 5.5,
        "reward_change": 2.5,
        "kl": 0.3,
        "monitor_change": -0.5,
        "monitor_agreement": 0.5,
    }


def test_a_round_that_a_jury_judged_shows_how_its_members_voted():
    this = Round(index=1, method="sft", split="d2", target="base", init="base", threshold=0)
    judge = {"members_against": 0.25, "members_missing": 0.0, "members_spread": 1.5}
    found = round_monitors(RoundFiles("one", this, battle={}, judge=judge, card={}, train={}), {}, {})
    assert {key: found[key] for key in judge} == judge
    names, rows = monitor_rows({"judge": "panel", "monitors": [{"model": "one", **found}]})
    assert names == ["one"]
    cells = {row.title: row.cells for row in rows}
    assert cells["jury members against"] == ["25.0 %"]
    assert cells["jury members unscored"] == ["0.0 %"]
    assert cells["jury members apart"] == ["1.5"]


def raw():
    def round_of(index, method, split, target):
        same = {"threshold": 1.0, "adds_to": "none", "labels": "none"}
        return {"index": index, "method": method, "split": split, "target": target, "init": target, **same}

    return {
        "weights": {"source": "pypi:x/y.gguf"},
        "pool": {"splits": SPLITS, "test": 2},
        "opponents": {"expert": {"engine": "recorded", "model": "e.jsonl"}},
        "judges": {"rubric": {"kind": "rubric"}, "reference": {"kind": "reference"}},
        "judge": {"name": "rubric"},
        "evaluate": {"judges": ["rubric", "reference"], "bootstrap": 20},
        "rounds": {
            "sft-i1": round_of(0, "sft", "d1", "base"),
            "ppo-i1": round_of(1, "ppo", "d2", "sft-i1"),
            "dpo-i2": round_of(2, "dpo", "d1", "ppo-i1"),  # not begun
        },
    }


def play_round(name, params, paths):
    split = params.rounds[name].split
    write_rows(paths.split(split), [asked(f"{split}-{n + 1}") for n in range(SPLITS[split])])
    games, battles, responses = [], [], []
    for instruction, (one, other, scores, lengths) in ROUNDS[name].items():
        own = [game(instruction, "rubric v1", one, other, s, swap=n == 1) for n, s in enumerate(scores)]
        games += own
        battles.append(merge_games(own, "other"))
        responses += [said(instruction, who, n) for who, n in zip((one, other), lengths, strict=True)]
    write_rows(paths.responses(name), responses)
    write_rows(paths.games(name), games)
    write_rows(paths.battles(name), battles)
    health = judge_health(games, battles, {(r.instruction_id, r.contestant): r for r in responses})
    write_json(paths.stage_metrics(name, "judge"), {"judge": "rubric v1", **health})
    make_dataset(name, params, paths)


def play_arena(paths):
    instructions = ("t-1", "t-2")
    write_rows(paths.split("test"), [asked(name) for name in instructions])
    for who, lengths in TEST_WORDS.items():
        answers = [said(i, who, n) for i, n in zip(instructions, lengths, strict=True)]
        write_rows(paths.arena_responses(who), answers)
    write_rows(paths.arena_responses("dpo-i2"), [])
    games = []
    for instruction, one, other, *winners in ARENA:
        for judge, winner in zip(("rubric v1", "reference v1"), winners, strict=True):
            scores = winner and tuple({"tie": 5, who: 8}.get(winner, 3) for who in (one, other))
            games.append([game(instruction, judge, one, other, scores, swap=swap) for swap in (False, True)])
    write_rows(paths.arena_games, [g for pair in games for g in pair])
    write_rows(paths.arena_battles, [merge_games(pair, "other") for pair in games])
    health = {"battles": 6, "tie_rate": 0.0, "flip_rate": 0.0, "unscored_rate": 0.0}
    judges = {"reference": "reference v1", "rubric": "rubric v1"}  # sorted by name, as the stage leaves them
    write_json(paths.arena_metrics, {name: {"judge": label, **health} for name, label in judges.items()})


def asked(name):
    return Instruction(id=name, turns=(Turn(role="user", content=f"Say {name}."),), category="other")


def said(instruction, who, words):
    return Response(
        instruction_id=instruction,
        contestant=who,
        text=" ".join(VARIED[:words]) or LOOP,
        finish_reason="stop" if words else "length",
        prompt_tokens=3,
        completion_tokens=words,
    )


def game(instruction, judge, one, other, scores, swap):
    first, second = (other, one) if swap else (one, other)
    shared = {"instruction_id": instruction, "judge": judge, "first": first, "second": second}
    if scores is None:
        return Game(**shared, unscored="no score line")
    a, b = reversed(scores) if swap else scores
    return Game(**shared, score_first=float(a), score_second=float(b))


def test_the_leaderboard_holds_what_was_worked_out_by_hand(made):
    monitors = read_json(made[1].leaderboard)["monitors"]
    # PPO has no second judge, and the rubric no members.
    absent = ("monitor_change", "monitor_agreement", "members_against", "members_missing", "members_spread")
    everything = [*HAND["ppo-i1"], *absent]
    # The round that has not begun is left out.
    assert monitors == [{"model": n, **{key: own.get(key) for key in everything}} for n, own in HAND.items()]
    assert set(everything) - {"agreement_reference"} == SHOWN.keys()  # each has its form in the table


def test_mlflow_is_given_the_same_figures_and_nothing_for_what_does_not_apply(made):
    params, paths = made
    files = read_files(params, paths)
    for name in ROUNDS:
        shown = {k: v for k, v in round_figures(name, files).items() if k.startswith("monitor/")}
        assert shown == {f"monitor/{key}": value for key, value in HAND[name].items()}
    start = {
        p.name: p.value
        for p in flywheel_points(files, params)
        if p.step == -1 and p.name.startswith("monitor/")
    }
    assert start == {f"monitor/{key}": value for key, value in HAND["base"].items()}


def test_the_table_leaves_empty_what_does_not_apply_and_shows_a_share_of_none(made):
    board = read_json(made[1].leaderboard)
    names, rows = monitor_rows(board)
    cells = {row.title: row.cells for row in rows}
    assert names == ["base", "sft-i1", "ppo-i1"]
    assert cells["KL, last"] == ["", "", "0.20"]
    assert cells["reward, change"] == ["", "", "+1.25"]
    assert cells["target's own answer chosen"] == ["", "0.0 %", "66.7 %"]
    assert cells["rubric and reference agree"] == ["66.7 %", "33.3 %", "100.0 %"]
    assert cells["longer answer wins"] == ["", "50.0 %", "66.7 %"]
    text = monitors_text(board).splitlines()
    assert text[2].split() == ["monitor", "of", "base", "sft-i1", "ppo-i1"]
    assert next(line for line in text if line.startswith("words")).split()[-3:] == ["11", "7", "15"]
    assert "| KL, highest | its training |  |  | 0.90 |" in monitors_markdown(board)


def test_a_monitor_that_applies_nowhere_has_no_row(made):
    board = dict(read_json(made[1].leaderboard))
    board["monitors"] = board["monitors"][:2]
    assert not [row for row in monitor_rows(board)[1] if row.of == "its training"]
    del board["monitors"]  # written before there were any
    assert (monitors_text(board), monitors_markdown(board)) == ("", "")


def test_a_round_without_rows_or_without_a_target_has_no_share(made):
    this = read_rounds(*made)["sft-i1"]
    assert round_monitors(this, {}, {})["target_chosen_share"] == 0.0
    nothing = this._replace(card={**this.card, "rows_new": 0})
    assert round_monitors(nothing, {}, {})["target_chosen_share"] is None
    labelled = this._replace(this=this.this.model_copy(update={"target": "none"}))
    assert round_monitors(labelled, {}, {})["target_chosen_share"] is None
