"""What a round asks of its contestants, and how much of it the store has: for the stage, and for a plan before it."""

from __future__ import annotations

from collections.abc import Sequence

from arena_learning.arena.sampling import sample_samplings
from arena_learning.arena.stored_answer import Contestant, answer_keys
from arena_learning.core import Paths
from arena_learning.params import NONE, Params, Sampling
from arena_learning.schema import Instruction
from arena_learning.store import Store


def planned_samplings(name: str, params: Params) -> dict[str, list[Sampling]]:
    """Return who answers a round's split, and how: each contestant's answer that battles, then the target's samples.

    In a round without a target, only the contestant whose answers become the labels is asked.

    Example:
        >>> from pathlib import Path
        >>> from arena_learning.params import load_params
        >>> planned = planned_samplings("dpo-i1", load_params(Path("profiles/laptop.yaml")))
        >>> {contestant: len(samplings) for contestant, samplings in planned.items()}
        {'sft-i1': 5, 'expert': 1, 'plain': 1}
    """
    this = params.rounds[name]
    if this.target != NONE:
        names = [this.target, *params.opponents_of(name)]
    else:
        names = [] if this.labels == NONE else [this.labels]
    samples = sample_samplings(params, params.samples_of(name))
    return {
        one: [sampling_of(one, params), *(samples if one == this.target else [])]
        for one in dict.fromkeys(names)
    }


def sampling_of(contestant: str, params: Params) -> Sampling:
    """Return how a contestant's answers are sampled."""
    opponent = params.opponents.get(contestant)
    return (opponent.sampling if opponent else None) or params.sampling


def is_remote(contestant: str, params: Params) -> bool:
    """Whether a contestant is behind an endpoint, so that it is asked at the same time as the others of a round."""
    opponent = params.opponents.get(contestant)
    return opponent is not None and opponent.engine == "openai"


def count_stored(
    contestant: str,
    samplings: Sequence[Sampling],
    instructions: Sequence[Instruction],
    params: Params,
    paths: Paths,
    store: Store,
) -> int:
    """Return how many of a contestant's answers, one to each instruction under each sampling, the store has.

    Raises:
        ArenaError: its engine cannot be opened, as that of a model that is not trained yet.
    """
    from arena_learning.engines import open_engine

    engine = open_engine(contestant, params, paths, instructions)
    try:
        found = 0
        for sampling in samplings:
            keys = answer_keys(Contestant(contestant, engine, sampling), instructions)
            held = store.holds([key for each in keys for key in each])
            found += sum(any(key in held for key in each) for each in keys)
        return found
    finally:
        engine.close()
