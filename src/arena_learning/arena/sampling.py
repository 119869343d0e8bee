"""The target's own samples: with which seeds they are drawn, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arena_learning.params import BattleParams, Params, Sampling
from arena_learning.schema import Response


def sample_samplings(params: Params, count: int) -> list[Sampling]:
    """Return how samples 1 to ``count`` are drawn: each with a seed of its own, which stands in the store's key.

    The answer that battles has the seed of `sampling`, so that no sample repeats it where it is sampled too. A count
    that is raised later adds samples and leaves those that are there.
    """
    battle, own = params.battle, params.sampling
    drawn = {"temperature": battle.sample_temperature, "top_p": battle.sample_top_p}
    return [own.model_copy(update={**drawn, "seed": own.seed + number}) for number in range(1, count + 1)]


def sample_metrics(samples: Sequence[Response], battle: BattleParams) -> dict[str, Any]:
    """Return how samples were drawn, and how many say word for word what an earlier one of their instruction says."""
    given = [(r.instruction_id, r.text) for r in samples if r.finish_reason != "refused"]
    return {
        "per_instruction": battle.samples,
        "temperature": battle.sample_temperature,
        "top_p": battle.sample_top_p,
        "repeated": len(given) - len(set(given)),
    }
