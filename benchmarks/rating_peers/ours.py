"""One timed job of this project's rating; run by rating_speed.py."""

import json
import resource
import sys
import time

from arena_learning.rating import RatingParams, rate, read_battles
from arena_learning.rating.bradley_terry import fit_battles


def main() -> None:
    _, _, job, file = sys.argv
    params = {
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
        if job == "folded":
            assert read is not None
            fit_battles(read, params)
        else:
            rate(read or read_battles(file), params)
        times.append(time.perf_counter() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"first": times[0], "again": times[1], "memory_mb": memory}))


if __name__ == "__main__":
    main()
