"""One iteration of rounds, as params.yaml holds it."""

from __future__ import annotations

from typing import Any


def one_iteration(sft: float = 1.0, dpo: float = 2.0, ppo: float = 1.0) -> dict[str, dict[str, Any]]:
    """Return sft-i1, dpo-i1 and ppo-i1, linked, with these thresholds; all keys are there, as DVC wants them."""
    chain = [("sft", "base", sft), ("dpo", "sft-i1", dpo), ("ppo", "dpo-i1", ppo)]
    return {
        f"{method}-i1": {
            "index": index,
            "method": method,
            "split": f"d{index + 1}",
            "target": before,
            "init": before,
            "threshold": threshold,
            "adds_to": "none",
            "labels": "none",
        }
        for index, (method, before, threshold) in enumerate(chain)
    }


def table_one(threshold: float = 0.5) -> dict[str, dict[str, Any]]:
    """Return the paper's Table 1, all ten models, written out by hand from the table; one K for all."""
    rows = [
        # name, method, split, target (the competitor), init (trained from), adds_to, labels
        ("sft-i0", "sft", "d0", "none", "base", "none", "expert"),
        ("sft-i1", "sft", "d1", "sft-i0", "base", "sft-i0", "none"),
        ("dpo-i1", "dpo", "d2", "sft-i1", "sft-i1", "none", "none"),
        ("ppo-i1", "ppo", "d3", "dpo-i1", "dpo-i1", "none", "none"),
        ("sft-i2", "sft", "d4", "ppo-i1", "base", "sft-i1", "none"),
        ("dpo-i2", "dpo", "d5", "sft-i2", "sft-i2", "dpo-i1", "none"),
        ("ppo-i2", "ppo", "d6", "dpo-i2", "dpo-i2", "ppo-i1", "none"),
        ("sft-i3", "sft", "d7", "ppo-i2", "base", "sft-i2", "none"),
        ("dpo-i3", "dpo", "d8", "sft-i3", "sft-i3", "dpo-i2", "none"),
        ("ppo-i3", "ppo", "d9", "dpo-i3", "dpo-i3", "ppo-i2", "none"),
    ]
    keys = ("method", "split", "target", "init", "adds_to", "labels")
    return {
        name: {"index": index, **dict(zip(keys, rest, strict=True)), "threshold": threshold}
        for index, (name, *rest) in enumerate(rows)
    }
