"""A project by hand up to its leaderboard: two rounds whose test answers and battles a test chooses."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from arena_learning.core import write_json
from arena_learning.core.paths import Paths
from arena_learning.judge.health import judge_health
from arena_learning.leaderboard.ratings import make_leaderboard
from arena_learning.params import Params, parse_params
from arena_learning.schema import Battle, Game, Instruction, Response, Turn, read_rows, write_rows
from sample import one_iteration

ROUNDS = {name: this for name, this in one_iteration().items() if name != "ppo-i1"}
ASKED = 30
# Out of 30 instructions: how many each contestant wins against another one that is further to the right.
WINS = 24
LABELS = {"rubric": "rubric-all v1", "reference": "reference v1"}


def make_project(
    root: Path, *, gate: dict[str, Any] | None = None, order: tuple[str, ...] = ()
) -> tuple[Params, Paths]:
    """Write a project in which each contestant of ``order`` is better than those before it, under both judges."""
    raw = {
        "weights": {"source": "models/base"},
        "pool": {"splits": {"d1": 2, "d2": 2}, "test": ASKED},
        "opponents": {"expert": {"engine": "recorded", "model": "data/expert.jsonl"}},
        "judges": {"rubric": {"kind": "rubric"}, "reference": {"kind": "reference"}},
        "evaluate": {"judges": ["rubric", "reference"], "bootstrap": 200},
        "rounds": ROUNDS,
        **({"gate": gate} if gate is not None else {}),
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    params, paths = parse_params(raw, "params.yaml"), Paths(root)
    for name in ("base", *ROUNDS):
        write_weights(paths, name, name)
    write_rows(paths.split("test"), [instruction(number) for number in range(ASKED)])
    for name in params.contestants:
        write_answers(paths, name)
    play(params, paths, order or ("base", "sft-i1", "dpo-i1", "expert"))
    return params, paths


def write_weights(paths: Paths, name: str, content: str) -> None:
    paths.model(name).mkdir(parents=True, exist_ok=True)
    (paths.model(name) / "model.safetensors").write_bytes(content.encode())
    (paths.model(name) / "config.json").write_text("{}", encoding="utf-8")


def instruction(number: int) -> Instruction:
    """Each asks for its own number, which stands in its rubric, and each third one for a list of two."""
    rubric: list[dict[str, Any]] = [{"kind": "number", "value": number + 100, "weight": 1}]
    rubric += (
        [{"kind": "format", "form": "bullets", "min": 2, "max": 2, "weight": 1}] if number % 3 == 0 else []
    )
    turns = (Turn(role="user", content=f"Which number follows {number + 99}?"),)
    return Instruction(id=f"t-{number}", turns=turns, category="mathematics", rubric=tuple(rubric))


def write_answers(
    paths: Paths, contestant: str, *, more: str = "", right: int = ASKED, cut: int = 0, refused: int = 0
) -> None:
    """Write test answers: ``more`` follows each, ``right`` of them are right, some are cut off or refused."""
    rows = []
    for number in range(ASKED):
        said = f"- It is {number + 100 if number < right else 'unknown'}.\n- Yes."
        gone = number < refused
        rows.append(
            Response(
                instruction_id=f"t-{number}",
                contestant=contestant,
                text="" if gone else said + more,
                finish_reason="refused" if gone else "length" if number < cut else "stop",
                prompt_tokens=5,
                completion_tokens=0 if gone else 9,
                refusal="too long" if gone else "",
            )
        )
    write_rows(paths.arena_responses(contestant), rows)


def play(params: Params, paths: Paths, order: tuple[str, ...], reference: tuple[str, ...] = ()) -> None:
    """Write the battles and the leaderboard: of two contestants the later one wins 24 of 30 battles.

    The order under the judge `reference` may be another one.
    """
    battles: list[Battle] = []
    metrics = {}
    answers = [row for name in order for row in read_rows(paths.arena_responses(name), Response)]
    responses = {(row.instruction_id, row.contestant): row for row in answers}
    for judge, label in LABELS.items():
        own = reference if judge == "reference" and reference else order
        games: list[Game] = []
        mine = [_battle(n, label, a, b, own) for n in range(ASKED) for a, b in combinations(sorted(order), 2)]
        metrics[judge] = {"judge": label, **judge_health(games, mine, responses)}
        battles += mine
    write_rows(paths.arena_battles, battles)
    write_rows(paths.arena_games, [])
    write_json(paths.arena_metrics, metrics)
    make_leaderboard(params, paths)


def _battle(number: int, label: str, a: str, b: str, order: tuple[str, ...]) -> Battle:
    better = max(a, b, key=order.index)
    winner = better if number % 5 else (a if better == b else b)  # each fifth one is lost: 24 of 30 are won
    scores = (8.0, 4.0) if winner == a else (4.0, 8.0)
    return Battle(
        instruction_id=f"t-{number}",
        category="mathematics",
        judge=label,
        a=a,
        b=b,
        score_a=scores[0],
        score_b=scores[1],
        winner="a" if winner == a else "b",
        gap=4.0,
        orders_agree=True,
        games=2,
    )


def write_scores(paths: Paths, name: str, content: object) -> None:
    file = paths.root / "evals" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
