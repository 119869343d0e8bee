"""What a round of the paper's size costs this project's own code: time, memory, and their growth.

    python benchmarks/paper_round.py [--games 10000 --games 30000 --games 90000 --games 360000] [--figure FILE.png]

Four contestants answer, all play all in both orders (12 games an instruction), and a judge model scores every game with
a rationale. Then the round's training rows are chosen, and the same games are rated, drawn and reported as a test set's
would be. The stages are the project's own commands, one process each: `battle`, `judge`, `dataset`, `leaderboard`.

Contestants and judge are `Instant`, an engine that answers at once, in two copies on Ray. So what is left is the cost
of this project's code: prompts, keys, the store, rows, statistics, and the way to Ray and back. `Instant` is known to
the two functions that open models as a user's own engine would be (examples/add_an_engine.py).

Of each stage: seconds by the clock, seconds of processor time of its process (what others on the machine do changes
them little), and the most memory of its process (VmHWM). Ray's processes and the copies are not in the last two. Ray
needs some seconds to start, twice a round, whatever the number of games.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from arena_learning.core import Paths, read_json, write_json
from arena_learning.engines import Completion, Conversation
from arena_learning.params import Opponent, Sampling, load_params
from arena_learning.schema import Instruction, Response, Turn, iter_rows, write_rows

ROUND, STAGES = "sft-i1", ("battle", "judge", "dataset", "leaderboard")
CONTESTANTS = ("base", "one", "three", "two")
GAMES_EACH = 12  # 6 pairs of 4 contestants, both orders
CATEGORIES = ("chat", "coding", "mathematics", "writing")
LIMIT_MIB = 2000  # of the driver's memory
WORDS = [
    f"{a}{b}"
    for a in ("ba", "co", "du", "fe", "gi", "lo", "mu", "na")
    for b in ("", "lt", "rin", "sto", "vel")
]


class Instant:
    """Answers at once, by its name and the question's bytes: as a contestant with an answer, as a judge with scores."""

    batch_size, batch_exact = 500, True

    def __init__(self, name: str) -> None:
        self._name = name
        self.fingerprint = {"engine": "instant", "version": "1", "name": name}

    def respond(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Completion]:
        """Answer each conversation, in order."""
        return [self._answer(conversation[-1].content) for conversation in conversations]

    def close(self) -> None:
        """Nothing to give back."""

    def _answer(self, question: str) -> Completion:
        number = zlib.crc32(f"{self._name} {question}".encode())
        if self._name == "judge":
            text = f"Score-A: {number % 10 + 1}\nScore-B: {number // 10 % 10 + 1}\nExplanation: {said(number, 50)}"
            return Completion(text, "stop", len(question) // 5, 60, 0.5)
        return Completion(said(number, 80 + number % 200), "stop", 50, 80 + number % 200, 1.5)


def said(number: int, count: int) -> str:
    """Return ``count`` words that depend on ``number``: an answer of a model costs no more to store than this."""
    start = number % 9973
    return f"{number} " + " ".join(WORDS[(start * n + n * n) % len(WORDS)] for n in range(1, count))


def open_one(opponent: Opponent, *rest: Any, where: str) -> Instant:
    """Stand in for `engines.build._open_one`, which opens opponents and judges' models."""
    return Instant(opponent.model)


def open_folder(folder: Path, *rest: Any, **more: Any) -> Instant:
    """Stand in for `engines.build.open_folder`, which opens the base model and the rounds' models."""
    return Instant(folder.name)


def params(instructions: int) -> dict[str, object]:
    model = {"engine": "transformers", "replicas": 2}
    this = {"index": 0, "method": "sft", "split": "d1", "target": "base", "init": "base", "threshold": 1.0}
    return {
        "weights": {"source": "models/none"},
        "serving": {**model, "dtype": "fp32"},
        "pool": {"splits": {"d1": instructions}, "test": instructions},
        "opponents": {name: {**model, "model": name} for name in CONTESTANTS if name != "base"},
        "judges": {"judge": {"kind": "llm", "model": "judge", **model}},
        "judge": {"name": "judge"},
        "evaluate": {"judges": ["judge"], "style": False},
        "rounds": {ROUND: {**this, "adds_to": "none", "labels": "none"}},
    }


def make_project(root: Path, instructions: int) -> None:
    """Write what the stages before `battle` would have made."""
    (root / "params.yaml").write_text(yaml.safe_dump(params(instructions)), encoding="utf-8")
    paths, rng = Paths(root), random.Random(0)
    for split in ("d1", "test"):
        write_rows(
            paths.split(split), made_instructions(instructions, rng if split == "d1" else random.Random(0))
        )
    write_rows(paths.sft("none"), [])
    write_rows(paths.preferences("none"), [])


def made_instructions(count: int, rng: random.Random) -> Iterator[Instruction]:
    for number in range(count):
        text = f"Question {number}: " + " ".join(rng.choices(WORDS, k=45))
        turn = Turn(role="user", content=text)
        yield Instruction(id=f"q{number:06}", turns=(turn,), category=CATEGORIES[number % len(CATEGORIES)])


def play_as_test_set(root: Path) -> None:
    """Let the round's games be the test set's, whose instructions are the same."""
    paths = Paths(root)
    paths.arena_games.parent.mkdir(parents=True, exist_ok=True)
    os.link(paths.games(ROUND), paths.arena_games)
    os.link(paths.battles(ROUND), paths.arena_battles)
    for name in load_params(paths.params).contestants:
        rows = (r for r in iter_rows(paths.responses(ROUND), Response) if r.contestant == name)
        write_rows(paths.arena_responses(name), rows)
    write_json(paths.arena_metrics, {"judge": read_json(paths.stage_metrics(ROUND, "judge"))})


def run_stage(stage: str) -> None:
    """Run a stage's command in this process; write what it took to standard error's last line."""
    from arena_learning.cli.main import cli
    from arena_learning.engines import build

    build._open_one, build.open_folder = open_one, open_folder  # type: ignore[assignment]
    arguments = [stage] if stage == "leaderboard" else [stage, ROUND]
    cli.main(arguments, standalone_mode=False)
    peak = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    sys.stderr.write(json.dumps([time.process_time(), int(peak.split()[1]) / 1024]) + "\n")


class Took(NamedTuple):
    """What a stage took: seconds by the clock, of processor time, and MiB at most."""

    wall: float
    cpu: float
    mib: float


def measure(games: int) -> dict[str, Took]:
    """Play a round of at least so many games; return what each stage took."""
    instructions = -(-games // GAMES_EACH)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_project(root, instructions)
        for stage in STAGES:
            if stage == "leaderboard":
                play_as_test_set(root)
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, str(Path(__file__).resolve()), "--stage", stage],
                cwd=root,
                capture_output=True,
                text=True,
                check=False,
            )
            wall = time.perf_counter() - began
            if done.returncode:
                raise SystemExit(f"{stage} failed:\n{done.stderr[-4000:]}")
            found[stage] = Took(wall, *json.loads(done.stderr.splitlines()[-1]))
        judged = read_json(Paths(root).stage_metrics(ROUND, "judge"))
        assert judged["games"] == instructions * GAMES_EACH
        assert judged["games_unscored"] == 0
    return found


