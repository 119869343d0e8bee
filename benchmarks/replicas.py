"""Copies on Ray against one engine: as many OpenVINO actors as cores, one core each, beside one engine on all cores.

    python benchmarks/replicas.py MODEL_FOLDER [--prompts 128] [--tokens 48] [--rounds 3] [--batch 16]

Both answer the same prompts, in turns, and must give the same answers to the letter. Each round has prompts of its own
(its number stands at their head), so that no prompt is found in a prefix cache. Loading and one small call before the
first round are not counted. Tokens a second are of generated tokens; medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from arena_learning.engines import Completion, Engine
from arena_learning.engines.openvino import OpenVino
from arena_learning.engines.replicas import Replicas
from arena_learning.params import Ray, Sampling
from arena_learning.schema import Instruction, Turn, read_rows

ROOT = Path(__file__).parents[1]


def on_one_core(folder: Path, exports: Path, rows: int, cores: tuple[int, ...], driver: int) -> OpenVino:
    """Open the engine; in a process of Ray's, first keep the process to a core that no other copy has taken."""
    if os.getpid() != driver:
        for core in cores:
            try:
                (exports / f"core-{core}").mkdir()
            except FileExistsError:
                continue
            os.sched_setaffinity(0, {core})
            break
    return OpenVino(folder, exports, batch_size=rows)


def prompts(count: int, turn: int) -> list[list[Turn]]:
    """Return a round's conversations: shipped instructions behind the round's number."""
    rows = read_rows(ROOT / "data" / "pool.jsonl", Instruction)
    texts = [rows[n % len(rows)].text for n in range(count)]
    return [[Turn(role="user", content=f"({turn}.{n}) {text}")] for n, text in enumerate(texts)]


class Answered:
    """What an engine said in a round, and how fast."""

    def __init__(self, engine: Engine, asked: list[list[Turn]], sampling: Sampling) -> None:
        began = time.perf_counter()
        self.texts: list[str] = []
        tokens = 0
        for start in range(0, len(asked), engine.batch_size):
            for answer in engine.respond(asked[start : start + engine.batch_size], sampling):
                assert isinstance(answer, Completion), answer
                self.texts.append(answer.text)
                tokens += answer.completion_tokens
        self.seconds = time.perf_counter() - began
        self.tokens = tokens
        self.rate = tokens / self.seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="a model's folder")
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=48, help="most of an answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--batch", type=int, default=16, help="conversations that an engine generates at once"
    )
    given = parser.parse_args()
    sampling = Sampling(max_tokens=given.tokens)
    cores = tuple(sorted(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as name:
        exports = Path(name)
        make = partial(on_one_core, given.folder.resolve(), exports, given.batch, cores, os.getpid())
        one = make()
        each = one.batch_size  # of a call
        if given.prompts < each * len(cores):
            print(
                f"a copy may have nothing to do: a call takes {each} prompts, and there are {given.prompts}"
            )
        several = Replicas(make, len(cores), Ray(), where="serving")
        sides: dict[str, Engine] = {f"one engine, {len(cores)} cores": one, f"{len(cores)} copies": several}
        for engine in sides.values():
            Answered(engine, prompts(each * len(cores), 0), Sampling(max_tokens=1))
        rounds: dict[str, list[Answered]] = {side: [] for side in sides}
        same = True
        for turn in range(1, given.rounds + 1):
            asked = prompts(given.prompts, turn)
            for side in list(sides)[:: 1 if turn % 2 else -1]:
                rounds[side].append(Answered(sides[side], asked, sampling))
            texts = [found[-1].texts for found in rounds.values()]
            same &= texts[0] == texts[1]
        for engine in sides.values():
            engine.close()
    print(
        f"{given.prompts} prompts, at most {given.tokens} tokens, batches of {given.batch}, {given.rounds} rounds"
    )
    print("| | tokens | seconds | tokens a second |")
    print("| :-- | --: | --: | --: |")
    rates = []
    for side, found in rounds.items():
        middle = [
            statistics.median(getattr(one, field) for one in found) for field in ("tokens", "seconds", "rate")
        ]
        print(f"| {side} | {middle[0]:,.0f} | {middle[1]:.1f} | {middle[2]:.0f} |")
        rates.append(middle[2])
    print(f"copies: {rates[1] / rates[0]:.2f} times as fast; same answers: {'yes' if same else 'NO'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
