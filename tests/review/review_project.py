"""A project by hand up to its leaderboard: answers of known quality, people who see it, judges who see it badly."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import yaml

from arena_learning.core import write_json
from arena_learning.core.paths import Paths
from arena_learning.judge.health import judge_health
from arena_learning.params import Params, parse_params
from arena_learning.review import ReviewBattle
from arena_learning.schema import Battle, Instruction, Response, Turn, write_rows

NAMES = ("alpha", "bravo", "charlie", "delta")
ANCHOR = "delta"
# Log-odds: with noise of Gumbel's kind, the better of two answers is Bradley and Terry's (their model's own proof).
STRENGTH = {"alpha": 0.0, "bravo": 0.4, "charlie": 0.8, "delta": 1.2}
# By how much the judge `rubric` takes alpha for better than it is: 156 Elo.
BIAS = {"rubric": 0.9, "reference": 0.0}
LABELS = {"rubric": "rubric-all v1", "reference": "reference v1"}
ELO = 400 / np.log(10)
_QUALITY = re.compile(r"quality (-?\d+\.\d+)")


def true_rating(name: str) -> float:
    """The rating that people's verdicts on endlessly many instructions would give."""
    return float(1000 + ELO * (STRENGTH[name] - STRENGTH[ANCHOR]))


def quality_of(text: str) -> float:
    """How good an answer is, which an honest reviewer sees."""
    found = _QUALITY.search(text)
    assert found, text
    return float(found[1])


def make_review_project(
    root: Path, instructions: int = 40, *, seed: int = 3, texts: dict[int, tuple[str, ...]] | None = None
) -> tuple[Params, Paths]:
    """Write a project whose contestants' test answers are judged by two judges, one of them biased.

    Args:
        root: its folder.
        instructions: number of test instructions.
        seed: seed of all noise.
        texts: answers of the four contestants to some instructions, by number, instead of those of known quality.
    """
    raw = {
        "seed": 7,
        "weights": {"source": "none"},
        "pool": {"splits": {}, "test": instructions, "validation": 0},
        "opponents": {name: {"engine": "recorded", "model": f"data/{name}.jsonl"} for name in NAMES},
        "judges": {"rubric": {"kind": "rubric"}, "reference": {"kind": "reference"}},
        "evaluate": {"judges": ["rubric", "reference"], "anchor": ANCHOR, "bootstrap": 200, "style": False},
        "rounds": {},
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    params, paths = parse_params(raw, "params.yaml"), Paths(root)
    generator = np.random.default_rng(seed)
    strength = np.array([STRENGTH[name] for name in NAMES])
    quality = strength + generator.gumbel(size=(instructions, len(NAMES)))
    asked = [_instruction(number) for number in range(instructions)]
    write_rows(paths.split("test"), asked)
    responses = {}
    for column, name in enumerate(NAMES):
        for number, one in enumerate(asked):
            said = f"It is {number}, of quality {quality[number, column]:.4f}."
            text = texts[number][column] if texts and number in texts else said
            responses[one.id, name] = _response(one.id, name, text)
        write_rows(paths.arena_responses(name), [responses[one.id, name] for one in asked])
    battles, metrics = [], {}
    for judge, label in LABELS.items():
        seen = 0.8 * quality + 0.6 * generator.gumbel(size=quality.shape)
        seen[:, 0] += BIAS[judge]
        own = [
            _battle(one, label, a, b, seen[n])
            for n, one in enumerate(asked)
            for a, b in combinations(range(4), 2)
        ]
        metrics[judge] = {"judge": label, **judge_health([], own, responses)}
        battles += own
    write_rows(paths.arena_battles, battles)
    write_rows(paths.arena_games, [])
    write_json(paths.arena_metrics, metrics)
    return params, paths


def _instruction(number: int) -> Instruction:
    turns = (Turn(role="user", content=f"Which number is {number}?"),)
    if number == 1:
        turns = (
            Turn(role="system", content="Answer in one word."),
            *turns,
            Turn(role="assistant", content="One."),
            Turn(role="user", content="And in digits?"),
        )
    return Instruction(id=f"t-{number}", turns=turns, category="mathematics", reference=str(number))


def _response(asked: str, name: str, text: str) -> Response:
    return Response(
        instruction_id=asked,
        contestant=name,
        text=text,
        finish_reason="stop",
        prompt_tokens=5,
        completion_tokens=len(text.split()),
    )


def _battle(one: Instruction, label: str, a: int, b: int, seen: np.ndarray) -> Battle:
    won = bool(seen[a] > seen[b])
    scores = (8.0, 4.0) if won else (4.0, 8.0)
    return Battle(
        instruction_id=one.id,
        category=one.category,
        judge=label,
        a=NAMES[a],
        b=NAMES[b],
        score_a=scores[0],
        score_b=scores[1],
        winner="a" if won else "b",
        gap=4.0,
        orders_agree=True,
        games=2,
    )


def battle(number: int, a: str, b: str, points: tuple[float, ...], answer: str = "yes") -> ReviewBattle:
    """A battle as the samples take it."""
    asked = _instruction(number)
    key = f"{number}-{a}-{b}"
    return ReviewBattle(key, asked, a, b, answer, answer, {"rubric-all v1": "a"}, points)
