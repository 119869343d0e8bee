"""The values of `arena show` for a battle, a round or a contestant, ready for JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from arena_learning.core import ArenaError, Paths, read_json, suggest
from arena_learning.judge import win_counts
from arena_learning.leaderboard import judge_names
from arena_learning.params import Params
from arena_learning.report.views import (
    ARENA,
    BattleLog,
    BattleView,
    check_battle_log_name,
    extremes,
    read_battle_log,
    target_of,
)
from arena_learning.schema import (
    BattleResult,
    Instruction,
    PreferenceRow,
    Response,
    SftRow,
    by_id,
    read_rows,
)


def show_battle(
    place: str, instruction_id: str, pair: Sequence[str], params: Params, paths: Paths
) -> dict[str, Any]:
    """Return an instruction's battles: its conversation, the answers, and each game's scores and rationale.

    Args:
        place: a round, or ``arena`` for the test set.
        instruction_id: the instruction's id.
        pair: two contestants, or none for all battles on the instruction.
        params: the project's parameters.
        paths: the project's files.

    Raises:
        ArenaError: an unknown round, instruction or contestant, or a missing file.
    """
    found = read_battle_log(place, params, paths)
    instruction = _instruction(found, instruction_id)
    views = found.views(_of_pair(found, instruction_id, pair))
    answers = {name: answer for view in views for name, answer in view.answers.items()}
    names = judge_names(paths) if place == ARENA else {}
    return {
        "place": place,
        "instruction": instruction.model_dump(mode="json"),
        "answers": {name: _answer(answers[name]) for name in sorted(answers)},
        "battles": [
            {
                **d.battle.model_dump(
                    mode="json", exclude={"instruction_id", "category", "games", "rationales"}
                ),
                "judge": names.get(d.battle.judge, d.battle.judge),
                "games": [g.model_dump(mode="json", exclude={"instruction_id", "judge"}) for g in d.games],
            }
            for d in views
        ],
    }


def _of_pair(place: BattleLog, instruction_id: str, pair: Sequence[str]) -> list[BattleResult]:
    """Return an instruction's results; only those between ``pair`` if it is given."""
    results = [d for d in place.results if d.instruction_id == instruction_id]
    met = sorted({name for d in results for name in (d.a, d.b)})
    for name in pair:
        if name not in met:
            raise ArenaError(
                f"'{name}' has no battle on '{instruction_id}' in '{place.name}'", hint=suggest(name, met)
            )
    if pair:
        results = [d for d in results if {d.a, d.b} == set(pair)]
        if not results:
            raise ArenaError(
                f"{' and '.join(pair)} have no battle on '{instruction_id}' in '{place.name}'",
                hint="name no contestants to see all battles on it",
            )
    return results


def show_round(name: str, params: Params, paths: Paths) -> dict[str, Any]:
    """Return what a round was trained on: its card, the target's results, and the worst loss by category.

    Raises:
        ArenaError: an unknown round, or a missing file.
    """
    check_battle_log_name(name, params, arena=False)
    target = target_of(name, params)
    learnt = _learnt(name, params, paths)
    place = read_battle_log(name, params, paths)
    own = place.of(target)
    return {
        "round": name,
        **params.rounds[name].model_dump(mode="json"),
        "card": read_json(paths.card(name)),
        "record": win_counts(own, target) if target else {},
        "categories": _categories(place, own, target, learnt) if target else [],
    }


def show_contestant(name: str, params: Params, paths: Paths) -> dict[str, Any]:
    """Return a contestant's results on the test set: rating, win rates and category scores by each judge.

    Raises:
        ArenaError: an unknown contestant, or a missing leaderboard.
    """
    _check_contestant(name, params)
    leaderboard = read_json(paths.leaderboard)
    boards = {}
    for judge, board in leaderboard["boards"].items():
        rating = next((r for r in board["ratings"] if r["model"] == name), None)
        if rating is not None:
            boards[judge] = {
                "rating": rating,
                "win_rates": board["win_rates"].get(name, {}),
                "categories": {
                    c: {k: s[k] for k in ("base", name) if k in s} for c, s in board["categories"].items()
                },
            }
    if not boards:
        raise ArenaError(
            f"'{name}' is not on the leaderboard", where=str(paths.leaderboard), hint="run `arena repro`"
        )
    return {
        "contestant": name,
        "judge": leaderboard["judge"],
        "answers": leaderboard["answers"].get(name, {}),
        "boards": boards,
    }


def show_answers(name: str, instruction_id: str, params: Params, paths: Paths) -> dict[str, Any]:
    """Return how the answers to one test instruction changed over the rounds, starting with the base's.

    Args:
        name: a contestant; the rounds up to it are shown, for an opponent all rounds and then the opponent.
        instruction_id: an instruction of the test set.
        params: the project's parameters.
        paths: the project's files.

    Raises:
        ArenaError: an unknown contestant or instruction, or a missing file.
    """
    _check_contestant(name, params)
    place = read_battle_log(ARENA, params, paths)
    instruction = _instruction(place, instruction_id, _elsewhere(instruction_id, params, paths))
    own = [d for d in place.results if d.instruction_id == instruction_id]
    said, names = place.answers({instruction_id}), judge_names(paths)
    steps = []
    for contestant in _chain(name, params):
        response = said.get((instruction_id, contestant))
        if response is not None:
            steps.append(
                {"contestant": contestant, **_answer(response), "judges": _marks(own, contestant, names)}
            )
    return {"contestant": name, "instruction": instruction.model_dump(mode="json"), "answers": steps}


