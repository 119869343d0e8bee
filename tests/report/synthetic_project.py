"""A project folder as the stages would leave it, made of real rows but without any model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from arena_learning.core.json_files import write_json
from arena_learning.core.paths import Paths
from arena_learning.core.text import words
from arena_learning.dataset.stage import make_dataset
from arena_learning.judge.health import judge_health, win_counts
from arena_learning.judge.merge import merge_games
from arena_learning.leaderboard.ratings import make_leaderboard
from arena_learning.params import NONE, Params, load_params
from arena_learning.schema.row_files import write_rows
from arena_learning.schema.rows import Battle, Game, Instruction, Response, Turn

CATEGORIES = ("coding", "mathematics", "writing")
# What each contestant's answers are worth on average, 1 to 10.
SKILL = {"base": 4.0, "expert": 7.5, "plain": 5.0, "sft-i1": 4.8, "dpo-i1": 5.4, "ppo-i1": 5.6}
HOSTILE = (
    "<script>alert('x')</script> \"quoted\" & {{ 7 * 7 }} {% raw %} {answer} "
    "\x1b[31mred\x1b[0m \u202eright to left\u202c שלום"
)


def build(
    root: Path,
    rounds: Sequence[str] = ("sft-i1", "dpo-i1"),
    instructions: int = 8,
    judges: Sequence[str] = ("rubric",),
) -> tuple[Params, Paths]:
    """Write params.yaml and every file up to the leaderboard below ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(_yaml(rounds, judges), encoding="utf-8")
    params, paths = load_params(root / "params.yaml"), Paths(root)
    test = [_instruction("test", n) for n in range(instructions)]
    write_rows(paths.split("test"), test)
    write_rows(paths.sft(NONE), [])
    write_rows(paths.preferences(NONE), [])
    for name in rounds:
        _round(name, params, paths, instructions)
    _arena(params, paths, test)
    return params, paths


def _yaml(rounds: Sequence[str], judges: Sequence[str]) -> str:
    kinds = "".join(f"  {name}: {{kind: rubric}}\n" for name in judges)
    lines, previous = [], "base"
    for i, name in enumerate(rounds):
        method = name.split("-")[0]
        if name.endswith("-i0"):  # the first fine-tuning: recorded answers as labels, no battles
            lines.append(
                f"  {name}: {{index: {i}, method: sft, split: d{i + 1}, target: none, "
                "init: base, threshold: 1.0, labels: expert}\n"
            )
            previous = name
            continue
        lines.append(
            f"  {name}: {{index: {i}, method: {method}, split: d{i + 1}, target: {previous}, "
            f"init: {previous}, threshold: 1.0}}\n"
        )
        previous = name
    splits = ", ".join(f"d{i}: 8" for i in range(1, 10))
    return (
        f"seed: 7\nweights: {{source: pypi:x/y.gguf}}\npool: {{splits: {{{splits}}}, test: 8}}\n"
        "opponents:\n  expert: {engine: recorded, model: e.jsonl}\n"
        "  plain: {engine: recorded, model: p.jsonl}\n"
        f"judges:\n{kinds}judge: {{name: {judges[0]}}}\n"
        f"evaluate: {{judges: [{', '.join(judges)}], bootstrap: 200}}\n"
        f"rounds:{chr(10) + ''.join(lines) if lines else ' {}'}\n"
    )


def _instruction(split: str, number: int) -> Instruction:
    category = CATEGORIES[number % len(CATEGORIES)]
    turns: tuple[Turn, ...] = (Turn(role="user", content=f"Question {number} of {split} about {category}?"),)
    if number == 1:
        turns = (
            *turns,
            Turn(role="assistant", content="An earlier answer."),
            Turn(role="user", content="And then?"),
        )
    return Instruction(id=f"{split}-{number}", turns=turns, category=category)


def _response(instruction: Instruction, contestant: str) -> Response:
    text = f"{contestant} answers {instruction.id}: " + " ".join(["word"] * (10 + len(contestant)))
    if instruction.id.endswith("-0") and contestant in ("base", "plain"):
        text = HOSTILE
    cut = contestant == "base" and instruction.id.endswith("-3")
    return Response(
        instruction_id=instruction.id,
        contestant=contestant,
        text=text,
        finish_reason="length" if cut else "stop",
        prompt_tokens=20,
        completion_tokens=len(words(text)),
    )


def _score(instruction: Instruction, contestant: str, judge: str) -> float:
    draw = random.Random(f"{instruction.id} {contestant} {judge}").gauss(SKILL.get(contestant, 5.0), 1.8)
    return min(10.0, max(1.0, round(2 * draw) / 2))


def _play(
    instructions: Sequence[Instruction], contestants: Sequence[str], judge: str
) -> tuple[list[Game], list[Battle]]:
    games, battles = [], []
    for instruction in instructions:
        for a, b in combinations(sorted(contestants), 2):
            pair = [_game(instruction, x, y, judge) for x, y in ((a, b), (b, a))]
            games += pair
            battles.append(merge_games(pair, instruction.category))
    return games, battles


def _game(instruction: Instruction, first: str, second: str, judge: str) -> Game:
    scores = {
        "score_first": _score(instruction, first, judge),
        "score_second": _score(instruction, second, judge),
    }
    shared = {"instruction_id": instruction.id, "judge": f"{judge} v1", "first": first, "second": second}
    if instruction.id.endswith("-5") and "plain" in (first, second):
        return Game(**shared, unscored="no score line", attempts=3)
    return Game(**shared, **scores, rationale=f"Why {first} before {second}: <b>{HOSTILE}</b>")


def _round(name: str, params: Params, paths: Paths, count: int) -> None:
    this = params.rounds[name]
    instructions = [_instruction(this.split, n) for n in range(count)]
    contestants = sorted([this.target, *params.opponents]) if this.target != NONE else [this.labels]
    responses = [_response(i, c) for i in instructions for c in contestants]
    games, battles = _play(instructions, contestants, params.judge.name)
    write_rows(paths.split(this.split), instructions)
    write_rows(paths.responses(name), responses)
    write_rows(paths.games(name), games)
    write_rows(paths.battles(name), battles)
    known = {(r.instruction_id, r.contestant): r for r in responses}
    against = win_counts(battles, this.target)
    health = {
        "judge": f"{params.judge.name} v1",
        **judge_health(games, battles, known),
        "target": this.target,
    }
    write_json(
        paths.stage_metrics(name, "judge"), {**health, "against": against, "seconds": 1.0, "tokens": 0}
    )
    make_dataset(name, params, paths)


def _arena(params: Params, paths: Paths, test: Sequence[Instruction]) -> None:
    responses = {(i.id, c): _response(i, c) for c in params.contestants for i in test}
    for contestant in params.contestants:
        write_rows(paths.arena_responses(contestant), [responses[i.id, contestant] for i in test])
    played = {judge: _play(test, params.contestants, judge) for judge in params.evaluate.judges}
    write_rows(paths.arena_games, [g for games, _ in played.values() for g in games])
    write_rows(paths.arena_battles, [b for _, battles in played.values() for b in battles])
    health = {
        judge: {"judge": games[0].judge, **judge_health(games, battles, responses)}
        for judge, (games, battles) in played.items()
    }
    write_json(paths.arena_metrics, health)
    make_leaderboard(params, paths)
