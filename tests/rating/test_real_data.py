"""Figures known of public data; docs/lab/ratings.md says where the files are from."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arena_learning.importers.run import import_files
from arena_learning.rating import (
    RatingParams,
    average_win_rates,
    consistency,
    position_bias,
    rate,
    read_battles,
    win_rate_against,
)

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def data(name, **options):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the checkout (docs/lab/ratings.md says where to get it)")
    return pd.read_csv(path, **options)


def test_the_published_arena_ratings():
    votes, published = data("arena_votes_20240814.csv"), data("arena_published_20240822.csv")
    result = rate(votes, RatingParams(anchor=("mixtral-8x7b-instruct-v0.1", 1114.0), interval="sandwich"))
    ours = result.to_frame().set_index("model").rating.reindex(published.model).to_numpy()
    assert np.abs(ours - published.rating).max() < 2
    assert pd.Series(ours).corr(published.rating, method="spearman") > 0.9999
    assert not result.diagnosis


def test_files_of_public_votes_give_the_same_as_their_tables(tmp_path):
    votes = data("arena_votes_20240814.csv")
    table = rate(votes, RatingParams(bootstrap=0)).to_dict()
    assert rate(read_battles(DATA / "arena_votes_20240814.csv"), RatingParams(bootstrap=0)).to_dict() == table
    import_files("jsonl", [DATA / "arena_votes_20240814.csv"], tmp_path)
    imported = rate(read_battles(tmp_path / "battles.jsonl"), RatingParams(bootstrap=0))
    ours = {one.model: (round(one.rating, 6), one.battles) for one in imported.ratings}
    assert ours == {row["model"]: (round(row["rating"], 6), row["battles"]) for row in table["ratings"]}

    data("qlora_gpt4_battles.csv.gz")
    battles = read_battles(DATA / "qlora_gpt4_battles.csv.gz", skip_bad=True)
    assert (len(battles), battles.passed) == (43011, {"an unknown winner": 1495})  # of 44,506 rows


def test_the_published_interval_widths():
    votes, published = (
        data("arena_votes_20240814.csv"),
        data("arena_published_20240904.csv").set_index("model"),
    )
    ours = rate(votes, RatingParams(bootstrap=500)).to_frame().set_index("model")
    both = ours.index.intersection(published.index)
    widths = [(board.upper - board.lower)[both] for board in (ours, published)]
    assert len(both) > 100
    assert np.corrcoef(*widths)[0, 1] > 0.95


def test_the_papers_consistency():
    table = data("wizardarena_table4.csv")
    sides = [
        table[["model", *(f"{name}_{column}" for column in ("rating", "lower", "upper"))]].set_axis(
            ["model", "rating", "lower", "upper"], axis=1
        )
        for name in ("mix", "lmsys")
    ]
    found = consistency(*sides)
    shares = (found.spearman, found.human_agreement, found.differentiation, found.mean)
    assert [round(share, 4) for share in shares] == [0.9923, 0.9911, 0.9802, 0.9879]
    assert (found.models, found.pairs, found.separated) == (23, 253, 225)


def test_the_position_figures_of_qlora():
    table = data("qlora_gpt4_battles.csv.gz", dtype={"prompt_id": str})
    table = table[(table.bench == "oa") & (table.winner != "parse_error")]
    found = position_bias(table)
    shares = [round(100 * share, 1) for share in (found.first_wins, found.second_wins, found.ties)]
    assert shares == [49.0, 36.4, 14.6]
    assert round(100 * found.survives) == 72


def test_the_win_rates_of_alpaca_eval():
    table = data("alpaca_eval_preferences.csv.gz")
    table = table[(table.judge == "weighted_alpaca_eval_gpt4_turbo") & (table.model != table.baseline)]
    mean = table.groupby("model").preference.mean() - 1
    # A graded preference of 1.7 is 0.7 of a win and 0.3 of a loss: two rows, weighted.
    share = table.preference - 1
    sides = {"model_a": table.model, "model_b": table.baseline, "prompt_id": table.instruction_id}
    rows = pd.concat(
        [
            pd.DataFrame({**sides, "winner": "model_a", "weight": share}),
            pd.DataFrame({**sides, "winner": "model_b", "weight": 1 - share}),
        ]
    )
    found = {one.model: one for one in win_rate_against(rows, "gpt4_1106_preview")}
    assert len(found) == len(mean) > 50
    for model, expected in mean.items():
        assert found[model].rate == pytest.approx(expected, abs=1e-9)
        assert found[model].lower < expected < found[model].upper
    assert average_win_rates(rows)["gpt4_1106_preview"] == pytest.approx(1 - mean.mean(), abs=1e-9)