def _chain(name: str, params: Params) -> list[str]:
    rounds = params.ordered_rounds
    if name == "base" or not rounds:
        return list(dict.fromkeys((params.compared[0], name)))
    if name in params.rounds:
        return ["base", *rounds[: rounds.index(name) + 1]]
    return ["base", *rounds, name]


def _marks(
    results: Sequence[BattleResult], contestant: str, names: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """Return by judge the contestant's mean score over its battles, and its battle against the base."""
    marks: dict[str, dict[str, Any]] = {}
    for label, judge in names.items():
        own = [d for d in results if d.judge == label and contestant in (d.a, d.b)]
        scores = [value for d in own if (value := d.score_a if d.a == contestant else d.score_b) is not None]
        base = next((d for d in own if d.other(contestant) == "base"), None)
        marks[judge] = {
            "mean_score": fmean(scores) if scores else None,
            "against_base": base.outcome(contestant) if base else None,
        }
    return marks


def _categories(
    place: BattleLog, own: Sequence[BattleResult], target: str, learnt: dict[str, str]
) -> list[dict[str, Any]]:
    """Return the target's results by category, the category with the lowest mean margin first."""
    groups: dict[str, list[BattleResult]] = defaultdict(list)
    for one in own:
        groups[one.category].append(one)
    worst = {c: extremes(results, target, "lost", 1) for c, results in groups.items()}
    read = iter(place.views(one for found in worst.values() for one in found))
    losses = {c: _loss(next(read), target, learnt) for c, found in worst.items() if found}
    ordered = sorted(groups.items(), key=lambda item: (_mean_margin(item[1], target) or 0.0, item[0]))
    return [{**_category(c, results, target, learnt), "worst_loss": losses.get(c)} for c, results in ordered]


def _mean_margin(results: Sequence[BattleResult], target: str) -> float | None:
    margins = [m for d in results if (m := d.margin(target)) is not None]
    return fmean(margins) if margins else None


def _category(
    category: str, results: Sequence[BattleResult], target: str, learnt: dict[str, str]
) -> dict[str, Any]:
    outcomes = Counter(d.outcome(target) for d in results)
    return {
        "category": category,
        "battles": len(results),
        **{key: outcomes[key] for key in ("won", "tie", "lost", "unscored")},
        "mean_margin": _mean_margin(results, target),
        "rows": sum(instruction in learnt for instruction in {d.instruction_id for d in results}),
    }


def _loss(view: BattleView, target: str, learnt: dict[str, str]) -> dict[str, Any]:
    winner = view.result.other(target)
    scores = {view.battle.a: view.battle.score_a, view.battle.b: view.battle.score_b}
    return {
        "instruction": view.instruction.model_dump(mode="json", include={"id", "turns"}),
        "winner": winner,
        "score_winner": scores[winner],
        "score_target": scores[target],
        "answer_winner": _answer(view.answers[winner]),
        "answer_target": _answer(view.answers[target]),
        "learnt_from": learnt.get(view.instruction.id),
    }


def _learnt(name: str, params: Params, paths: Paths) -> dict[str, str]:
    """Return the winner whose answer the round was trained on, by instruction, without rows of earlier rounds."""
    rows: list[SftRow | PreferenceRow] = []
    if params.rounds[name].supervised:
        rows += read_rows(paths.sft(name), SftRow)
    else:
        rows += read_rows(paths.preferences(name), PreferenceRow)
    return {r.provenance.instruction_id: r.provenance.winner for r in rows if r.provenance.round == name}


def _answer(response: Response) -> dict[str, Any]:
    return {
        "text": response.text,
        "finish_reason": response.finish_reason,
        "tokens": response.completion_tokens,
        **({"refusal": response.refusal} if response.refusal else {}),
        **(
            {"thought": response.thought, "thought_tokens": response.thought_tokens}
            if response.thought
            else {}
        ),
    }


def _instruction(place: BattleLog, instruction_id: str, hint: str = "") -> Instruction:
    found = place.instruction(instruction_id)
    if found is None:
        where = "the test set" if place.name == ARENA else f"the split of '{place.name}'"
        hint = hint or _few(instruction_id, place.ids())
        raise ArenaError(f"no instruction '{instruction_id}' in {where}", hint=hint)
    return found


def _few(word: str, known: Sequence[str]) -> str:
    """Return a suggestion that does not list hundreds of ids."""
    hint, _, _ = suggest(word, known).partition("known: ")
    return f"{hint}{len(known)} are there, such as {', '.join(sorted(known)[:5])}"


def _elsewhere(instruction_id: str, params: Params, paths: Paths) -> str:
    """Return where a training instruction's answers can be read; empty if no round's split contains it."""
    for name in params.ordered_rounds:
        split = paths.split(params.rounds[name].split)
        if split.is_file() and instruction_id in by_id(read_rows(split, Instruction)):
            return f"it is in the split of '{name}': see `arena show battle {name} {instruction_id}`"
    return ""


def _check_contestant(name: str, params: Params) -> None:
    if name not in params.contestants:
        raise ArenaError(
            f"no contestant '{name}'", where="params.yaml", hint=suggest(name, params.contestants)
        )
