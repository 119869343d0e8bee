"""The content of the HTML page as plain values: the template only lays it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, Paths, clip, read_json, sanitized
from arena_learning.leaderboard import judge_names
from arena_learning.params import Params
from arena_learning.report.other_ratings import other_rules
from arena_learning.report.phrases import (
    elo,
    format_number,
    gain_sentence,
    interval_text,
    percent,
    plural,
    rank,
    score,
)
from arena_learning.report.tables import ordered_boards
from arena_learning.report.views import (
    ARENA,
    BattleLog,
    BattleView,
    extremes,
    read_battle_log,
    sample_results,
    target_of,
)
from arena_learning.schema import BattleResult, Instruction

# Number of battles of each round or test set on the page: the widest losses and wins, and a seeded sample of the rest.
EXTREMES, SAMPLE = 6, 18
# Most characters of one answer on the page; `arena show battle` shows all of it.
LONGEST = 8000


class Bar(NamedTuple):
    """A rating and its interval as positions on a line from 0 to 100."""

    low: float
    middle: float
    high: float


class BattleCard(NamedTuple):
    """One battle to read; ``of`` is the contestant that ``outcome`` refers to."""

    place: str
    kind: str
    outcome: str
    margin: str
    instruction: Instruction
    of: str
    other: str
    scores: dict[str, str]
    answers: dict[str, dict[str, Any]]
    judge: str
    games: list[dict[str, str]]
    why_unscored: str


def board_views(leaderboard: Mapping[str, Any], params: Params) -> list[dict[str, Any]]:
    """Return each judge's leaderboard with interval bars, the gain in words, steps and tables."""
    return [
        {
            "judge": name,
            "role": role_sentence(name, params),
            "instructions": plural(board["instructions"], "test instruction"),
            "gain": gain_sentence(board["gain"]) if board["gain"] else "",
            "verdict": board["gain"]["verdict"] if board["gain"] else "",
            "rows": _rating_rows(board, leaderboard["answers"], params),
            "steps": [
                {**s, "difference": elo(s["difference"]), "span": f"{elo(s['lower'])} to {elo(s['upper'])}"}
                for s in board["steps"]
            ],
            "others": [rule._asdict() for rule in other_rules(board)],
            "diagnosis": board["diagnosis"],
            "names": [r["model"] for r in board["ratings"]],
            "win_rates": _win_rate_rows(board),
            "categories": {
                category: [format_number(scores.get(r["model"]), 1) for r in board["ratings"]]
                for category, scores in board["categories"].items()
            },
        }
        for name, board in ordered_boards(leaderboard)
    ]


def role_sentence(judge: str, params: Params) -> str:
    """Return what a judge of the leaderboard had to do with the training: how far its word is independent."""
    independence = params.independence(judge)
    if independence == "teacher":
        rounds = ", ".join(params.teachers()[judge])
        return f"The training learnt from this judge's scores ({rounds}); its word counts for less."
    if independence == "alike":
        kind, other = params.judges[judge].kind, params.alike(judge)[0]
        if kind == "jury":
            rounds = ", ".join(params.teachers()[other])
            return f"The training learnt from its member '{other}' ({rounds})."
        how = {"rubric": "reads the same rubrics", "reference": "compares with the same references"}
        other = f"'{other}', which {how.get(kind, 'asks the same model')}"
        return f"The training did not learn from this judge, but from {other}."
    return "The training did not learn from this judge's scores: its word is independent."


