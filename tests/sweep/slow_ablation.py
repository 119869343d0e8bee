"""An ablation in its own process, for tests that kill it: `python slow_ablation.py PROJECT`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from test_ablation import ROUND, as_sft  # noqa: E402

from arena_learning.core.paths import Paths  # noqa: E402
from arena_learning.params import load_params  # noqa: E402
from arena_learning.sweep.ablation.run import run_ablation  # noqa: E402

if __name__ == "__main__":
    paths = Paths(Path(sys.argv[1]))
    params = as_sft(load_params(paths.params))
    run_ablation("selection", ROUND, params, paths, arms=["battles", "random"], rows=8)
