"""Time from a file of votes to ratings and intervals, beside other tools, each in an environment of its own.

    python benchmarks/rating_speed.py arena_votes_20240814.csv [--no-peers] [--repeats 5]

The counted votes (model_a, model_b, winner, count) are expanded to one row a vote in dictionary-encoded
Parquet, with invented prompt ids. Every job runs in a fresh process, again and again in turn with the
others'; times are from opening the file to the result, without imports, medians over repeats. `first` is the
first call in a process (with whatever is compiled or loaded then), `again` the second. Peers' bootstraps are
run with few resamples and scaled.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
PEERS = {
    "evalica": ["evalica", "pandas", "pyarrow"],
    "arena-rank": ["arena-rank", "pandas", "pyarrow"],
    "FastChat, L-BFGS": ["scipy", "pandas", "pyarrow"],
    "FastChat, sklearn": ["scikit-learn", "pandas", "pyarrow"],
}
JOBS = {
    "fit": "ratings alone",
    "ratings": "ratings with a sandwich interval (by prompt here, by battle elsewhere)",
    "bootstrap": "1,000 resamples of battles",
    "prompts": "1,000 resamples of 100,000 prompts",
    "folded": "a fit of votes already folded",
    "folded-bootstrap": "1,000 resamples of votes already folded",
}
TARGETS = {
    "fit": 0.4,
    "ratings": 0.4,
    "bootstrap": 4.0,
    "prompts": 20.0,
    "folded": 0.02,
    "folded-bootstrap": 4.0,
}
TIMEOUT = 45  # seconds; a job that takes longer is not run again


def expand(votes: Path, target: Path, prompts: int) -> int:
    """Write one row a vote, shuffled, with invented prompts."""
    table = pd.read_csv(votes)
    rows = table.loc[table.index.repeat(table["count"]), ["model_a", "model_b", "winner"]]
    rows = rows.sample(frac=1, random_state=0).reset_index(drop=True)
    rows["prompt_id"] = np.random.default_rng(0).integers(0, prompts, len(rows)).astype(str)
    rows.astype("category").to_parquet(target)
    return len(rows)


def run(python: str, script: str, tool: str, job: str, file: Path) -> dict[str, float | str]:
    """Run one job in a fresh process; returns seconds of the first and second call and the peak memory."""
    command = [python, str(HERE / "rating_peers" / script), tool, job, str(file)]
    # A session of its own: a tool that hangs leaves its workers behind, and these must end with it.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, errors = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return {"error": f"no result in {TIMEOUT} s"}
    if process.returncode:
        return {"error": (errors.strip().splitlines() or ["?"])[-1][:150]}
    result: dict[str, float | str] = json.loads(output.splitlines()[-1])
    return result


def environment(folder: Path, packages: list[str]) -> str:
    """Make an environment of its own for a peer; returns its Python."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages], check=True
    )
    return python


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("votes", type=Path)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-repeats", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=100_000)
    parser.add_argument("--environments", type=Path, help="keep the peers' environments here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "votes.parquet"
        rows = expand(options.votes, file, options.prompts)
        print(f"{rows:,} rows, {file.stat().st_size / 1e6:.1f} MB of Parquet", flush=True)
        tools = {"this": (sys.executable, "ours.py")}
        for name, packages in {} if options.no_peers else PEERS.items():  # type: ignore[attr-defined]
            folder = (options.environments or Path(scratch)) / name.replace(", ", "-")
            python = str(folder / "bin" / "python") if folder.exists() else environment(folder, packages)
            tools[name] = (python, "peers.py")
        found: dict[tuple[str, str], list[dict[str, float | str]]] = {}
        for turn in range(max(options.repeats, options.peer_repeats)):
            for job in JOBS:
                for tool, (python, script) in tools.items():
                    wanted = options.repeats if tool == "this" else options.peer_repeats
                    past = found.setdefault((job, tool), [])
                    if turn < wanted and not any("error" in one for one in past):
                        source = options.votes if job.startswith("folded") else file
                        past.append(run(python, script, tool, job, source))
                        print(f"  {job}, {tool}: {past[-1]}", file=sys.stderr, flush=True)
        report(found, list(tools))


def report(found: dict[tuple[str, str], list[dict[str, float | str]]], tools: list[str]) -> None:
    for job, words in JOBS.items():
        print(f"\n{words} (aim: {TARGETS[job]:g} s)")
        ours = 0.0
        for tool in tools:
            runs = found[job, tool]
            errors = [one["error"] for one in runs if "error" in one]
            if errors:
                print(f"  {tool:18} {errors[0]}")
                continue
            first, again, memory = (
                statistics.median(float(one[key]) for one in runs) for key in ("first", "again", "memory_mb")
            )
            ours = ours or again
            times = "" if tool == "this" else f"  {again / ours:8.1f} times"
            note = f"  {runs[0]['note']}" if runs[0].get("note") else ""
            print(
                f"  {tool:18} first {first:9.3f} s  again {again:9.3f} s  peak {memory:6.0f} MB{times}{note}"
            )


if __name__ == "__main__":
    main()
