"""One timed job of this project's rating; run by rating_speed.py."""

import json
import sys
import time

import pyarrow.compute
import pyarrow.parquet  # noqa: F401  (loaded before the clock starts, as the peers load pandas)

from arena_learning.rating import RatingParams, rate, read_battles
from arena_learning.rating.bradley_terry import fit_battles


def peak_mb(process="self"):
    """Peak memory of this program: unlike ru_maxrss, without that of the process it was forked from."""
    with open(f"/proc/{process}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def main() -> None:
    _, _, job, file = sys.argv
    params = {
        "fit": RatingParams(),
        "ratings": RatingParams(interval="sandwich"),
        "bootstrap": RatingParams(cluster="battle"),
        "prompts": RatingParams(cluster="prompt"),
        "folded": RatingParams(),
        "folded-bootstrap": RatingParams(),
    }[job]
    read = read_battles(file) if job.startswith("folded") else None
    times = []
    for _ in range(2):
        start = time.perf_counter()
        if job in ("fit", "folded"):
            battles = read or read_battles(file)
            fit_battles(battles, params)
        else:
            rate(read or read_battles(file), params)
        times.append(time.perf_counter() - start)
    print(json.dumps({"first": times[0], "again": times[1], "memory_mb": peak_mb()}))


if __name__ == "__main__":
    main()
