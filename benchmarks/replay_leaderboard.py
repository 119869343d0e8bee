"""Leaderboards of real models from recorded verdicts, held against their human Arena ratings.

    python benchmarks/replay_leaderboard.py FOLDER [--judge weighted_alpaca_eval_gpt4_turbo] [--draws 50]

FOLDER holds alpaca_eval_instructions.jsonl, alpaca_eval_responses.jsonl.gz, alpaca_eval_preferences.csv.gz and
alpaca_eval_arena_elo.csv (contestant, arena_model, arena_elo_20240813). The way is the user's: import, a judge of kind
replay, one game a battle (the order of presentation is unknown), ratings with intervals by instruction: plain, and with
style held equal.

With arena_votes_20240814.csv (model_a, model_b, winner, count: people's votes on the same pairs, on other prompts) it
also shows calibrated ratings, and soft labels. A calibrated leaderboard needs people's verdicts on the same battles,
and no public file has them: so votes are drawn from those on the pair, and each is put on a random instruction. They
tell nothing of the answers, and the judge's verdicts cannot help them as they would help true ones.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.stats import spearmanr

from arena_learning.importers.run import import_files
from arena_learning.judge.health import judge_health
from arena_learning.judge.play import Pairing, play_games
from arena_learning.judge.replay import ReplayJudge
from arena_learning.leaderboard.style import measure_styles, with_styles
from arena_learning.pool.instructions import read_pool
from arena_learning.pool.read import read_answers
from arena_learning.rating import (
    RatingParams,
    TooFewVerdictsError,
    battles_from_frame,
    calibrate_ratings,
    rate,
    rate_with_style,
)
from arena_learning.schema.row_files import read_rows
from arena_learning.schema.rows import Battle, RecordedVerdict, Response, by_id
from arena_learning.store.store import Store

FILES = ("alpaca_eval_instructions.jsonl", "alpaca_eval_responses.jsonl.gz", "alpaca_eval_preferences.csv.gz")
WINNERS = {"a": "model_a", "b": "model_b", "tie": "tie"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--judge", default="weighted_alpaca_eval_gpt4_turbo")
    parser.add_argument("--draws", type=int, default=50, help="draws of human votes")
    given = parser.parse_args()
    with (given.folder / "alpaca_eval_arena_elo.csv").open(newline="") as file:
        elo = {row["contestant"]: float(row["arena_elo_20240813"]) for row in csv.DictReader(file)}
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        found = import_files("alpaca-eval", [given.folder / name for name in FILES], out, judge=given.judge)
        print(
            f"imported: {found['instructions']} instructions, {found['answers']} answers of {found['contestants']}"
        )
        judged, health, responses = replayed(out, set(elo))
    frame = pd.DataFrame(
        {
            "model_a": [b.a for b in judged],
            "model_b": [b.b for b in judged],
            "winner": [WINNERS[b.winner] for b in judged],
            "prompt_id": [b.instruction_id for b in judged],
        }
    )
    both = Counter([*frame.model_a, *frame.model_b])
    anchor = max(both, key=lambda name: both[name])
    how = RatingParams(bootstrap=200, anchor=(anchor, elo[anchor]))
    styled = battles_from_frame(with_styles(frame, measure_styles(responses)))
    found = rate_with_style(styled, how)
    ratings = found.plain.ratings
    print(
        f"battles: {len(judged)} of one game; flip rate {health['flip_rate']}, longer wins {health['longer_wins']:.0%}"
    )
    print(f"{'model':<36} {'rating':>7} {'95 %':>15} {'style':>7} {'95 %':>15} {'human':>7}")
    for r in ratings:
        c = found.controlled[r.model]
        spans = [f"{one.lower:.0f} to {one.upper:.0f}" for one in (r, c)]
        print(
            f"{r.model:<36} {r.rating:>7.0f} {spans[0]:>15} {c.rating:>7.0f} {spans[1]:>15} {elo[r.model]:>7.0f}"
        )
    for e in found.effects:
        print(f"style: {e.name} {e.elo:+.0f} ({e.lower:+.0f} to {e.upper:+.0f}) Elo a standard deviation")
    print(f"\n{'ratings':<58} {'Spearman':>8} {'Elo error':>9}")
    say("plain", {r.model: r.rating for r in ratings}, elo, anchor)
    say("style held equal", {r.model: r.rating for r in found.controlled.ratings}, elo, anchor)
    votes = given.folder / "alpaca_eval_arena_elo.csv", given.folder / "arena_votes_20240814.csv"
    if votes[1].is_file():
        plain = {r.model: r.rating for r in ratings}
        against_votes(judged, frame, elo, how, read_votes(*votes, anchor), plain, given.draws)


def say(
    name: str, ratings: Mapping[str, float], elo: Mapping[str, float], anchor: str
) -> tuple[float, float]:
    """Print how far ratings are from people's: rank correlation, and mean absolute error without the anchor."""
    rho, error = distance(ratings, elo, anchor)
    print(f"{name:<58} {rho:>8.3f} {error:>9.1f}")
    return rho, error