def table(found: dict[int, dict[str, Took]]) -> list[str]:
    """Return the table in Markdown: what each number of games took; a stage's cell is seconds and MiB."""
    stages = " | ".join(STAGES)
    lines = [
        f"| games | {stages} | all, s | processor, s | ms a game |",
        "| --: |" + " --: |" * (len(STAGES) + 3),
    ]
    for games, took in found.items():
        each = " | ".join(f"{took[stage].wall:.0f} s, {took[stage].mib:.0f} MiB" for stage in STAGES)
        wall, cpu = (sum(getattr(one, field) for one in took.values()) for field in ("wall", "cpu"))
        lines.append(f"| {games:,} | {each} | {wall:.0f} | {cpu:.0f} | {1000 * cpu / games:.2f} |")
    return lines


def draw(found: dict[int, dict[str, Took]], file: Path) -> None:
    """Draw processor time and memory of each stage against the number of games."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    games = list(found)
    for stage, colour in zip(STAGES, ("#2563EB", "#EA580C", "#16A34A", "#7C3AED"), strict=True):
        own = [found[number][stage] for number in games]
        left.loglog(games, [one.cpu for one in own], "o-", color=colour, label=stage)
        right.semilogx(games, [one.mib for one in own], "o-", color=colour, label=stage)
    last = games[-1]
    slowest = found[last]["judge"].cpu
    left.loglog(games, [slowest * n / last for n in games], ":", color="#888888", label="linear")
    right.axhline(LIMIT_MIB, ls=":", color="#888888", label="2 GB")
    left.set(title="Processor time of the driver, s", xlabel="games")
    right.set(title="Most memory of the driver, MiB", xlabel="games", ylim=(0, None))
    for axes in (left, right):
        axes.set_xticks(games, [f"{number // 1000:,} k" for number in games], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=130)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--games", type=int, action="append", help="may be given again")
    parser.add_argument("--figure", type=Path, help="draw the growth into this file")
    parser.add_argument("--stage", choices=STAGES, help="(inner) run one stage in this folder")
    given = parser.parse_args()
    if given.stage:
        run_stage(given.stage)
        return 0
    found: dict[int, dict[str, Took]] = {}
    for games in given.games or [10_000, 30_000, 90_000, 360_000]:
        found[games] = measure(games)
        print("\n".join(table({games: found[games]})), flush=True)
    print("\n".join(["", *table(found)]))
    good = all(one.mib < LIMIT_MIB for took in found.values() for one in took.values())
    for less, more in pairwise(found):
        cpu = [sum(one.cpu for one in found[number].values()) for number in (less, more)]
        print(f"{more / less:.1f} times the games: {cpu[1] / cpu[0]:.1f} times the processor time")
    print(f"less than {LIMIT_MIB} MiB in every stage: {'yes' if good else 'NO'}")
    if given.figure:
        draw(found, given.figure)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
