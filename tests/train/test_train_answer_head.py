"""The output layer on answers' tokens alone: same figures, losses and gradients as TRL's, fewer products."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
utils = pytest.importorskip("trl.trainer.utils")
if not hasattr(utils, "add_fused_lm_head"):
    pytest.skip("this version of TRL has no fused output layer", allow_module_level=True)

from arena_learning.train import answer_head  # noqa: E402

ALONE = SimpleNamespace(autocast=nullcontext)
FIGURES = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


@pytest.fixture(scope="module")
def small() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def prepared(model: Any, temperature: float, own: bool) -> Any:
    model = copy.deepcopy(model)
    utils.add_fused_lm_head(model, temperature=temperature, outputs=FIGURES)
    if own:
        answer_head.answer_tokens_alone(SimpleNamespace(model=model, accelerator=ALONE), temperature)  # type: ignore[arg-type]
    return model


def batch() -> tuple[Any, Any]:
    ids = torch.randint(0, 97, (3, 24), generator=torch.Generator().manual_seed(1))
    labels = ids.clone()
    labels[:, :9] = -100  # the prompt
    labels[1, 15:] = -100  # padding
    return ids, labels


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize(("at_once", "kept"), [(1024, 1024), (5, 1024), (5, 5)])
def test_figures_and_gradients_are_trls(
    small: Any, temperature: float, at_once: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        answer_head, "TOKENS", at_once
    )  # 5: the logits are computed again in the backward pass
    ids, labels = batch()
    found = []
    for own in (False, True):
        model = prepared(small, temperature, own)
        out = model(input_ids=ids, labels=labels, fused_lm_head=True, num_items_in_batch=7)
        (out.loss + (out.log_probs.exp() * torch.arange(23.0)).sum()).backward()
        found.append((out, [parameter.grad for parameter in model.parameters()]))
    (trl, grads), (own_out, own_grads) = found
    for name in (*FIGURES, "loss", "label_mask"):
        torch.testing.assert_close(
            getattr(own_out, name).float(), getattr(trl, name).float(), rtol=1e-4, atol=1e-5, msg=name
        )
    for mine, its in zip(own_grads, grads, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-6)


def test_a_padded_batch_has_trls_figures_and_gradients_without_its_padding(small: Any) -> None:
    ids, labels = batch()
    mask = torch.ones_like(ids)
    mask[0, :4] = mask[1, 15:] = mask[2, 20:] = 0  # as RLOO pads: prompts before, answers behind
    labels[mask == 0] = -100
    found, computed = [], []
    for own in (False, True):
        model = prepared(small, 1.0, own)
        model.model.layers[0].register_forward_pre_hook(lambda _, given: computed.append(given[0].shape))
        out = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
        out.loss.backward()
        found.append((out, [parameter.grad for parameter in model.parameters()]))
    (trl, grads), (own_out, own_grads) = found
    assert computed[0][:2] == (3, 24)
    assert computed[-1][:2] == (1, 64)  # of 55 tokens, and 72 places
    for name in (*FIGURES, "loss"):
        torch.testing.assert_close(
            getattr(own_out, name).float(), getattr(trl, name).float(), rtol=1e-4, atol=1e-5, msg=name
        )
    for mine, its in zip(own_grads, grads, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-6)


def test_the_output_layer_sees_answers_alone(small: Any) -> None:
    ids, labels = batch()
    seen: dict[bool, int] = {}
    for own in (False, True):
        model = prepared(small, 1.0, own)
        if own:
            model.lm_head.register_forward_pre_hook(lambda _, given: seen.update({True: len(given[0])}))
        model(input_ids=ids, labels=labels, fused_lm_head=True)
    assert seen[True] == int((labels[:, 1:] != -100).sum())


def test_a_batch_without_labels_gives_a_loss_of_zero_that_can_be_derived(small: Any) -> None:
    ids, labels = batch()
    model = prepared(small, 1.0, True)
    out = model(input_ids=ids, labels=torch.full_like(labels, -100), fused_lm_head=True)
    out.loss.backward()
    assert out.loss.item() == 0.0


def test_generation_and_plain_calls_are_untouched(small: Any) -> None:
    ids, _ = batch()
    model = prepared(small, 1.0, True).eval()
    plain = copy.deepcopy(small).eval()
    assert torch.equal(model(input_ids=ids).logits, plain(input_ids=ids).logits)
    told = {
        "max_new_tokens": 5,
        "do_sample": False,
        "pad_token_id": 0,
        "attention_mask": torch.ones_like(ids),
    }
    assert torch.equal(model.generate(ids, **told), plain.generate(ids, **told))


def test_a_model_with_logits_of_its_own_keeps_trls_layer(small: Any) -> None:
    model = copy.deepcopy(small)
    model.config.final_logit_softcapping = 30.0
    utils.add_fused_lm_head(model, outputs=FIGURES)
    before = model.forward
    answer_head.answer_tokens_alone(SimpleNamespace(model=model, accelerator=ALONE))  # type: ignore[arg-type]
    assert model.forward is before or model.forward == before


def test_the_reference_is_computed_in_the_same_precision_and_way(
    small: Any, request: pytest.FixtureRequest
) -> None:
    """A model and a reference with the same weights give the same bits, in bf16 too: no drift before the first step."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    ids, labels = batch()
    request.addfinalizer(lambda: AcceleratorState._reset_state(reset_partial_state=True))
    AcceleratorState._reset_state(reset_partial_state=True)  # the precision is the process's
    accelerator = Accelerator(mixed_precision="bf16", cpu=True)
    pair = [prepared(small, 1.0, False) for _ in range(2)]
    reference = accelerator.prepare_model(
        pair[1], evaluation_mode=True
    )  # as TRL does, before the trainer is there
    trainer = SimpleNamespace(model=pair[0], ref_model=reference, accelerator=accelerator)
    answer_head.answer_tokens_alone(trainer)  # type: ignore[arg-type]
    model = accelerator.prepare_model(pair[0])
    ours, its = (
        one(input_ids=ids, labels=labels, fused_lm_head=True).log_probs.detach() for one in (model, reference)
    )
    assert torch.equal(ours, its)
    full = small(input_ids=ids).logits.log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None])[..., 0].detach()
    assert not torch.equal(ours[labels[:, 1:] != -100], full[labels[:, 1:] != -100])  # bf16 it is