def distance(ratings: Mapping[str, float], elo: Mapping[str, float], anchor: str) -> tuple[float, float]:
    names = list(ratings)
    rho = spearmanr([ratings[n] for n in names], [elo[n] for n in names]).statistic
    return float(rho), float(np.mean([abs(ratings[n] - elo[n]) for n in names if n != anchor]))


def read_votes(names: Path, votes: Path, anchor: str) -> dict[str, np.ndarray]:
    """Return the number of votes for the anchor, ties, and votes for the other, by contestant."""
    with names.open(newline="") as file:
        known = {row["contestant"]: row["arena_model"] for row in csv.DictReader(file)}
    table = pd.read_csv(votes)
    table["winner"] = table.winner.where(~table.winner.str.startswith("tie"), "tie")
    counts = table.groupby(["model_a", "model_b", "winner"])["count"].sum()
    found = {}
    for name, arena in known.items():
        pair = (known[anchor], arena)
        one, other = (
            [int(counts.get((*order, w), 0)) for w in WINNERS.values()] for order in (pair, pair[::-1])
        )
        found[name] = np.array([one[0] + other[1], one[2] + other[2], one[1] + other[0]])
    return found


def against_votes(
    judged: list[Battle],
    frame: pd.DataFrame,
    elo: Mapping[str, float],
    how: RatingParams,
    votes: Mapping[str, np.ndarray],
    plain: Mapping[str, float],
    draws: int,
) -> None:
    """Print calibrated ratings with more and more votes, and soft labels fitted on all but the model they rate."""
    assert how.anchor is not None
    anchor = how.anchor[0]
    others = sorted({*frame.model_a, *frame.model_b} - {anchor})
    gaps = {
        name: np.array(
            [(b.score_a - b.score_b) * (1 if b.a == anchor else -1) for b in judged if name in (b.a, b.b)]
        )
        for name in others
    }
    share = {name: (votes[name][0] + votes[name][1] / 2) / votes[name].sum() for name in others}
    unit = how.scale / np.log(10)

    def rating(of_anchor: float) -> float:
        return how.anchor[1] - unit * float(np.log(of_anchor / (1 - of_anchor)))

    hard = {name: float(np.mean((np.sign(gaps[name]) + 1) / 2)) for name in others}
    soft, slope = {anchor: how.anchor[1]}, {anchor: how.anchor[1]}
    for name in others:
        rest = [n for n in others if n != name and votes[n].sum()]
        t = fitted(lambda t, n: float(np.mean(1 / (1 + np.exp(-gaps[n] / t)))), rest, votes, share)
        soft[name] = rating(float(np.mean(1 / (1 + np.exp(-gaps[name] / t)))))
        k = fitted(lambda t, n: 1 / (1 + ((1 - hard[n]) / hard[n]) ** (1 / t)), rest, votes, share)
        slope[name] = rating(1 / (1 + ((1 - hard[name]) / hard[name]) ** (1 / k)))
    say("soft labels, one temperature (leaving out the model rated)", soft, elo, anchor)
    say("plain, one factor (leaving out the model rated)", slope, elo, anchor)
    mine = [name for name in others if votes[name].sum() > 0]
    say("all votes on the pairs", {anchor: how.anchor[1], **{n: rating(share[n]) for n in mine}}, elo, anchor)
    for number in (10, 20, 50, 100):
        calibrated_with(number, frame, elo, how, votes, plain, draws)


