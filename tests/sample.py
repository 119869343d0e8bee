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
