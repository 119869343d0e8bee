"""Hold ratings, consistency and biases against figures that others published.

    python benchmarks/rating_real.py --votes arena_votes_20240814.csv --published arena_published_20240822.csv \\
        --widths arena_published_20240904.csv --paper wizardarena_table4.csv \\
        --verdicts qlora_gpt4_battles.csv.gz --preferences alpaca_eval_preferences.csv.gz

Each part runs if its files are given. docs/lab/ratings.md says where anybody gets them.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from arena_learning.rating import RatingParams, consistency, position_bias, rate, win_rate_against

ANCHOR = ("mixtral-8x7b-instruct-v0.1", 1114.0)
BOARD = ["model", "rating", "lower", "upper"]


def show(name: str, found: float, published: str) -> None:
    print(f"{name:58} {found:10.4f}   {published}")


def ratings(votes: pd.DataFrame, published: pd.DataFrame) -> None:
    result = rate(votes, RatingParams(anchor=ANCHOR, interval="sandwich")).to_frame().set_index("model")
    ours = result.rating.reindex(published.model)
    gap = np.abs(ours.to_numpy() - published.rating.to_numpy())
    show(f"largest difference of {len(gap)} published ratings, Elo", gap.max(), "aim: 2 at most")
    rho = pd.Series(ours.to_numpy()).corr(published.rating, method="spearman")
    show("Spearman with them", rho, "aim: above 0.9999")


def interval_widths(votes: pd.DataFrame, published: pd.DataFrame, resamples: int) -> None:
    ours = rate(votes, RatingParams(bootstrap=resamples)).to_frame().set_index("model")
    theirs = published.set_index("model")
    both = ours.index.intersection(theirs.index)
    widths = [(board.upper - board.lower)[both] for board in (ours, theirs)]
    show(f"correlation of {len(both)} interval widths", np.corrcoef(*widths)[0, 1], "aim: above 0.95")


def paper(table: pd.DataFrame) -> None:
    sides = [
        table[["model", f"{side}_rating", f"{side}_lower", f"{side}_upper"]].set_axis(BOARD, axis=1)
        for side in ("mix", "lmsys")
    ]
    found = consistency(*sides)
    for name, value, known in (
        ("Spearman", found.spearman, "0.9923"),
        ("human agreement", found.human_agreement, "0.9911"),
        ("differentiation", found.differentiation, "0.9802"),
        ("mean", found.mean, "0.9879"),
        ("pairs separated by the reference", found.separated, "225"),
    ):
        show(f"paper: {name}", float(value or 0), f"published: {known}")


def verdicts(table: pd.DataFrame) -> None:
    table = table[(table.bench == "oa") & (table.winner != "parse_error")]
    found = position_bias(table)
    show("first position wins", found.first_wins, "known: 0.490")
    show("second position wins", found.second_wins, "known: 0.364")
    show("ties", found.ties, "known: 0.146")
    show(f"verdicts that survive the swap, of {found.swapped}", found.survives or 0.0, "known: 0.72")


def preferences(table: pd.DataFrame) -> None:
    """Graded preferences (1 the baseline, 2 the model; 0 a tie) as weighted wins and losses."""
    table, worst, number = table.dropna(subset="preference"), 0.0, 0
    for (_, baseline), rows in table[table.model != table.baseline].groupby(["judge", "baseline"]):
        share = rows.preference.where(rows.preference != 0, 1.5) - 1
        sides = {"model_a": rows.model, "model_b": rows.baseline, "prompt_id": rows.instruction_id}
        won, lost = (
            {**sides, "winner": f"model_{s}", "weight": w} for s, w in (("a", share), ("b", 1 - share))
        )
        battles = pd.concat([pd.DataFrame(won), pd.DataFrame(lost)])
        found = {one.model: one.rate for one in win_rate_against(battles, str(baseline))}
        mean = share.groupby(rows.model).mean()
        worst = max(worst, *(abs(found[model] - value) for model, value in mean.items()))
        number += len(mean)
    show(f"largest difference of {number} win rates from the mean preference", worst, "aim: 0")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("votes", "published", "widths", "paper", "verdicts", "preferences"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--bootstrap", type=int, default=1000)
    given = {name: value for name, value in vars(parser.parse_args()).items() if value}
    tables = {name: pd.read_csv(path) for name, path in given.items() if name != "bootstrap"}
    if {"votes", "published"} <= tables.keys():
        ratings(tables["votes"], tables["published"])
    if {"votes", "widths"} <= tables.keys():
        interval_widths(tables["votes"], tables["widths"], given["bootstrap"])
    for name, part in (("paper", paper), ("verdicts", verdicts), ("preferences", preferences)):
        if name in tables:
            part(tables[name])


if __name__ == "__main__":
    main()
