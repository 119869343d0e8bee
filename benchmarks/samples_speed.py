"""Seconds to draw several samples of each instruction with OpenVINO: in one request, and one seed after the other.

    python benchmarks/samples_speed.py models/base [--prompts 12] [--samples 4] [--tokens 192] [--rounds 3]

The two take turns in one process. One request reads an instruction's prompt once for all of its samples. The others are
other samples of the same model, so the tokens a second are what compares. Prompts are those of data/pool.jsonl.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from arena_learning.engines import Completion, Refused

ROOT = Path(__file__).parents[1]


def timed(draw: Callable[[], Sequence[Completion | Refused]]) -> tuple[float, int]:
    """Return the seconds that ``draw`` takes, and the tokens that it generates."""
    began = time.perf_counter()
    answers = draw()
    return time.perf_counter() - began, sum(a.completion_tokens for a in answers if isinstance(a, Completion))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()

    from arena_learning.engines.openvino import OpenVino
    from arena_learning.params import Sampling
    from arena_learning.schema import Instruction, read_rows

    rows = read_rows(ROOT / "data" / "pool.jsonl", Instruction)[: given.prompts]
    conversations, seeds = [row.turns for row in rows], list(range(1, given.samples + 1))
    sampling = Sampling(max_tokens=given.tokens, temperature=1.0)
    with TemporaryDirectory() as exports:
        engine = OpenVino(given.model, Path(exports), exact=False)

        def together() -> list[Completion | Refused]:
            drawn = engine.draw(conversations, sampling, seeds)
            return [one for each in drawn for one in ([each] if isinstance(each, Refused) else each)]

        def apart() -> list[Completion | Refused]:
            each = (sampling.model_copy(update={"seed": seed}) for seed in seeds)
            return [one for own in each for one in engine.respond(conversations, own)]

        engine.respond(conversations[:1], sampling)  # exports and loads the model
        found: dict[str, list[tuple[float, int]]] = {"in one request": [], "one seed after the other": []}
        for _ in range(given.rounds):
            found["in one request"].append(timed(together))
            found["one seed after the other"].append(timed(apart))
        engine.close()
    print(f"{len(rows)} prompts, {given.samples} samples each, at most {given.tokens} tokens")
    for name, runs in found.items():
        seconds = statistics.median(took for took, _ in runs)
        rate = statistics.median(tokens / took for took, tokens in runs)
        print(f"{name}: {seconds:.1f} s, {rate:.0f} tokens a second (medians of {len(runs)})")


if __name__ == "__main__":
    main()
