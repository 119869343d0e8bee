"""`kill -9` of `dvc repro` at random moments: what is lost, and what is paid twice.

    PYTHONPATH=tests python benchmarks/kill_repro.py [--moments 20] [--seed 1] [--keep FOLDER]

Runs a small project (SFT, then a reward model and PPO, of a tiny model; an opponent and a judge behind an endpoint with
a bill) once undisturbed, then over and over, killed in each of its stages, the whole process group and dvc alone by
turns, and compares every file.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from pipeline.kills import (
    CONCURRENCY,
    LATENCY,
    SECRET,
    VARIABLE,
    FakeEndpoint,
    answer,
    contents,
    disturbed,
    make_kill_project,
    undisturbed,
)
from tiny import build_tiny_model

STAGES = (
    "battle@sft-i1",
    "judge@sft-i1",
    "train@sft-i1",
    "battle@ppo-i1",
    "judge@ppo-i1",
    "train@ppo-i1",
    "answer@ppo-i1",
    "evaluate",
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--moments", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--keep", type=Path, default=None)
    given = options.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[VARIABLE] = SECRET
    model = build_tiny_model(folder / "tiny")
    with FakeEndpoint(answer, latency=LATENCY) as endpoint:
        (folder / "start").mkdir()
        start = make_kill_project(folder / "start", model, endpoint, ("sft", "ppo"))
        endpoint.seen.clear()
        began = time.monotonic()
        took = undisturbed(start, folder / "undisturbed")
        paid = sum(endpoint.seen.values())
        wanted = contents(folder / "undisturbed")
        print(
            f"undisturbed: {time.monotonic() - began:.0f} s, {len(wanted)} files, {paid} requests paid",
            flush=True,
        )
        tried, differing, twice, torn, seed = 0, 0, 0, 0, given.seed
        while tried < given.moments:
            root = folder / f"disturbed-{seed}"
            outcome = disturbed(start, root, STAGES[: given.moments - tried], took, endpoint, seed)
            found = contents(root)
            other = sorted(
                name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
            )
            torn += outcome.torn
            tried, twice, differing = (
                tried + len(outcome.kills),
                twice + outcome.paid_twice,
                differing + len(other),
            )
            for kill in outcome.kills:
                who = "group" if kill.group else "dvc alone"
                print(
                    f"  {who:9}  {kill.stage:14} {kill.seconds:5.1f} s in, {kill.in_flight} in flight",
                    flush=True,
                )
            print(
                f"seed {seed}: files that differ: {other or 'none'}; paid twice {outcome.paid_twice}",
                flush=True,
            )
            seed += 1
    print(
        f"{tried} moments, {differing} files differ, {twice} of {paid} requests a run paid twice "
        f"({tried * CONCURRENCY} could be in flight), DVC's lock file torn {torn} times"
    )


if __name__ == "__main__":
    main()
