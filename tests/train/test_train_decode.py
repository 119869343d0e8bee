"""Decoding on a CPU: packed weights and keys that stay where they are change nothing that is sampled."""

from __future__ import annotations

import pytest

from tiny import model_of

pytestmark = pytest.mark.torch

PROMPTS = [[5, 9, 3, 7, 11, 13, 17], [4, 8], [6, 10, 12, 14]]
SETTINGS = {"temperature": 1.0, "end": 2, "pad": 0, "rows": 6, "copies": 2}


@pytest.mark.parametrize(
    "kind", ["Llama", "Qwen2", "GPT2", "Gemma3Text"]
)  # Qwen2's queries and keys have a bias
def test_what_is_decoded_here_is_what_generate_decodes(kind, monkeypatch):
    from arena_learning.train import rollout

    model = model_of(kind, **({"n_embd": 32, "n_layer": 2, "n_head": 4} if kind == "GPT2" else {}))
    numbers = rollout.drawn_numbers(1, 0, 2 * len(PROMPTS), 40)
    here = rollout.answer(model, PROMPTS, numbers, **SETTINGS)
    monkeypatch.setattr(rollout, "decodes_here", lambda model: False)
    assert rollout.answer(model, PROMPTS, numbers, **SETTINGS) == here
    assert max(len(sample.response) for sample in here) > 10


def test_packed_layers_multiply_as_before_and_are_put_back():
    import torch

    from arena_learning.train.decode import packed

    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(24, 70), torch.nn.Linear(70, 9, bias=False))
    rows = torch.randn(5, 3, 24)
    with torch.no_grad():
        plain = layers(rows)
        with packed(layers):
            assert all("forward" in vars(layer) for layer in layers)
            torch.testing.assert_close(layers(rows), plain)
    with pytest.raises(ZeroDivisionError), packed(layers):
        raise ZeroDivisionError
    assert not any("forward" in vars(layer) for layer in layers)
    layers(rows).sum().backward()
    assert layers[0].weight.grad.abs().sum() > 0


def test_layers_that_compute_otherwise_are_not_packed():
    import torch

    from arena_learning.train.decode import packed

    layers = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4, dtype=torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16), packed(layers):
        assert not any("forward" in vars(layer) for layer in layers)
    layers[0].forward = lambda rows: rows  # somebody else's
    with packed(layers):
        assert layers(torch.ones(2, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16
        assert "forward" not in vars(layers[1])
    assert "forward" in vars(layers[0])
    sharded = torch.nn.Linear(4, 4)
    sharded.weight.data.untyped_storage().resize_(0)  # as FSDP leaves weights that are not gathered
    with packed(sharded):
        assert "forward" not in vars(sharded)


def test_keys_with_room_are_those_that_are_copied_at_each_token():
    import torch
    from transformers.cache_utils import DynamicLayer

    from arena_learning.train.decode import ROOM, RoomyLayer

    def states(rows, tokens):
        return torch.randn(rows, 2, tokens, 4), torch.randn(rows, 2, tokens, 4)

    plain = DynamicLayer()
    plain.update(*states(4, 5))
    roomy = RoomyLayer(plain)
    for count, rows in (*((1, 4) for _ in range(ROOM + 3)), (3, 4), (1, 2), (2, 2)):
        if rows < len(plain.keys):
            for each in (plain, roomy):
                each.batch_select_indices(torch.tensor([3, 1]))
        new = states(rows, count)
        assert all(map(torch.equal, plain.update(*new), roomy.update(*new)))
        assert roomy.get_seq_length() == plain.get_seq_length()
