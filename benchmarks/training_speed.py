"""Training's tokens a second, by precision and rows in a batch, beside what the machine's matrix products allow.

    python benchmarks/training_speed.py MODEL_FOLDER [--rows 1 4 8] [--tokens 160] [--ragged] [--common 0]
        [--precisions fp32 bf16] [--rounds 3] [--json]

Each setting is one step (forward, loss, backward, no optimiser) on rows of the same length, or ``--ragged`` of a half
to one and a half of it, padded to the longest; only the rows' own tokens are counted. The first ``--common`` tokens are
the same in all rows, as those of a prompt in its answers; they count in each row. All settings take turns, and the
median counts. Four kinds of step: "whole" has the output layer and the loss at every token; "answers" has them
in the second half of each row, as this project trains; "trl" is the same by TRL's own layer for this device; "body" is
the model without output layer. The limit is a product of matrices of the model's own sizes: a whole step of N weights
and T tokens is 6 N T operations (the embedding counted once, as the output layer).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

PRECISIONS = ("fp32", "bf16")
KINDS = ("whole", "answers", "trl", "body")


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def autocast(precision: str) -> AbstractContextManager[Any]:
    import torch

    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")


def product_rate(rows: int, width: int, inner: int, precision: str) -> float:
    """Return 10^9 operations a second of a product of (rows, width) and (width, inner)."""
    import torch

    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = torch.randn(rows, width, dtype=kind), torch.randn(width, inner, dtype=kind)
    times = [seconds(lambda: left @ right) for _ in range(60)]
    return 2 * rows * width * inner / statistics.median(times[10:]) / 1e9


def with_both_heads(model: Any) -> None:
    """Give the model TRL's fused output layer as ``trl_forward`` and this project's as ``answers_forward``."""
    from contextlib import nullcontext
    from types import SimpleNamespace

    from trl.trainer.utils import add_fused_lm_head

    from arena_learning.train.answer_head import answer_tokens_alone

    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    model.trl_forward = model.forward
    answer_tokens_alone(SimpleNamespace(model=model, accelerator=SimpleNamespace(autocast=nullcontext)))  # type: ignore[arg-type]
    model.answers_forward = model.forward


def lengths(rows: int, tokens: int, ragged: bool) -> list[int]:
    """Return the rows' lengths, whose mean is ``tokens``."""
    spread = [tokens // 2 + round(tokens * place / max(rows - 1, 1)) for place in range(rows)]
    return spread if ragged and rows > 1 else [tokens] * rows


def step(model: Any, ids: Any, mask: Any, precision: str, kind: str) -> None:
    import torch

    labels = ids.masked_fill(mask == 0, -100)
    labels[mask.cumsum(1) <= mask.sum(1, keepdim=True) // 2] = -100
    with autocast(precision):
        if kind in ("answers", "trl"):
            forward = model.answers_forward if kind == "answers" else model.trl_forward
            loss = -forward(
                input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True
            ).log_probs.mean()
        else:
            hidden = model.model(input_ids=ids, attention_mask=mask).last_hidden_state
            logits = model.lm_head(hidden) if kind == "whole" else None
    if kind == "body":
        loss = hidden.float().square().mean()
    elif kind == "whole":
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())
    loss.backward()
    model.zero_grad(set_to_none=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--ragged", action="store_true")
    parser.add_argument("--common", type=int, default=0, help="first tokens that all rows have in common")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()

    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32, local_files_only=True)
    model.train()
    with_both_heads(model)
    config = model.config
    weights = sum(parameter.numel() for parameter in model.parameters())
    settings = [(r, p, k) for r in given.rows for p in given.precisions for k in KINDS]
    sizes = {rows: lengths(rows, given.tokens, given.ragged) for rows in given.rows}
    ids = {rows: torch.randint(0, config.vocab_size, (rows, max(sizes[rows]))) for rows in given.rows}
    for rows in given.rows:
        ids[rows][:, : given.common] = ids[rows][0, : given.common]
    masks = {r: (torch.arange(max(sizes[r])) < torch.tensor(sizes[r])[:, None]).long() for r in given.rows}
    taken: dict[tuple[int, str, str], list[float]] = {setting: [] for setting in settings}
    for number in range(given.rounds + 1):
        for rows, precision, kind in settings:
            once = seconds(lambda r=rows, p=precision, k=kind: step(model, ids[r], masks[r], p, k))  # type: ignore[misc]
            if number:  # the first round warms up
                taken[rows, precision, kind].append(once)
    limits = {
        p: product_rate(1024, config.hidden_size, config.intermediate_size, p) for p in given.precisions
    }
    found = []
    for rows, precision, kind in settings:
        rate = sum(sizes[rows]) / statistics.median(taken[rows, precision, kind])
        share = 6 * weights * rate / 1e9 / limits[precision] if kind == "whole" else None
        found.append({"rows": rows, "precision": precision, "kind": kind, "rate": rate, "share": share})
    if given.json:
        print(json.dumps({"limits": limits, "settings": found}, indent=2))
        return
    print(
        f"{weights / 1e6:.0f} million weights, rows of {given.tokens} tokens, {given.common} of them in common, "
        f"{torch.get_num_threads()} threads"
    )
    print("limit: " + ", ".join(f"{rate:.0f} GFLOP/s in {name}" for name, rate in limits.items()))
    for one in found:
        share = f", {one['share']:.0%} of the limit" if one["share"] else ""
        print(
            f"{one['rows']} rows, {one['precision']}, {one['kind']}: {one['rate']:.0f} tokens a second{share}"
        )


if __name__ == "__main__":
    main()
