"""States of frozen layers that are kept: a step learns what it would if they were computed again."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from arena_learning.params import Footprint, Train  # noqa: E402
from arena_learning.train import frozen_states, train_round  # noqa: E402
from arena_learning.train.freeze import freeze_first_layers, frozen_first_layers  # noqa: E402
from arena_learning.train.row_attention import rows_apart  # noqa: E402
from tiny import build_tiny_model, model_of, write_preferences, write_sft  # noqa: E402

ROWS = [list(range(3, 30)), [*range(3, 18), 40, 41, 42], [50, 51, 52, 53]]  # the first two begin alike
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("Llama", {}),
    ("Qwen3", {"tie_word_embeddings": True}),
    ("Phi3", {}),
    ("GPTNeoX", {}),
    ("Gemma3Text", {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"] * 2}),
    ("OPT", {"ffn_dim": 64, "word_embed_proj_dim": 32, "dropout": 0.0}),
]


def half_frozen(kind: str, **given: Any) -> Any:
    model = model_of(kind, num_hidden_layers=4, **given)
    assert rows_apart(model)
    freeze_first_layers(model, Footprint(frozen_layers=0.5))
    return model


def batch(rows: list[list[int]]) -> tuple[Any, Any]:
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    return ids, torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])


@pytest.mark.parametrize(("kind", "given"), KINDS, ids=[kind for kind, _ in KINDS])
def test_gradients_from_kept_states_are_those_of_a_whole_pass(kind, given):
    model = half_frozen(kind, **given)
    states = frozen_states.FrozenStates(frozen_first_layers(model))
    found = []
    for kept in (False, True):
        if kept:
            assert frozen_states._changes_nothing(model, states)
            states.learn(model, ROWS)
            model.frozen_states = states
        hidden = frozen_states.hidden_states(model, *batch([ROWS[2], ROWS[0], ROWS[1]]))
        hidden.square().mean().backward()
        gradients = {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}
        model.zero_grad()
        found.append((hidden.detach(), gradients))
    assert found[0][1]
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_frozen_layers_compute_nothing_for_rows_that_are_known_and_everything_for_others():
    model = half_frozen("Llama")
    states = frozen_states.FrozenStates(frozen_first_layers(model))
    states.learn(model, ROWS)
    model.frozen_states = states
    calls = []
    for layer in states.layers:
        layer.mlp.register_forward_hook(lambda *_: calls.append(1))
    frozen_states.hidden_states(model, *batch(ROWS[:2]))
    assert not calls
    mixed = batch([ROWS[0], [7, 8, 9]])
    other = frozen_states.hidden_states(model, *mixed)
    assert len(calls) == 2
    assert not any("forward" in vars(layer) for layer in states.layers)
    del model.frozen_states
    torch.testing.assert_close(other, frozen_states.hidden_states(model, *mixed))


def test_layers_that_drop_at_random_or_learn_are_not_left_out():
    model = half_frozen("OPT", ffn_dim=64, word_embed_proj_dim=32, dropout=0.5)
    assert not frozen_states._changes_nothing(model, frozen_states.FrozenStates(frozen_first_layers(model)))
    assert not frozen_first_layers(model_of("Llama", num_hidden_layers=4))
    strange = half_frozen("Llama")
    strange.config.num_hidden_layers = 7
    assert not frozen_first_layers(strange)
    model = half_frozen("Llama")
    model.get_input_embeddings().weight.requires_grad_(True)
    assert not frozen_first_layers(model)


@pytest.fixture(scope="module")
def lively(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("lively") / "base", tied=False)


@pytest.mark.parametrize(("method", "epochs"), [("sft", 1), ("sft", 3), ("dpo", 2)])
def test_a_training_from_kept_states_ends_as_one_that_computes_them(
    lively, tmp_path, monkeypatch, method, epochs
):
    from safetensors.torch import load_file

    facts = [
        ("Name a colour.", "The colour is blue."),
        ("Name a river.", "The Danube is a river."),
        ("Hi", "Ho"),
    ]
    learnt = []
    monkeypatch.setattr(
        frozen_states.FrozenStates,
        "learn",
        lambda *given, of=frozen_states.FrozenStates.learn: learnt.append(of(*given)),
    )

    def run(out):
        settings = {"learning_rate": 1e-3, "batch_size": 2, "device_batch_size": 2, "max_length": 128}
        settings |= {"frozen_layers": 0.5, "epochs": epochs}
        report = train_round(
            method,
            init=lively,
            out=tmp_path / out,
            sft=write_sft(tmp_path / "sft.jsonl", facts),
            preferences=write_preferences(tmp_path / "pairs.jsonl", [(*f, "I do not know.") for f in facts]),
            params=Train.model_validate({"device": "cpu", method: settings}),
            seed=1,
            checkpoints=tmp_path / f"checkpoints-{out}",
        )
        return [point["loss"] for point in report.curve()], load_file(tmp_path / out / "model.safetensors")

    kept = run("kept")
    assert bool(learnt) == (epochs > 1)
    monkeypatch.setattr(frozen_states, "MOST_BYTES", 100)
    learnt.clear()
    computed = run("computed")
    assert not learnt
    torch.testing.assert_close(kept, computed, rtol=1e-4, atol=1e-5)
