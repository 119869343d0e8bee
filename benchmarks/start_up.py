"""What the stages of a finished project take where nothing is left to generate or judge: their start-up.

    python benchmarks/start_up.py PROJECT [--repeats 3] [--against OTHER/src]

PROJECT is a folder after `dvc repro`, with its `.arena`; a copy is best, for the stages write their files again (the
same bytes). Each command runs in a process of its own. Shown are the processor's seconds (user and system), medians
over repeats, and the greatest memory: other work on the machine hardly changes them. With --against, another version's
sources take every second turn. A first run of each command, which may save something for later ones, is not counted.
Training, `prepare` and `weights` do their whole work whenever they run; they are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ARENA = "from arena_learning.cli.main import main; main()"
# Runs a command as a child of its own, so that the greatest memory is the child's.
CHILD = (
    "import json, resource, subprocess, sys; "
    "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True); "
    "sys.stderr.write(done.stderr[-2000:]); "
    "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
    "print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024])); "
    "sys.exit(done.returncode)"
)


def commands(project: Path) -> list[list[str]]:
    """Return the commands for the project's first round, and those of the whole project."""
    rounds = sorted(path.parent.name for path in (project / "data" / "rounds").glob("*/battle_metrics.json"))
    if not rounds:
        sys.exit(f"{project}: no round has run here; run `dvc repro` first")
    arena = [sys.executable, "-c", ARENA]
    first = rounds[0]
    stages = [
        ["inputs"],
        ["battle", first],
        ["judge", first],
        ["dataset", first],
        ["answer", "base"],
        ["evaluate"],
        ["leaderboard"],
        ["track"],
        ["doctor"],
    ]
    return [[*arena, *stage] for stage in stages] + [[sys.executable, "-P", "-m", "dvc", "repro", "--dry"]]


def measure(command: list[str], project: Path, source: str) -> tuple[float, float]:
    """Return the processor's seconds of a command, and its greatest memory in MB."""
    quiet = {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "TOKENIZERS_PARALLELISM": "false"}
    environment = {**os.environ, **quiet, **({"PYTHONPATH": source} if source else {})}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command[2:])}: exit code {done.returncode}\n{done.stderr}")
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--against", default="", help="another version's src folder")
    given = parser.parse_args()
    sources = ["", given.against] if given.against else [""]
    print(
        f"{'command':<24}" + "".join(f"{name:>24}" for name in ("this version", "the other")[: len(sources)])
    )
    for command in commands(given.project):
        found: dict[str, list[tuple[float, float]]] = {source: [] for source in sources}
        for turn in range(given.repeats + 1):
            for source in sources[:: 1 if turn % 2 else -1]:
                one = measure(command, given.project, source)
                if turn:
                    found[source].append(one)
        columns = []
        for source in sources:
            seconds, memory = (statistics.median(column) for column in zip(*found[source], strict=True))
            columns.append(f"{seconds:>13.2f} s {memory:>6.0f} MB")
        name = " ".join(command[3:])
        print(f"{name:<24}" + "".join(columns), flush=True)


if __name__ == "__main__":
    main()
