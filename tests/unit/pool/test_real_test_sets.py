"""The test-set builder on real instructions: AlpacaEval's 805."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena_learning.params import parse_params
from arena_learning.pool.evaluation_sets import choose_test_set
from arena_learning.pool.instructions import read_pool

pytestmark = [pytest.mark.torch, pytest.mark.slow]

FILE = Path(__file__).parents[3].parent / "shared" / "data" / "alpaca_eval_instructions.jsonl"


def test_a_mixed_set_of_alpaca_eval_has_each_cluster_and_the_long_ones(make_params):
    if not FILE.is_file():
        pytest.skip(f"{FILE.name} is not beside the checkout (docs/lab/results.md says where to get it)")
    pool = read_pool(FILE)
    assert len(pool) == 805
    how = {"splits": {"d1": 1}, "test": 160, "test_set": "mix", "test_clusters": 40}
    params = parse_params(make_params(pool=how), "here").pool
    found = choose_test_set(pool, params, 3, {})
    assert {name: len(ids) for name, ids in found.parts.items()} == {"diverse": 80, "hard": 80}
    assert found.clusters == 40
    assert len(found.rest) == 805 - 160
    # The largest of 40 clusters of 805 has 21 instructions or more, and two of each are in the diverse half.
    assert found.largest[0]["size"] > 805 / 40
    assert all(row["chosen"] >= 2 for row in found.largest)
    assert all(row["words"] for row in found.largest)
    by_id = {one.id: one for one in pool}
    words = {
        name: sum(len(by_id[n].text.split()) for n in ids) / len(ids) for name, ids in found.parts.items()
    }
    assert words["hard"] > 1.5 * words["diverse"]  # without ratings length stands in for difficulty
