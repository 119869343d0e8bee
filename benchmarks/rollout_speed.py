"""Seconds to sample a step's answers on a CPU: here, and by transformers' `generate`, in turn.

    python benchmarks/rollout_speed.py models/base [--prompts 8] [--copies 6] [--tokens 96] [--rounds 3]

Both sample the same model with the same numbers in fp32; last bits differ, so some answers do, too. `generate` gets
each prompt's keys and values for its copies at once, as here, and computes answers that have ended until the last one
ends. The limit is the machine's product of two matrices of 2,048 rows, measured in the same run; "of it" counts two
operations for each weight and sampled token, and nothing for prompts and attention. Prompts are those of
data/pool.jsonl.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).parents[1]


def product_speed() -> float:
    """Return the operations a second of a product of two matrices of 2,048 rows in fp32."""
    import torch

    one, other = torch.randn(2, 2048, 2048)
    seconds = []
    for _ in range(12):
        began = time.perf_counter()
        one @ other
        seconds.append(time.perf_counter() - began)
    return 2 * 2048**3 / statistics.median(seconds[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--copies", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()

    from transformers import AutoModelForCausalLM

    from arena_learning.schema import Instruction, read_rows
    from arena_learning.train import rollout
    from arena_learning.train.encode import Encoder
    from arena_learning.train.load import load_start

    start = load_start(given.model, False)
    model = AutoModelForCausalLM.from_pretrained(given.model, dtype="float32", local_files_only=True).eval()
    weights = sum(parameter.numel() for parameter in model.parameters())
    encoder = Encoder(start.form)
    rows = read_rows(ROOT / "data" / "pool.jsonl", Instruction)[: given.prompts]
    prompts = [ids for row in rows if (ids := encoder.prompt(row.turns))]
    numbers = rollout.drawn_numbers(1, 0, len(prompts) * given.copies, given.tokens)

    def sample() -> tuple[float, int]:
        began = time.perf_counter()
        samples = rollout.answer(
            model,
            prompts,
            numbers,
            temperature=1.0,
            end=start.end_of_turn,
            pad=start.pad,
            rows=len(prompts) * given.copies,
            copies=given.copies,
        )
        return time.perf_counter() - began, sum(len(sample.response) for sample in samples)

    found: dict[str, list[tuple[float, int]]] = {"here": [], "generate": []}
    for _ in range(given.rounds):
        found["here"].append(sample())
        with patch.object(rollout, "decodes_here", lambda *_: False):
            found["generate"].append(sample())
    limit = product_speed()
    print(f"{len(prompts)} prompts, {given.copies} answers each; limit {limit / 1e9:.0f} GFLOP/s in fp32")
    for name, runs in found.items():
        seconds, tokens = statistics.median(run[0] for run in runs), runs[0][1]
        share = 2 * weights * tokens / seconds / limit
        print(
            f"{name:9} {seconds:6.1f} s ({', '.join(f'{run[0]:.1f}' for run in runs)}), {tokens} tokens,"
            f" {tokens / seconds:.0f} a second, {share:.2f} of it"
        )


if __name__ == "__main__":
    main()