def fitted(
    label: Callable[[float, str], float],
    names: list[str],
    votes: Mapping[str, np.ndarray],
    share: Mapping[str, float],
) -> float:
    """Return the temperature under which the votes on pairs are likeliest."""

    def loss(log_t: float) -> float:
        total = 0.0
        for n in names:
            p = np.clip(label(float(np.exp(log_t)), n), 1e-9, 1 - 1e-9)
            total -= votes[n].sum() * (share[n] * np.log(p) + (1 - share[n]) * np.log(1 - p))
        return float(total)

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 6), method="bounded").x))


def calibrated_with(
    number: int,
    frame: pd.DataFrame,
    elo: Mapping[str, float],
    how: RatingParams,
    votes: Mapping[str, np.ndarray],
    plain: Mapping[str, float],
    draws: int,
) -> None:
    """Print the mean over draws of ``number`` votes a pair: calibrated ratings, and the same votes alone.

    Pairs with fewer votes are left out; before them stand the plain ratings of the same models.
    """
    assert how.anchor is not None
    anchor = how.anchor[0]
    generator = np.random.default_rng(0)
    mine = [name for name in plain if name == anchor or votes[name].sum() >= number]
    say(f"plain, the {len(mine)} models of the next two", {name: plain[name] for name in mine}, elo, anchor)
    rows: list[tuple[float, float]] = []
    alone: list[tuple[float, float]] = []
    power, failed = [], 0
    for _ in range(draws):
        people = []
        for name, found in votes.items():
            own = frame[(frame.model_a == name) | (frame.model_b == name)]
            if name == anchor or not len(own) or found.sum() < number:
                continue
            where = own.prompt_id.iloc[generator.choice(len(own), number, replace=False)]
            said = np.repeat(
                ["model_a", "tie", "model_b"], generator.multivariate_hypergeometric(found, number)
            )
            people.append(
                pd.DataFrame(
                    {
                        "model_a": anchor,
                        "model_b": name,
                        "prompt_id": where,
                        "winner": generator.permutation(said),
                    }
                )
            )
        human = pd.concat(people)
        try:
            found_ = calibrate_ratings(frame, human, how)
        except TooFewVerdictsError:
            failed += 1
            continue
        power.append(found_.power)
        rows.append(distance({r.model: r.rating for r in found_.result.ratings}, elo, anchor))
        by_votes = rate(human, replace(how, interval="sandwich"))
        alone.append(distance({r.model: r.rating for r in by_votes.ratings}, elo, anchor))
    for name, found_rows in (
        (f"calibrated by {number} votes a pair, power {np.mean(power):.2f}", rows),
        (f"{number} votes a pair alone", alone),
    ):
        rho, error = np.mean(found_rows, axis=0)
        print(
            f"{name:<58} {rho:>8.3f} {error:>9.1f}   mean of {len(found_rows)} draws, {failed} without ratings"
        )


def replayed(out: Path, known: set[str]) -> tuple[list[Battle], dict, dict]:
    """Play every recorded pair whose contestants both have answers and a human rating."""
    instructions = by_id(read_pool(out / "instructions.jsonl"))
    verdicts = read_rows(out / "verdicts.jsonl", RecordedVerdict)
    pairs = [Pairing(v.instruction_id, v.first, v.second) for v in verdicts if {v.first, v.second} <= known]
    names = {name for p in pairs for name in (p.a, p.b)}
    fields = {"finish_reason": "stop", "prompt_tokens": 0, "completion_tokens": 0}
    responses = {
        (i, name): Response(instruction_id=i, contestant=name, text=text, **fields)
        for name in names
        for i, text in read_answers(out / "answers" / f"{name}.jsonl").items()
    }
    # One model left one instruction unanswered: what nobody answered cannot be shown to a judge.
    pairs = [p for p in pairs if {(p.instruction_id, p.a), (p.instruction_id, p.b)} <= responses.keys()]
    with Store(out / "store.sqlite") as store:
        judged = play_games(pairs, instructions, responses, ReplayJudge(out / "verdicts.jsonl"), store)
    return judged.battles, judge_health(judged.games, judged.battles, responses), responses


if __name__ == "__main__":
    main()
