"""The target's own samples: with which seeds they are drawn, which of them together, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arena_learning.arena.stored_answer import Contestant, answer_key
from arena_learning.engines import DrawsSamples, is_exact
from arena_learning.params import BattleParams, Params, Sampling
from arena_learning.schema import Instruction, Response
from arena_learning.store import Store


def sample_samplings(params: Params, count: int) -> list[Sampling]:
    """Return how samples 1 to ``count`` are drawn: each with a seed of its own, which stands in the store's key.

    The answer that battles has the seed of `sampling`, so that no sample repeats it where it is sampled too. A count
    that is raised later adds samples and leaves those that are there.
    """
    battle, own = params.battle, params.sampling
    drawn = {"temperature": battle.sample_temperature, "top_p": battle.sample_top_p}
    return [own.model_copy(update={**drawn, "seed": own.seed + number}) for number in range(1, count + 1)]


def drawn_together(
    samples: Sequence[Contestant], instructions: Sequence[Instruction], store: Store
) -> list[list[Contestant]]:
    """Return samples in groups, each of which is drawn in one request (`engines.DrawsSamples`) if the engine can.

    Which samples are drawn together decides what is drawn, as a batch does. What the store holds whole is left out:
    so a number that is raised later asks for the new samples alone, and a stage that was stopped goes on with the ones
    that it began with.

    Args:
        samples: one contestant, which differs in ``sample`` and in the seed of its sampling alone.
        instructions: what is answered.
        store: holds the answers.
    """
    if not samples or not _draws(samples[0]):
        return [[one] for one in samples]
    whole: list[list[Contestant]] = []
    missing: list[Contestant] = []
    for one in samples:
        keys = {answer_key(one, instruction) for instruction in instructions}
        if store.holds(list(keys)) == keys:
            whole.append([one])
        else:
            missing.append(one)
    return [*whole, missing] if missing else whole


def _draws(contestant: Contestant) -> bool:
    engine, sampling = contestant.engine, contestant.sampling
    return isinstance(engine, DrawsSamples) and not is_exact(engine, sampling) and sampling.temperature > 0


def sample_metrics(samples: Sequence[Response], battle: BattleParams) -> dict[str, Any]:
    """Return how samples were drawn, and how many say word for word what an earlier one of their instruction says."""
    given = [(r.instruction_id, r.text) for r in samples if r.finish_reason != "refused"]
    return {
        "per_instruction": battle.samples,
        "temperature": battle.sample_temperature,
        "top_p": battle.sample_top_p,
        "repeated": len(given) - len(set(given)),
    }
