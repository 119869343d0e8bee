"""How fast the store reads and writes, and how much memory many games take.

    python benchmarks/store_speed.py [--keys 100000] [--repeats 3] [--words 60] [--games 50000 --games 200000]
    python benchmarks/store_speed.py --against OTHER/src --games 0

Look-ups and writes are of whole responses in batches of 500, in a store on disk, each round in a process of its own;
medians over repeats. With --against another version's sources take every second turn, and the ratios are medians of
those within a turn: what else the machine does meets both. Then a store in the layout of version 0.1.0 is opened.

The games are played as the `judge` stage plays them, by the llm judge on an engine that answers at once, all of them
new, each with a rationale of its own, and written to files. Each number of games is a process of its own with the same
instructions and answers (for the largest number); the memory is that process's greatest.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import combinations, islice
from pathlib import Path

from arena_learning.engines.base import Completion, Conversation
from arena_learning.judge.llm import LlmJudge
from arena_learning.judge.play import Pairing, play_in_portions
from arena_learning.judge.template import JudgeTemplate
from arena_learning.params.contestants import Sampling
from arena_learning.schema.row_files import rows_file
from arena_learning.schema.rows import Instruction, Response, Turn
from arena_learning.store.store import Store, store_key

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


def response(words: int) -> dict[str, object]:
    counts = {"prompt_tokens": 50, "completion_tokens": words, "seconds": 1.5}
    return {"text": "word " * words, "finish_reason": "stop", **counts}


def once(keys: int, words: int) -> None:
    """Write and look up so many responses; print what a second does, and the file's size, as JSON."""
    value = response(words)
    all_keys = [store_key("response", {"n": n}) for n in range(keys)]
    batches = [all_keys[first : first + BATCH] for first in range(0, keys, BATCH)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speed.sqlite"
        with Store(path) as store:
            start = time.perf_counter()
            for batch in batches:
                store.put("response", dict.fromkeys(batch, value))
            writes = keys / (time.perf_counter() - start)
        with Store(path) as store:
            start = time.perf_counter()
            for batch in batches:
                assert len(store.get(batch)) == len(batch)
            looks = keys / (time.perf_counter() - start)
        print(json.dumps([writes, looks, path.stat().st_size / 1e6]))


def speed(keys: int, repeats: int, words: int, against: str) -> None:
    """Print what a second does, in turns with the version whose sources are at ``against``."""
    sources = ["", against] if against else [""]
    rounds: dict[str, list[list[float]]] = {source: [] for source in sources}
    for turn in range(repeats):
        for source in sources[:: 1 if turn % 2 else -1]:
            command = [sys.executable, __file__, "--once", "--keys", str(keys), "--words", str(words)]
            environment = {**os.environ, **({"PYTHONPATH": source} if source else {})}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            rounds[source].append(json.loads(done.stdout))
    print(f"store: {keys:,} responses of {words} words, batches of {BATCH}, medians of {repeats}")
    for source in sources:
        writes, looks, size = (statistics.median(column) for column in zip(*rounds[source], strict=True))
        print(
            f"  {writes:>9,.0f} writes {looks:>9,.0f} look-ups a second {size:>6.0f} MB  {source or 'this version'}"
        )
    if against:
        pairs = list(zip(rounds[""], rounds[against], strict=True))
        ratios = [statistics.median(one[n] / two[n] for one, two in pairs) for n in range(3)]
        print("  {:>8.2f}x writes {:>8.2f}x look-ups          {:>6.2f}x MB".format(*ratios), flush=True)


def renewal(keys: int, words: int) -> None:
    """Print what it takes to lay a store of version 0.1.0 out anew."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "old.sqlite"
        db = sqlite3.connect(path)
        db.execute("PRAGMA cache_size=-500000")
        db.execute(
            "CREATE TABLE memory (key BLOB PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, "
            "created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) WITHOUT ROWID"
        )
        value = json.dumps(response(words))
        rows = ((store_key("response", {"n": n}), "response", value) for n in range(keys))
        db.executemany("INSERT INTO memory (key, kind, value) VALUES (?, ?, ?)", rows)
        db.commit()
        db.close()
        before, start = path.stat().st_size / 1e6, time.perf_counter()
        Store(path).close()
        seconds, after = time.perf_counter() - start, path.stat().st_size / 1e6
        print(
            f"an old store of {keys:,} laid out anew: {seconds:.1f} s, {before:.0f} MB to {after:.0f} MB",
            flush=True,
        )


def peak_memory() -> float:
    """Return this process's greatest memory in MB; ru_maxrss would begin with that of the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


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
    before = peak_memory()
    start = time.perf_counter()
    with (
        Store(folder / "games.sqlite") as store,
        rows_file(folder / "games.jsonl") as write_games,
        rows_file(folder / "battles.jsonl") as write_battles,
    ):
        played = play_in_portions(islice(every, games // 2), instructions, responses, judge, store)
        recorded = write_games(played, responses, write_games, write_battles)
    seconds = time.perf_counter() - start
    peak = peak_memory()
    assert recorded.judged == recorded.health["games"] == games
    print(
        f"games: {games:>7,} in {seconds:.0f} s ({games / seconds:,.0f} a second), "
        f"{peak:.0f} MB at most, {before:.0f} MB before the first",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--words", type=int, default=60, help="in a response")
    parser.add_argument("--against", default="", help="the sources of another version")
    parser.add_argument("--games", type=int, action="append", help="may be given again; 0 for none")
    parser.add_argument("--once", action="store_true", help="(inner) one round of writes and look-ups")
    parser.add_argument("--most", type=int, help="(inner) play --games alone, on inputs for so many")
    given = parser.parse_args()
    counts = given.games or [50_000, 200_000]
    if given.once:
        once(given.keys, given.words)
        return
    if given.most:
        with tempfile.TemporaryDirectory() as folder:
            memory(counts[0], given.most, Path(folder))
        return
    speed(given.keys, given.repeats, given.words, given.against)
    renewal(given.keys, given.words)
    for games in filter(None, counts):
        subprocess.run(
            [sys.executable, __file__, "--games", str(games), "--most", str(max(counts))], check=True
        )


if __name__ == "__main__":
    main()
