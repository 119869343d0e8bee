"""How fast the store reads and writes, and how much memory many games take.

    python benchmarks/store_speed.py [--keys 100000] [--repeats 3] [--games 50000 --games 200000]

Look-ups and writes are of whole responses in batches of 500, in a store on disk; medians over repeats. The games are
played as the `judge` stage plays them, by the llm judge on an engine that answers at once, all of them new, each with a
rationale of its own, and written to files. Each number of games is a process of its own with the same instructions and
answers (for the largest number); the memory is that process's greatest.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import combinations, islice
from pathlib import Path

from arena_learning.engines.base import Completion, Conversation, Sampling
from arena_learning.judge.llm import LlmJudge
from arena_learning.judge.play import Pairing, portions
from arena_learning.judge.record import record
from arena_learning.judge.template import JudgeTemplate
from arena_learning.rows import Instruction, Response, Turn, rows_file
from arena_learning.store import Store, store_key

BATCH = 500


class FastEngine:
    """Gives a verdict by the prompt's bytes, at once."""

    batch_size = BATCH
    batch_exact = True
    fingerprint = {"engine": "fast", "version": "1"}  # noqa: RUF012

    def respond(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Completion]:
        return [self._answer(c[-1].content) for c in conversations]

    def close(self) -> None:
        """Nothing to give back."""

    def _answer(self, prompt: str) -> Completion:
        number = sum(prompt.encode())
        why = f"{number}: " + "because of that " * 15
        text = f"Score-A: {number % 10 + 1}\nScore-B: {number // 10 % 10 + 1}\nExplanation: {why}"
        return Completion(text, "stop", 300, 60, 0.5)


def speed(keys: int, repeats: int) -> None:
    value = {
        "text": "word " * 60,
        "finish_reason": "stop",
        "prompt_tokens": 50,
        "completion_tokens": 60,
        "seconds": 1.5,
    }
    all_keys = [store_key("response", {"n": n}) for n in range(keys)]
    batches = [all_keys[first : first + BATCH] for first in range(0, keys, BATCH)]
    writes, looks = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "speed.sqlite") as store:
            start = time.perf_counter()
            for batch in batches:
                store.put("response", dict.fromkeys(batch, value))
            writes.append(keys / (time.perf_counter() - start))
            start = time.perf_counter()
            for batch in batches:
                assert len(store.get(batch)) == len(batch)
            looks.append(keys / (time.perf_counter() - start))
    print(
        f"store: {statistics.median(looks):,.0f} look-ups and {statistics.median(writes):,.0f} writes a second, "
        f"batches of {BATCH}, {keys:,} responses, medians of {repeats}"
    )


def memory(games: int, most: int, folder: Path) -> None:
    """Play so many games on instructions and answers for ``most`` games; print what it took."""
    names = [f"c{n:02d}" for n in range(15)]  # 105 pairs, 210 games an instruction
    instructions = {
        f"i{n:04d}": Instruction(id=f"i{n:04d}", turns=(Turn(role="user", content=f"Q {n}"),))
        for n in range(most // 210 + 1)
    }
    fields = {"finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 60}
    responses = {
        (i, c): Response(instruction_id=i, contestant=c, text=f"{i} {c} " + "word " * 60, **fields)
        for i in instructions
        for c in names
    }
    every = (Pairing(i, a, b) for i in instructions for a, b in combinations(names, 2))
    judge = LlmJudge("fast", FastEngine(), JudgeTemplate("pairwise-score", folder), Sampling(), 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    with (
        Store(folder / "games.sqlite") as store,
        rows_file(folder / "games.jsonl") as write_games,
        rows_file(folder / "battles.jsonl") as write_battles,
    ):
        played = portions(islice(every, games // 2), instructions, responses, judge, store)
        recorded = record(played, responses, write_games, write_battles)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert recorded.paid == recorded.health["games"] == games
    print(
        f"games: {games:>7,} in {seconds:.0f} s ({games / seconds:,.0f} a second), "
        f"{peak:.0f} MB at most, {before:.0f} MB before the first",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--games", type=int, action="append", help="may be given again")
    parser.add_argument("--most", type=int, help="(inner) play --games alone, on inputs for so many")
    given = parser.parse_args()
    counts = given.games or [50_000, 200_000]
    if given.most:
        with tempfile.TemporaryDirectory() as folder:
            memory(counts[0], given.most, Path(folder))
        return
    speed(given.keys, given.repeats)
    for games in counts:
        subprocess.run(
            [sys.executable, __file__, "--games", str(games), "--most", str(max(counts))], check=True
        )


if __name__ == "__main__":
    main()
