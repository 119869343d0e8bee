"""A run that asks for answers in a batch: `batch_run.py ADDRESS FOLDER COUNT`; tests kill it."""

from __future__ import annotations

import sys
from pathlib import Path

from arena_learning.arena import Contestant, ask_contestant_for
from arena_learning.engines.openai import BatchOpenAi
from arena_learning.params import Endpoint, Sampling
from arena_learning.schema import Instruction, Turn
from arena_learning.store import Store


def instructions(count: int) -> list[Instruction]:
    return [
        Instruction(id=f"i{n}", turns=(Turn(role="user", content=f"Question {n}?"),)) for n in range(count)
    ]


def main(address: str, folder: Path, count: int) -> None:
    endpoint = Endpoint(base_url=address, batch=True, batch_poll=0.05, timeout=60.0)
    engine = BatchOpenAi("m", endpoint, folder / "batches", where="opponents.x")
    with Store(folder / "store.sqlite") as store:
        asked = ask_contestant_for(Contestant("x", engine, Sampling()), instructions(count), store)
    engine.close()
    print(asked.generated)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
