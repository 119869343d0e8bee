"""Which battles the leaderboard plays: deterministic, at a budget, and a newcomer pays for its own games only."""

from __future__ import annotations

import hashlib
from itertools import combinations

import pytest

from arena_learning.judge.base import Verdict
from arena_learning.judge.play import play_in_portions
from arena_learning.leaderboard.ratings import judge_leaderboard
from arena_learning.leaderboard.schedule import all_pairings, play_scheduled
from arena_learning.params import parse_params
from arena_learning.schema.rows import by_id
from arena_learning.store.store import Store

# Elo-like strengths on the scale of the judge's scores; the answers say whose they are.
STRENGTH = {"base": 2.0, "expert": 7.0, "plain": 4.5, "sft-i1": 3.2, "dpo-i1": 3.4, "late": 5.5}


class NoisyJudge:
    """Scores an answer by its author's strength and a noise that only the answer decides."""

    batch_size = 50
    label = "noisy v1"

    def __init__(self, mute: str = "nobody") -> None:
        self.fingerprint = {"judge": self.label, "mute": mute}
        self.seen: list[tuple[str, str]] = []
        self._mute = mute

    def score(self, presentations):
        self.seen += [(p.first.contestant, p.second.contestant) for p in presentations]
        return [self._verdict(p.first.text, p.second.text) for p in presentations]

    def close(self) -> None:
        pass

    def _verdict(self, first, second):
        if self._mute in (first.split()[0], second.split()[0]):
            return Verdict(None, None, "", unscored="mute")
        return Verdict(_score(first), _score(second), "by strength")


def _score(text):
    noise = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32
    return min(10.0, max(1.0, STRENGTH[text.split()[0]] + 6 * noise - 3))


@pytest.fixture
def arena(tmp_path, make_instruction, make_response, make_params):
    """Play the test set by a schedule; returns what was judged."""

    def run(judge, *, number=40, hint=None, **evaluate):
        raw = make_params(evaluate={"schedule": "adaptive", "gap": 150, **evaluate})
        raw["opponents"] = {name: {"engine": "recorded", "model": "a.jsonl"} for name in ("expert", "plain")}
        if hint:
            hint(raw)
        params = parse_params(raw, "test")
        instructions = [make_instruction(f"i{n:03d}") for n in range(number)]
        responses = {
            (i.id, name): make_response(i.id, name, f"{name} on {i.id}")
            for i in instructions
            for name in params.contestants
        }
        with Store(tmp_path / "store.sqlite") as store:

            def play(pairings):
                return play_in_portions(pairings, by_id(instructions), responses, judge, store)

            parts = list(play_scheduled(instructions, params, play))
            assert len(parts) <= 1
            return (parts[0] if parts else None), params

    return run


def pairs(judged):
    return {(b.a, b.b, b.instruction_id) for b in judged.battles}


def test_it_plays_less_than_all_and_says_the_same_again(arena):
    judged, params = arena(NoisyJudge())
    everything = 40 * len(list(combinations(params.contestants, 2)))
    assert 0 < len(judged.battles) < 0.7 * everything
    assert judged.judged == len(judged.games) == 2 * len(judged.battles)
    again, _ = arena(NoisyJudge())
    assert again.judged == 0
    assert (again.games, again.battles) == (judged.games, judged.battles)
    # As the canonical order of everything played at once: by instruction, pair, and order.
    keys = [(g.instruction_id, *sorted((g.first, g.second)), g.first > g.second) for g in judged.games]
    assert keys == sorted(keys)
    assert judge_leaderboard(judged.battles, params)["ratings"][0]["model"] == "expert"


@pytest.mark.parametrize("kind", ["round", "opponent"])
def test_a_newcomer_pays_for_its_own_games_only(arena, kind):
    before, _ = arena(NoisyJudge())

    def add(raw):
        if kind == "opponent":
            raw["opponents"]["late"] = {"engine": "recorded", "model": "a.jsonl", "joins": 9}
        else:
            raw["rounds"]["late"] = {**raw["rounds"]["sft-i1"], "index": 9}

    judge = NoisyJudge()
    after, _ = arena(judge, hint=add)
    assert after.judged == len(judge.seen) > 0
    assert all("late" in sides for sides in judge.seen)
    assert pairs(before) == {pair for pair in pairs(after) if "late" not in pair}


def test_the_budget_is_each_contestants(arena):
    judged, params = arena(NoisyJudge(), budget=25)
    assert params.joining == [["base", "expert", "plain"], ["sft-i1"], ["dpo-i1"]]
    founders = {"base", "expert", "plain"}
    own = [b for b in judged.battles if {b.a, b.b} <= founders]
    assert len(own) <= 3 * 25
    assert sum("sft-i1" in (b.a, b.b) and "dpo-i1" not in (b.a, b.b) for b in judged.battles) <= 25
    assert len(judged.battles) <= 5 * 25


def test_another_seed_asks_other_instructions(arena):
    first, _ = arena(NoisyJudge())
    other, _ = arena(NoisyJudge(), hint=lambda raw: raw.update(seed=1))
    assert pairs(first) != pairs(other)


def test_a_contestant_without_a_verdict_is_asked_about_and_given_up(arena):
    judged, params = arena(NoisyJudge(mute="plain"), number=25)
    silent = [b for b in judged.battles if "plain" in (b.a, b.b)]
    assert silent
    assert all(b.winner == "unscored" for b in silent)
    assert {r["model"] for r in judge_leaderboard(judged.battles, params)["ratings"]} == set(
        params.contestants
    ) - {"plain"}


def test_all_and_anchored(arena, make_instruction):
    judged, params = arena(NoisyJudge(), number=3, schedule="all")
    assert pairs(judged) == {
        (p.a, p.b, p.instruction_id)
        for p in all_pairings(params.contestants, [make_instruction(f"i{n:03d}") for n in range(3)])
    }
    anchored, _ = arena(NoisyJudge(), number=3, schedule="anchored")
    assert pairs(anchored) == {pair for pair in pairs(judged) if "base" in pair}


def test_nobody_to_play_plays_nothing(arena):
    def alone(raw):
        raw["opponents"], raw["rounds"] = {}, {}

    judged, params = arena(NoisyJudge(), hint=alone)
    assert judged is None
    assert params.joining == [["base"]]
