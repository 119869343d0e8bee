"""The `leaderboard` stage: rate the test set's battles, with intervals, under each judge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from arena_learning.core import ArenaError, Paths, read_json, words, write_json
from arena_learning.judge import repetition
from arena_learning.leaderboard.evaluate import Responses, read_arena_battles, read_arena_responses
from arena_learning.leaderboard.human import HumanVerdicts, calibrated_board, read_human_verdicts
from arena_learning.leaderboard.monitors import all_monitors, first_judge_first
from arena_learning.leaderboard.parts import Parts, boards_by_part, checked_test_set, parts_of_test_set
from arena_learning.leaderboard.round_files import read_rounds
from arena_learning.leaderboard.schedule import battles_frame
from arena_learning.leaderboard.standing import gains, rating_params, stop_of
from arena_learning.leaderboard.style import Styles, measure_styles, style_board
from arena_learning.params import Params
from arena_learning.rating import RatingResult, Stop, rate
from arena_learning.schema import AnyBattle

# What the intervals of a leaderboard hold for, as reports/leaderboard.json states it.
_KINDS: Mapping[Stop, str] = {
    "fixed": "95 %, battles chosen beforehand",
    "adaptive": "95 % at the adaptive schedule's own stop",
}


def make_leaderboard(params: Params, paths: Paths) -> dict[str, Any]:
    """Rate the contestants on the test set, write the leaderboard and return it.

    ``ratings`` and ``gain`` are the first judge's; ``boards`` holds all judges'; ``monitors`` the records of
    `monitors.all_monitors`; ``test_set`` what `parts.checked_test_set` says of it.

    Raises:
        ArenaError: a file is missing, a judge of ``evaluate.judges`` has not judged the test set, or there are battles
            of instructions that are not in it.
    """
    responses = read_arena_responses(params.contestants, paths)
    health = read_json(paths.arena_metrics)
    arena = read_arena_battles(paths)
    _check_judged(arena, params, paths)
    test_set = checked_test_set(arena, health, paths)
    parts = parts_of_test_set(test_set, paths)
    styles = measure_styles(responses) if params.evaluate.style else {}
    human = read_human_verdicts(params, paths, responses)
    boards = {
        judge: {
            **judge_leaderboard(battles, params, stop_of(params), styles, human, parts),
            "health": health[judge],
        }
        for judge, battles in arena.items()
    }
    answers = {c: _answer_stats(c, responses) for c in params.contestants}
    first = boards[params.evaluate.judges[0]]
    table = {
        "test_set": test_set,
        "ratings": first["ratings"],
        "gain": first["gain"],
        "steps": first["steps"],
        "judge": params.evaluate.judges[0],
        "answers": answers,
        "monitors": all_monitors(
            read_rounds(params, paths), answers, first_judge_first(arena, params), params.evaluate.anchor
        ),
        "boards": boards,
    }
    write_json(paths.leaderboard, table)
    _write_table(first, params, paths)
    return table


def judge_leaderboard(
    battles: Sequence[AnyBattle],
    params: Params,
    stop: Stop = "fixed",
    styles: Styles | None = None,
    human: HumanVerdicts | None = None,
    parts: Parts | None = None,
) -> dict[str, Any]:
    """Return one judge's leaderboard: ratings, gain from the anchor to the last round, steps, win rates, categories.

    With ``styles``, ``style`` holds the ratings with length and Markdown held equal; with ``human``, ``calibrated``
    those on the scale of the human verdicts; with ``parts``, ``by_part`` those on each part of the test set.

    Intervals are clustered by instruction: battles of one instruction are not independent.

    Args:
        battles: the battles of one judge.
        params: the contestants and the anchor.
        stop: ``adaptive`` if the adaptive schedule chose the battles; ``intervals`` in the result states it.
        styles: length and Markdown of each answer (`style.measure_styles`).
        human: people's verdicts on some of the battles (`human.read_human_verdicts`).
        parts: the instructions of each part of a mixed test set (`parts.parts_of_test_set`).
    """
    frame, how = battles_frame(battles), rating_params(params, stop)
    result = rate(frame, how)
    contestants = [r.model for r in result.ratings]
    board = {
        "ratings": [dict(vars(r)) for r in result.ratings],
        "intervals": _KINDS[stop],
        "diagnosis": [str(d) for d in result.diagnosis],
        **gains(result, params),
        "win_rates": _win_rates(battles, contestants),
        "categories": _categories(battles, contestants),
        "unscored": sum(b.winner == "unscored" for b in battles),
        "instructions": len({b.instruction_id for b in battles}),
    }
    if styles and (controlled := style_board(frame, styles, result, params)):
        board["style"] = controlled
    if parts:
        board["by_part"] = boards_by_part(frame, how, parts, params)
    if human is not None:
        board["calibrated"] = calibrated_board(frame, human, how, params)
    return board


def rate_battles(battles: Sequence[AnyBattle], params: Params) -> RatingResult:
    """Rate one judge's scored battles of the test set as its leaderboard does, clustered by instruction."""
    return rate(battles_frame(battles), rating_params(params, stop_of(params)))


def _win_rates(battles: Sequence[AnyBattle], contestants: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the win rate of the row's contestant against the column's; a tie counts half."""
    points: dict[tuple[str, str], list[float]] = defaultdict(list)
    for b in battles:
        if b.winner != "unscored":
            value = {"a": 1.0, "b": 0.0, "tie": 0.5}[b.winner]
            points[b.a, b.b].append(value)
            points[b.b, b.a].append(1 - value)
    return {
        row: {col: fmean(points[row, col]) for col in contestants if points.get((row, col))}
        for row in contestants
    }


def _categories(battles: Sequence[AnyBattle], contestants: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return each contestant's mean score by category (mean of its battles' scores, 1 to 10)."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for b in battles:
        if b.score_a is not None and b.score_b is not None:
            scores[b.category][b.a].append(b.score_a)
            scores[b.category][b.b].append(b.score_b)
    return {
        category: {c: round(fmean(by[c]), 2) for c in contestants if by.get(c)}
        for category, by in sorted(scores.items())
    }


def _answer_stats(contestant: str, responses: Responses) -> dict[str, float]:
    asked = [r for (_, name), r in responses.items() if name == contestant]
    own = [r for r in asked if r.finish_reason != "refused"]
    refused = {"refused": len(asked) - len(own)} if len(asked) > len(own) else {}
    if not own:
        return {"answers": 0, **refused}
    return {
        "answers": len(own),
        "mean_words": round(fmean(len(words(r.text)) for r in own), 1),
        "cut_off": sum(r.finish_reason == "length" for r in own),
        "repetition": round(fmean(repetition(r.text) for r in own), 3),
        **refused,
    }


def _check_judged(arena: Mapping[str, object], params: Params, paths: Paths) -> None:
    for name in params.evaluate.judges:
        if name not in arena:
            raise ArenaError(
                f"judge '{name}' of evaluate.judges has not judged the test set",
                where=str(paths.arena_metrics),
                hint="run `arena repro`, or `arena evaluate` alone",
            )


def _write_table(first: Mapping[str, Any], params: Params, paths: Paths) -> None:
    """Write the table that `dvc plots` draws: the first judge's ratings by round."""
    index = {
        params.evaluate.anchor: -1,
        **{name: params.rounds[name].index for name in params.ordered_rounds},
    }
    ratings = [
        {"round": index[r["model"]], **{k: r[k] for k in ("model", "rating", "lower", "upper")}}
        for r in first["ratings"]
        if r["model"] in index
    ]
    write_json(paths.elo_plot, sorted(ratings, key=lambda r: r["round"]))
