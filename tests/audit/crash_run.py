"""A run of some thousand games by a slow, deterministic judge: `crash_run.py STORE LOG OUT`; tests kill it.

It says `ready`, begins when a line comes in, and leaves a digest of games and battles, and what it has paid for.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

from arena_learning.core.json_files import canonical
from arena_learning.judge.base import Verdict
from arena_learning.judge.play import Pairing, play_games
from arena_learning.schema.rows import Instruction, Response, Turn
from arena_learning.store.store import Store

INSTRUCTIONS, NAMES, BATCH, PAUSE = 200, ("a", "b", "c", "d", "e"), 20, 0.008  # 200 x 10 pairs x 2 orders
GAMES = INSTRUCTIONS * 10 * 2


class SlowJudge:
    """Writes down every game that it is paid for, as an endpoint's bill would."""

    batch_size = BATCH
    label = "slow"

    def __init__(self, log: Path) -> None:
        self.fingerprint = {"judge": "slow"}
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def score(self, presentations):
        names = [f"{p.instruction.id} {p.first.contestant} {p.second.contestant}\n" for p in presentations]
        os.write(self._log, "".join(names).encode())  # a request is paid for when it is sent
        time.sleep(PAUSE)
        return [self._verdict(p) for p in presentations]

    def _verdict(self, presentation):
        scores = [1 + sum(r.text.encode()) % 10 for r in (presentation.first, presentation.second)]
        return Verdict(float(scores[0]), float(scores[1]), "as the bytes add up", tokens=3, seconds=0.1)

    def close(self):
        os.close(self._log)


def run(store: Path, log: Path) -> tuple[str, int]:
    """Play all games; return a digest of games and battles (thousands of rows would show nothing), and how many were paid."""
    instructions = {
        f"i{n:03d}": Instruction(id=f"i{n:03d}", turns=(Turn(role="user", content=f"Question {n}"),))
        for n in range(INSTRUCTIONS)
    }
    fields = {"finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}
    responses = {
        (i, c): Response(instruction_id=i, contestant=c, text=f"{c} says {i} {hash_of(i + c)}", **fields)
        for i in instructions
        for c in NAMES
    }
    pairs = [Pairing(i, x, y) for i in instructions for x in NAMES for y in NAMES if x < y]
    with Store(store) as memory:
        judged = play_games(pairs, instructions, responses, SlowJudge(log), memory)
    assert len(judged.games) == GAMES
    rows = "".join(canonical(row.model_dump(mode="json")) for row in (*judged.games, *judged.battles))
    return hashlib.sha256(rows.encode()).hexdigest(), judged.judged


def hash_of(text: str) -> int:
    return sum(31**n * byte for n, byte in enumerate(text.encode())) % 9973


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    digest, paid = run(Path(sys.argv[1]), Path(sys.argv[2]))
    Path(sys.argv[3]).write_text(f"{digest} {paid}")
