"""How time and memory grow with rows, contestants and resamples; a table and a figure.

    python benchmarks/rating_growth.py [--figure growth.png] [--repeats 3]

Simulated battles, each job in a fresh process: dictionary-encoded Parquet to ratings; medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
BASE = {"rows": 300_000, "models": 100, "resamples": 200}
GRID = {
    "rows": [30_000, 100_000, 300_000, 1_000_000, 3_000_000],
    "models": [10, 30, 100, 300, 1000],
    "resamples": [100, 300, 1000, 3000],
}
JOB = """
import json, sys, time
from arena_learning.rating import RatingParams, rate, read_battles
file, interval, cluster, resamples = sys.argv[1:]
start = time.perf_counter()
rate(read_battles(file), RatingParams(interval=interval, cluster=cluster, bootstrap=int(resamples)))
seconds = time.perf_counter() - start
# Unlike ru_maxrss, without the memory of the process this was forked from.
peak = next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([seconds, peak]))
"""
KINDS = {
    "sandwich": ("sandwich", "prompt"),
    "battles": ("bootstrap", "battle"),
    "prompts": ("bootstrap", "prompt"),
}


def simulate(file: Path, rows: int, models: int) -> None:
    """Write battles of contestants within 500 Elo, some met far more often than others."""
    generator = np.random.default_rng(rows + models)
    strength = generator.uniform(-1.5, 1.5, models)
    often = generator.pareto(2.0, models) + 0.2
    a = generator.choice(models, rows, p=often / often.sum())
    b = (a + generator.integers(1, models, rows)) % models
    won = generator.random(rows) < 1 / (1 + np.exp(strength[b] - strength[a]))
    winner = np.where(generator.random(rows) < 0.2, "tie", np.where(won, "model_a", "model_b"))
    names = np.array([f"model-{i:04}" for i in range(models)])
    table = {"model_a": names[a], "model_b": names[b], "winner": winner}
    table["prompt_id"] = generator.integers(0, max(rows // 16, 2), rows).astype(str)
    pd.DataFrame(table).astype("category").to_parquet(file)


def measure(file: Path, kind: str, resamples: int, repeats: int) -> tuple[float, float]:
    """Return median seconds and megabytes."""
    command = [sys.executable, "-c", JOB, str(file), *KINDS[kind], str(resamples)]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(repeats)
    ]
    seconds, memory = (statistics.median(column) for column in zip(*runs, strict=True))
    return seconds, memory


def draw(found: list[tuple[str, int, str, float, float]], figure: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    _, axes = plt.subplots(2, len(GRID), figsize=(11, 6), sharey="row")
    for column, what in enumerate(GRID):
        for row, (index, unit) in enumerate(((3, "seconds"), (4, "MB"))):
            for number, kind in enumerate(KINDS):
                points = [(one[1], one[index]) for one in found if one[0] == what and one[2] == kind]
                if points:
                    x, y = zip(*points, strict=True)
                    axes[row, column].loglog(x, y, marker="o", label=kind, color=f"C{number}")
            axes[row, column].set_xlabel(what)
            axes[row, column].yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
            axes[row, column].set_ylim(*((0.1, 30) if unit == "seconds" else (100, 1000)))
            axes[row, 0].set_ylabel(unit)
    axes[0, 0].legend()
    plt.tight_layout()
    plt.savefig(figure, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--figure")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found = []
    print(f"base: {BASE}\n{'grows':10} {'to':>9} {'interval':>9} {'seconds':>9} {'MB':>7}")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "battles.parquet"
        for what, sizes in GRID.items():
            for size in sizes:
                setting = {**BASE, what: size}
                simulate(file, setting["rows"], setting["models"])
                for kind in KINDS:
                    if what == "resamples" and kind == "sandwich":
                        continue
                    seconds, memory = measure(file, kind, setting["resamples"], options.repeats)
                    found.append((what, size, kind, seconds, memory))
                    print(f"{what:10} {size:9,} {kind:>9} {seconds:9.3f} {memory:7.0f}", flush=True)
    if options.figure:
        draw(found, options.figure)


if __name__ == "__main__":
    main()
