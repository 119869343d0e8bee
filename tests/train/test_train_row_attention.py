"""Rows end to end: each has the hidden states that it has alone, whatever stands beside it."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from arena_learning.train.row_attention import Layout, _attend, end_to_end, lay_end_to_end, rows_apart  # noqa: E402
from tiny import model_of  # noqa: E402


def padded(lengths: list[int], left: list[int]) -> tuple[Any, Any]:
    """Return token ids and mask of rows with ``left`` tokens of padding before them, and more behind."""
    width = max(map(sum, zip(lengths, left, strict=True))) + 2
    ids = torch.randint(1, 97, (len(lengths), width), generator=torch.Generator().manual_seed(1))
    places = torch.arange(width)
    begin, length = torch.tensor(left)[:, None], torch.tensor(lengths)[:, None]
    mask = ((places >= begin) & (places < begin + length)).long()
    return ids * mask, mask


KNOWN = [
    ("Llama", {}),
    ("Qwen2", {}),
    ("Qwen3", {}),
    ("Mistral", {"sliding_window": 5}),
    ("Gemma3Text", {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}),
    ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    ("Granite", {}),
    ("Phi3", {}),
]


@pytest.mark.parametrize(("kind", "given"), KNOWN, ids=[kind for kind, _ in KNOWN])
def test_each_row_has_the_states_that_it_has_alone(kind: str, given: dict[str, Any]) -> None:
    model = model_of(kind, **given)
    ids, mask = padded([12, 3, 17, 1], [0, 4, 2, 0])
    rows = [row[own.bool()] for row, own in zip(ids, mask, strict=True)]
    alone = torch.cat([model.base_model(input_ids=row[None]).last_hidden_state[0] for row in rows])
    assert rows_apart(model)
    torch.testing.assert_close(end_to_end(model, ids, mask), alone, rtol=1e-4, atol=1e-5)


# Rows that begin alike: with one of them, with a part of it, with one that has a beginning itself, with all of one.
SYSTEM, QUESTION = list(range(1, 11)), list(range(20, 32))
ALIKE = [
    [*SYSTEM, *QUESTION, 40, 41, 42],
    [*SYSTEM, 50, 51, 52, 53],
    [*SYSTEM, *QUESTION, 40, 60],
    [*SYSTEM, *QUESTION, 40, 60, 61],
    [90, 91, 92],
    [*SYSTEM, *QUESTION, 40, 60],
]


def test_a_beginning_stands_in_the_sequence_once() -> None:
    laid = lay_end_to_end(ALIKE)
    assert laid.sizes == [25, 4, 1, 1, 3, 0]
    assert laid.parts[1] == [(0, 10), (1, 4)]
    assert laid.parts[3] == [(0, 23), (2, 1), (3, 1)]
    assert laid.parts[5] == [(0, 23), (2, 1)]
    sequence = [
        token for row, size in zip(ALIKE, laid.sizes, strict=True) for token in row[len(row) - size :]
    ]
    assert [sequence[place] for place in laid.places()] == [token for row in ALIKE for token in row]


@pytest.mark.parametrize("number", range(20))
def test_any_rows_are_found_again_in_their_sequence(number: int) -> None:
    drawn = torch.Generator().manual_seed(number)

    def below(most: int) -> int:
        return int(torch.randint(most, (), generator=drawn))

    rows: list[list[int]] = []
    for _ in range(12):
        begin = rows[below(len(rows))] if rows and below(4) else []
        rows.append([*begin[: below(len(begin) + 1)], *(below(3) for _ in range(below(15)))])
    laid = lay_end_to_end(rows)
    sequence = [token for row, size in zip(rows, laid.sizes, strict=True) for token in row[len(row) - size :]]
    assert [sequence[place] for place in laid.places()] == [token for row in rows for token in row]


@pytest.mark.parametrize(("kind", "given"), KNOWN, ids=[kind for kind, _ in KNOWN])
def test_rows_that_begin_alike_have_the_states_and_gradients_of_rows_alone(
    kind: str, given: dict[str, Any]
) -> None:
    model = model_of(kind, **given)
    rows = [torch.tensor(row) % 97 for row in ALIKE]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)

    def gradients(hidden: Any) -> list[Any]:
        weights = [weight for weight in model.base_model.parameters() if weight.requires_grad]
        # A weight of its own for each state, so that a state in another one's place changes the gradient.
        values = (hidden * torch.linspace(0.5, 1.5, hidden.numel()).view_as(hidden)).sum()
        return list(torch.autograd.grad(values, weights, allow_unused=True))

    alone = torch.cat([model.base_model(input_ids=row[None]).last_hidden_state[0] for row in rows])
    wanted = gradients(alone)
    assert rows_apart(model)
    hidden = end_to_end(model, ids, mask)
    torch.testing.assert_close(hidden, alone, rtol=1e-4, atol=1e-5)
    for found, one in zip(gradients(hidden), wanted, strict=True):
        torch.testing.assert_close(found, one, rtol=1e-3, atol=1e-4)


def test_the_tokens_of_another_row_change_nothing() -> None:
    model = model_of("Llama")
    assert rows_apart(model)
    ids, mask = padded([12, 9, 17], [0, 0, 0])
    before = end_to_end(model, ids, mask)
    ids[1, :9] = ids[1, :9].flip(0) % 96 + 1
    after = end_to_end(model, ids, mask)
    assert torch.equal(after[:12], before[:12])
    assert torch.equal(after[21:], before[21:])
    assert not torch.allclose(after[12:21], before[12:21])


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("Lfm2", {"layer_types": ["conv", "full_attention"]}),  # a convolution runs over the rows' bounds
        ("FalconH1", {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_state": 8, "mamba_d_head": 8}),
    ],
)
def test_a_model_that_carries_more_than_attention_keeps_its_padding(kind: str, given: dict[str, Any]) -> None:
    model = model_of(kind, **given)
    assert not rows_apart(model)
    assert model.config._attn_implementation == "sdpa"


def test_other_attention_is_left_alone() -> None:
    model = model_of("Llama")
    model.set_attn_implementation("eager")
    assert not rows_apart(model)


@pytest.mark.parametrize("told", [{"softcap": 50.0}, {"s_aux": torch.zeros(2)}])
def test_an_attention_that_is_told_more_is_refused(told: dict[str, Any]) -> None:
    model = model_of("Llama")
    query = torch.randn(1, 4, 6, 8)
    layer, laid = model.model.layers[0].self_attn, Layout([2, 4], [[(0, 2)], [(1, 4)]])
    found, _ = _attend(layer, query, query, query, None, end_to_end_layout=laid)
    assert found.shape == (1, 6, 4, 8)
    with pytest.raises(NotImplementedError, match="do not know"):
        _attend(layer, query, query, query, None, end_to_end_layout=laid, **told)


def test_generation_and_padded_calls_are_those_of_sdpa() -> None:
    ids, mask = padded([12, 9, 17], [5, 8, 0])
    model = model_of("Llama")
    told = {"attention_mask": mask, "max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    before = model(input_ids=ids, attention_mask=mask).logits, model.generate(ids, **told)
    assert rows_apart(model)
    after = model(input_ids=ids, attention_mask=mask).logits, model.generate(ids, **told)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
