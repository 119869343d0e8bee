"""Real engines through the store: interrupted and resumed, answers are those of an undisturbed run, greedy and sampled."""

from __future__ import annotations

import importlib.util

import pytest

from arena_learning.arena import Contestant, ask_contestant_for
from arena_learning.params.contestants import Sampling
from arena_learning.schema.rows import Instruction, Turn
from arena_learning.store.store import Store

pytestmark = pytest.mark.torch

# Prompts of other lengths pad each other differently in other batches.
INSTRUCTIONS = [
    Instruction(id=f"i{n}", turns=(Turn(role="user", content=f"Name {n} rivers. " + "Be exact. " * (n % 5)),))
    for n in range(11)
]
GREEDY, SAMPLED = Sampling(max_tokens=24), Sampling(max_tokens=24, temperature=1.0, seed=3)


def transformers(folder, exports):
    from arena_learning.engines.transformers import Transformers

    return Transformers(folder, batch_size=2, device="cpu")  # calls of 4


def openvino(folder, exports):
    from arena_learning.engines.openvino import OpenVino

    return OpenVino(folder, exports, dtype="f16", batch_size=1)  # calls of 4


class Interrupted:
    """The engine, but for its third call: there it is killed."""

    def __init__(self, engine):
        self._engine, self._calls = engine, 0
        self.batch_size, self.batch_exact = engine.batch_size, engine.batch_exact
        self.fingerprint, self.sample_exact = engine.fingerprint, engine.sample_exact

    def respond(self, conversations, sampling):
        self._calls += 1
        if self._calls == 3:
            raise KeyboardInterrupt
        return self._engine.respond(conversations, sampling)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("make", [transformers, openvino])
def test_a_resumed_run_gives_the_answers_of_an_undisturbed_one(make, sampling, tiny_model, tmp_path):
    if make is openvino and not importlib.util.find_spec("openvino_genai"):
        pytest.skip("needs the extra 'laptop'")
    engine = make(tiny_model, tmp_path / "exports")
    assert engine.batch_size == 4
    with Store(tmp_path / "whole.sqlite") as store:
        whole = ask_contestant_for(Contestant("base", engine, sampling), INSTRUCTIONS, store)
    path = tmp_path / "resumed.sqlite"
    with Store(path) as store:
        # One answer was asked for by itself before: it must not change what its batch comes to.
        ask_contestant_for(Contestant("base", engine, sampling), INSTRUCTIONS[5:6], store)
    with Store(path) as store, pytest.raises(KeyboardInterrupt):
        ask_contestant_for(Contestant("base", Interrupted(engine), sampling), INSTRUCTIONS, store)
    with Store(path) as store:
        resumed = ask_contestant_for(Contestant("base", engine, sampling), INSTRUCTIONS, store)
    engine.close()
    assert resumed.responses == whole.responses
    assert 0 < resumed.generated < len(INSTRUCTIONS)
