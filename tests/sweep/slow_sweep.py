"""A sweep that takes its time, for tests that kill it: `python slow_sweep.py PROJECT PAIRS SECONDS STORAGE`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from arena_learning.core.paths import Paths
from arena_learning.params import load_params
from arena_learning.sweep.judge import run as run_judge
from arena_learning.sweep.judge.task import JudgeTask

SPACE = {"judges.longer.tie_margin": [0.0, 0.1, 0.5, 1.0], "judge.disagree": ["average", "tie"]}


class Slow(JudgeTask):
    """The real task, waiting before each block."""

    def judge(self, params, places):
        time.sleep(float(sys.argv[3]))
        return super().judge(params, places)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    paths = Paths(root)
    run_judge.JudgeTask = Slow
    run_judge.sweep_judge(
        "longer",
        load_params(paths.params),
        paths,
        space=SPACE,
        file=Path(sys.argv[2]),
        trials=8,
        url=sys.argv[4],
    )
