"""How fast the store reads and writes, and how much memory many games take.

    python benchmarks/store_speed.py [--keys 100000] [--games 200000]

Look-ups and writes are of whole responses in batches of 500, in a store on disk. The games are played by a judge that
answers at once, all of them new, each with a rationale of its own; the memory is the process's greatest, written files
included.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from arena_learning.judge.base import Presentation, Verdict
from arena_learning.judge.play import Pairing, play
from arena_learning.rows import Instruction, Response, Turn, write_rows
from arena_learning.store import Store, store_key

BATCH = 500


class FastJudge:
    """Scores by the texts' bytes, at once."""

    batch_size = BATCH
    label = "fast"

    def __init__(self) -> None:
        self.fingerprint = {"judge": self.label}

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        return [self._verdict(p) for p in presentations]

    def close(self) -> None:
        """Nothing to give back."""

    def _verdict(self, p: Presentation) -> Verdict:
        one, two = (1 + sum(r.text.encode()) % 10 for r in (p.first, p.second))
        why = (
            f"{p.instruction.id}, {p.first.contestant} before {p.second.contestant}: "
            + "because of that " * 15
        )
        return Verdict(one, two, why, tokens=300, seconds=0.5)


def speed(keys: int, folder: Path) -> None:
    value = {
        "text": "word " * 60,
        "finish_reason": "stop",
        "prompt_tokens": 50,
        "completion_tokens": 60,
        "seconds": 1.5,
    }
    all_keys = [store_key("response", {"n": n}) for n in range(keys)]
    with Store(folder / "speed.sqlite") as store:
        start = time.perf_counter()
        for first in range(0, keys, BATCH):
            store.put("response", dict.fromkeys(all_keys[first : first + BATCH], value))
        writes = keys / (time.perf_counter() - start)
        start = time.perf_counter()
        for first in range(0, keys, BATCH):
            assert len(store.get(all_keys[first : first + BATCH])) == len(all_keys[first : first + BATCH])
        looks = keys / (time.perf_counter() - start)
    print(
        f"store: {looks:,.0f} look-ups and {writes:,.0f} writes a second, batches of {BATCH}, {keys:,} responses"
    )


def memory(games: int, folder: Path) -> None:
    names = [f"c{n:02d}" for n in range(15)]  # 105 pairs, 210 games an instruction
    count = games // 210 + 1
    instructions = {
        f"i{n}": Instruction(id=f"i{n}", turns=(Turn(role="user", content=f"Q {n}"),)) for n in range(count)
    }
    fields = {"finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 60}
    responses = {
        (i, c): Response(instruction_id=i, contestant=c, text=f"{i} {c} " + "word " * 60, **fields)
        for i in instructions
        for c in names
    }
    pairings = [Pairing(i, a, b) for i in instructions for a, b in combinations(names, 2)][: games // 2]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    with Store(folder / "games.sqlite") as store:
        judged = play(pairings, instructions, responses, FastJudge(), store)
    write_rows(folder / "games.jsonl", judged.games)
    write_rows(folder / "battles.jsonl", judged.battles)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"games: {judged.paid:,} in {seconds:.0f} s ({judged.paid / seconds:,.0f} a second), "
        f"{peak:.0f} MB at most, {before:.0f} MB before the first"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--games", type=int, default=200_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        speed(given.keys, Path(folder))
        memory(given.games, Path(folder))


if __name__ == "__main__":
    main()