def health_rows(leaderboard: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row of diagnostics for each judge on the test set and in each round."""
    found = [("test set", name, board["health"]) for name, board in ordered_boards(leaderboard)]
    found += [(one["name"], one["health"].get("judge", ""), one["health"]) for one in rounds if one["health"]]
    return [
        {
            "place": place,
            "judge": judge,
            "battles": health["battles"],
            "ties": percent(health["tie_rate"]),
            "flips": percent(health["flip_rate"]),
            "unscored": percent(health["unscored_rate"]),
            "first": percent(health["first_position_share"]),
            "longer": percent(health["longer_wins"]),
            "against": percent(health["members_against"]) if "members_against" in health else "",
            "missing": percent(health["members_missing"]) if "members_missing" in health else "",
            "reasons": health["unscored_reasons"],
        }
        for place, judge, health in found
    ]


def round_views(params: Params, paths: Paths) -> list[dict[str, Any]]:
    """Return each round's instructions, training rows and dropped instructions; rounds without a card are left out."""
    views = []
    for name in params.ordered_rounds:
        card = _optional(paths.card(name))
        health = _optional(paths.stage_metrics(name, "judge"))
        if card:
            views.append(
                {
                    "name": name,
                    **params.rounds[name].model_dump(),
                    "card": card,
                    "health": health,
                    "record": _record(health.get("against", {})),
                    "train": _optional(paths.stage_metrics(name, "train")),
                }
            )
    return views


def battle_cards(params: Params, paths: Paths, judge: str) -> list[BattleCard]:
    """Return the battles to read: those of each round's target, and of the last round against the base."""
    views: list[BattleCard] = []
    for name in params.ordered_rounds:
        target = target_of(name, params)
        if target is not None and paths.battles(name).is_file():
            place = read_battle_log(name, params, paths)
            views += _choose(place, place.of(target), target, params.seed, "")
    arena = read_battle_log(ARENA, params, paths)
    names = judge_names(paths)
    first, last = params.compared
    ends = {first, last}
    own = [d for d in arena.results if {d.a, d.b} == ends and names[d.judge] == judge]
    return views + _choose(arena, own, last, params.seed, judge)


def _choose(
    place: BattleLog, own: Sequence[BattleResult], contestant: str, seed: int, judge: str
) -> list[BattleCard]:
    """Return the widest losses and wins among a contestant's ``own`` results, and a sample of the rest."""
    lost, won = (extremes(own, contestant, outcome, EXTREMES) for outcome in ("lost", "won"))
    taken = {*lost, *won}
    rest = sample_results([d for d in own if d not in taken], SAMPLE, seed)
    kinds = ["widest loss"] * len(lost) + ["widest win"] * len(won) + ["sample"] * len(rest)
    views = place.views([*lost, *won, *rest])
    return [
        _battle(place.name, kind, view, contestant, judge) for kind, view in zip(kinds, views, strict=True)
    ]


def _battle(place: str, kind: str, view: BattleView, of: str, judge: str) -> BattleCard:
    battle, result = view.battle, view.result
    other, margin = result.other(of), result.margin(of)
    scores = {battle.a: score(battle.score_a), battle.b: score(battle.score_b)}
    return BattleCard(
        place="test set" if place == ARENA else place,
        kind=kind,
        outcome=result.outcome(of),
        margin="" if margin is None else f"{margin:+g}",
        instruction=view.instruction,
        of=of,
        other=other,
        scores=scores,
        answers={
            name: {
                "text": view.answers[name].text,
                "cut": view.answers[name].finish_reason == "length",
                "refusal": view.answers[name].refusal,
                "thought": view.answers[name].thought,
                "thought_tokens": view.answers[name].thought_tokens,
                "tokens": view.answers[name].completion_tokens,
            }
            for name in (of, other)
        },
        judge=judge or battle.judge,
        games=[
            {
                "order": f"{game.first} shown first",
                "scores": game.unscored
                or f"{game.first} {score(game.score_first)}, {game.second} {score(game.score_second)}",
                "rationale": game.rationale,
            }
            for game in view.games
        ],
        why_unscored=battle.unscored or "",
    )


def clipped_text(text: str) -> str:
    """Return model text for the page: control characters as codes, a very long text cut, with the number cut."""
    return sanitized(clip(text, LONGEST))


def _record(against: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Return the target's results against each opponent in words."""
    return {
        f"against {other}": f"{n['wins']} won, {n['ties']} tied, {n['losses']} lost"
        + (f", {n['unscored']} unscored" if n["unscored"] else "")
        for other, n in against.items()
    }


def _rating_rows(
    board: Mapping[str, Any], answers: Mapping[str, Any], params: Params
) -> list[dict[str, Any]]:
    ends = [value for r in board["ratings"] for value in (r["lower"], r["upper"])]
    low, width = min(ends), max(1.0, max(ends) - min(ends))

    def place(value: float) -> float:
        return float(round(2 + 96 * (value - low) / width, 2))

    return [
        {
            **r,
            "rank": rank(r),
            "rating": f"{r['rating']:.0f}",
            "interval": interval_text(r),
            "bar": Bar(place(r["lower"]), place(r["rating"]), place(r["upper"])),
            "role": _role(r["model"], params),
            "words": format_number(answers.get(r["model"], {}).get("mean_words"), 0),
            "cut_off": format_number(answers.get(r["model"], {}).get("cut_off"), 0),
            "repetition": format_number(answers.get(r["model"], {}).get("repetition"), 3),
        }
        for r in board["ratings"]
    ]


def _role(name: str, params: Params) -> str:
    return "base" if name == "base" else "opponent" if name in params.opponents else "round"


def _win_rate_rows(board: Mapping[str, Any]) -> dict[str, list[str]]:
    names = [r["model"] for r in board["ratings"]]
    rates = board["win_rates"]
    return {
        row: [f"{100 * rates[row][col]:.0f}" if col in rates.get(row, {}) else "" for col in names]
        for row in names
    }


def _optional(path: Path) -> dict[str, Any]:
    """Return a JSON file's content, or an empty mapping if its stage has not run."""
    try:
        found: dict[str, Any] = read_json(path)
    except ArenaError:
        if path.is_file():
            raise
        return {}
    return found
