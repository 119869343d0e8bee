"""Batches of rows of similar length."""

from __future__ import annotations

import numpy as np
import pytest

from arena_learning.train.arguments import TrainingPlan
from arena_learning.train.length_batches import CHUNK, LengthBatches, batch_by_length

pytestmark = pytest.mark.torch


def order(lengths, step, seed=1, epoch=0):
    batches = LengthBatches(lengths, step, seed)
    batches.set_epoch(epoch)
    return list(batches)


@pytest.mark.parametrize("rows", [1, 3, 8, 9, 31, 32, 33, 70])
def test_each_row_comes_once_and_an_incomplete_step_is_the_last(rows):
    lengths = [(7 * n) % 13 + 1 for n in range(rows)]
    found = order(lengths, 8)
    assert sorted(found) == list(range(rows))
    for start in range(0, rows - rows % 8, 8):
        step = [lengths[place] for place in found[start : start + 8]]
        assert step == sorted(step)


def test_the_order_is_of_the_seed_and_the_epoch_alone():
    lengths = [5, 1, 4, 2, 3] * 10
    assert order(lengths, 4) == order(lengths, 4)
    assert order(lengths, 4) != order(lengths, 4, seed=2)
    assert order(lengths, 4) != order(lengths, 4, epoch=1)


def test_a_fifth_of_padding_becomes_a_fifteenth():
    lengths = [int(n) for n in np.random.default_rng(3).integers(70, 260, size=320)]

    def padded(places):
        batches = [places[start : start + 4] for start in range(0, len(places), 4)]
        return sum(4 * max(lengths[place] for place in batch) for batch in batches) / sum(lengths)

    assert padded(np.random.default_rng(4).permutation(320)) > 1.25
    assert padded(order(lengths, 8)) < 1.08


def test_rows_of_all_lengths_are_met_throughout_an_epoch():
    lengths = list(range(1, 257))
    found = order(lengths, 8)
    means = [np.mean([lengths[place] for place in found[start : start + 64]]) for start in range(0, 256, 64)]
    assert max(means) - min(means) < 128  # of rows that were sorted as a whole: 192
    assert CHUNK * 8 < 256


def test_one_row_a_batch_leaves_the_trainers_own_order():
    class Trainer:
        pass

    for device_batch, own in ((1, False), (2, True)):
        trainer = Trainer()
        batch_by_length(trainer, TrainingPlan(device_batch, 4, 10), [3, 2, 1], seed=1)
        assert hasattr(trainer, "_get_train_sampler") == own


def test_another_rows_tokens_change_no_logits(tiny_model):
    import torch
    from transformers import AutoModelForCausalLM
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    rows = [{"input_ids": ids, "labels": ids} for ids in ([5, 6, 7], [8, 9, 10, 11, 12], [13])]
    batch = DataCollatorForLanguageModeling(pad_token_id=0)(rows)
    with torch.no_grad():
        together = model(input_ids=batch["input_ids"], attention_mask=batch.get("attention_mask")).logits
        for row, logits in zip(rows, together, strict=True):
            alone = model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
            assert torch.allclose(logits[: len(alone)], alone, atol=1e-5)
    assert (batch["labels"][2][1:] == -100).all()
