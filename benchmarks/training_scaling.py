"""Tokens a second of one training step: two processes of one thread each against one process of two threads.

    python benchmarks/training_scaling.py --model models/base [--rows 4] [--tokens 128] [--rounds 4] [--repeats 2]

All layouts train on the same rows. A step is forward, loss, backward and AdamW; the processes share its rows and add up
their gradients (DDP, gloo), and each of them updates all weights. The layouts take turns, each in processes of its own;
the first step of each turn warms up, and the median of the others counts. One process of one thread is there to
compare. On an idle machine it takes about three minutes for SmolLM2-135M on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple


class Layout(NamedTuple):
    """How many processes share a step, and the threads of each."""

    processes: int
    threads: int


LAYOUTS = (Layout(1, 1), Layout(1, 2), Layout(2, 1))


class Taken(NamedTuple):
    """Seconds of each step: whole, and its optimiser alone."""

    step: list[float]
    optimiser: list[float]


def train(given: argparse.Namespace) -> Taken:
    """Take the steps in this process, which may be one of several."""
    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel
    from transformers import AutoModelForCausalLM

    number, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32, local_files_only=True)
    plain.train()
    ids = torch.randint(0, plain.config.vocab_size, (given.rows, given.tokens))[rank::number]
    model = plain
    if number > 1:
        distributed.init_process_group("gloo")
        model = DistributedDataParallel(plain)
    adam = torch.optim.AdamW(plain.parameters(), lr=1e-6, fused=True)
    taken = Taken([], [])
    for step in range(given.rounds + 1):
        if number > 1:
            distributed.barrier()
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=given.precision == "bf16"):
            logits = model(input_ids=ids, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())
        loss.backward()
        passed = time.perf_counter()
        adam.step()
        ended = time.perf_counter()
        adam.zero_grad(set_to_none=True)
        if step:
            taken.step.append(ended - began)
            taken.optimiser.append(ended - passed)
    if number > 1:
        distributed.destroy_process_group()
    return taken


def run(layout: Layout, given: argparse.Namespace) -> Taken:
    """Take the steps of a layout in processes of its own."""
    start = [sys.executable]
    if layout.processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(layout.processes)]
    options = ("model", "rows", "tokens", "rounds", "precision")
    told = [word for name in options for word in (f"--{name}", str(getattr(given, name)))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(layout.threads)}
    done = subprocess.run(
        [*start, __file__, "--worker", *told], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        sys.exit(f"{layout}: {done.stderr[-3000:]}")
    line = next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{"))
    return Taken(**json.loads(line))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=4, help="rows of a step, of all processes together")
    parser.add_argument("--tokens", type=int, default=128, help="tokens of a row")
    parser.add_argument("--rounds", type=int, default=4, help="steps of a turn that count")
    parser.add_argument("--repeats", type=int, default=2, help="turns of each layout")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        taken = train(given)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(taken._asdict()), flush=True)
        return
    found = {layout: Taken([], []) for layout in LAYOUTS}
    for _ in range(given.repeats):
        for layout in LAYOUTS:
            once = run(layout, given)
            found[layout].step.extend(once.step)
            found[layout].optimiser.extend(once.optimiser)
    rates = {}
    for layout, taken in found.items():
        step, optimiser = statistics.median(taken.step), statistics.median(taken.optimiser)
        rates[layout] = given.rows * given.tokens / step
        if not given.json:
            print(
                f"{layout.processes} processes x {layout.threads} threads: {rates[layout]:7.1f} tokens a second, "
                f"a step {step:.2f} s ({min(taken.step):.2f} to {max(taken.step):.2f}), optimiser {optimiser:.2f} s"
            )
    if given.json:
        print(json.dumps({f"{x.processes}x{x.threads}": found[x]._asdict() for x in LAYOUTS}, indent=2))
        return
    one, two = Layout(1, 2), Layout(2, 1)
    print(f"two processes of one thread: {rates[two] / rates[one]:.2f} of one process of two threads")


if __name__ == "__main__":
    main()
