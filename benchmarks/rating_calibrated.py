"""Do intervals of calibrated ratings cover people's ratings, and what are the judge's verdicts worth?

    python benchmarks/rating_calibrated.py [--repeats 1000] [--labels 90 180 360]

Four contestants play all pairs on 150 prompts. People's verdicts follow a Bradley-Terry model exactly. The judge sees
the same answers with noise of its own, and takes the first contestant for 0.9 log-odds (156 Elo) better than people do.
People judge some of the 900 battles: drawn at random, all battles of prompts drawn at random, or a battle of each pair
in turn, as `arena review` draws them. Coverage is that of the three intervals against the anchor, over all repeats; its
standard error is computed from the repeats.
"""

from __future__ import annotations

import argparse
from itertools import combinations

import numpy as np
import pandas as pd

from arena_learning.rating import RatingParams, TooFewVerdictsError, calibrate_ratings, rate

UNIT = 400 / np.log(10)
NAMES = np.array(["a", "b", "c", "d"])
STRENGTH = np.array([0.0, 0.4, 0.8, 1.2])
BIAS = np.array([0.9, 0.0, 0.0, 0.0])
HOW = RatingParams(anchor=("d", 1000.0), interval="sandwich")
PROMPTS = 150
DESIGNS = ("at random", "of whole prompts", "of each pair in turn")


def simulated(generator: np.random.Generator) -> pd.DataFrame:
    """Return all battles with people's winner and the judge's."""
    a, b = np.array(list(combinations(range(4), 2))).T
    noise, own = generator.gumbel(size=(2, PROMPTS, 4))
    rows = {"model_a": np.tile(NAMES[a], PROMPTS), "model_b": np.tile(NAMES[b], PROMPTS)}
    rows["prompt_id"] = np.repeat(np.arange(PROMPTS), len(a)).astype(str)
    for name, seen in (("human", STRENGTH + noise), ("judge", STRENGTH + BIAS + 0.8 * noise + 0.6 * own)):
        rows[name] = np.where(seen[:, a] > seen[:, b], "model_a", "model_b").ravel()
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--labels", type=int, nargs="+", default=[90, 180, 360])
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=DESIGNS)
    given = parser.parse_args()
    truth = dict(zip(NAMES, 1000 + UNIT * (STRENGTH - STRENGTH[3]), strict=True))
    print(
        f"{'people judge':<34} {'calibrated':>18} {'width':>6} {'people alone':>13} {'width':>6} {'judge':>7} "
        f"{'power':>6}"
    )
    for number in given.labels:
        for design in given.designs:
            study(number, design, given.repeats, truth)


def labelled(number: int, design: str, frame: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """Return the battles that people judge."""
    if design == "at random":
        return frame.iloc[generator.choice(len(frame), number, replace=False)]
    if design == "of whole prompts":
        drawn = generator.choice(PROMPTS, number // 6, replace=False).astype(str)
        return frame[frame.prompt_id.isin(drawn)]
    shuffled = frame.iloc[generator.permutation(len(frame))]
    turn = shuffled.groupby(["model_a", "model_b"]).cumcount()
    return shuffled.iloc[np.argsort(turn.to_numpy(), kind="stable")[:number]]


def study(number: int, design: str, repeats: int, truth: dict[str, float]) -> None:
    """Print one line: ``number`` battles with human verdicts, chosen by a design."""
    generator = np.random.default_rng(11)
    covered, widths, power, failed = [], [], [], 0
    for _ in range(repeats):
        frame = simulated(generator)
        labels = labelled(number, design, frame, generator)
        judged, people = frame.assign(winner=frame.judge), labels.assign(winner=labels.human)
        try:
            found = calibrate_ratings(judged, people, HOW)
        except TooFewVerdictsError:
            failed += 1
            continue
        results = (found.result, rate(people, HOW), rate(judged, HOW))
        spans = [[(r[n].lower, r[n].upper) for n in "abc"] for r in results]
        covered.append(
            [[low <= truth[n] <= high for n, (low, high) in zip("abc", s, strict=True)] for s in spans]
        )
        widths.append([np.mean([high - low for low, high in s]) for s in spans])
        power.append(found.power)
    shares = np.array(covered).mean(axis=2)
    mean, width = shares.mean(axis=0), np.mean(widths, axis=0)
    error = shares[:, 0].std(ddof=1) / np.sqrt(len(shares))
    what = f"{number} battles {design}"
    print(
        f"{what:<34} {f'{mean[0]:.1%} (se {error:.1%})':>18} {width[0]:>6.0f} {mean[1]:>13.1%} {width[1]:>6.0f} "
        f"{mean[2]:>7.1%} {np.mean(power):>6.2f}   {len(shares)} repeats, {failed} without ratings"
    )


if __name__ == "__main__":
    main()
