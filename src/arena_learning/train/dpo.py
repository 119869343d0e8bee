"""Direct preference optimisation, with the start model as the reference, under any of TRL's preference losses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from arena_learning.train.answer_head import answer_tokens_alone
from arena_learning.train.arguments import common_arguments, on_one_gpu, plan_training
from arena_learning.train.encode import Encoded, pair_length
from arena_learning.train.frozen_states import keep_frozen_states
from arena_learning.train.length_batches import batch_by_length, with_shared_cache
from arena_learning.train.load import load_policy
from arena_learning.train.loop import Job, Trained, run_trainer
from arena_learning.train.lora import lora_config

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from arena_learning.params import Dpo


def train_dpo(job: Job, settings: Dpo, encoded: Encoded) -> Trained:
    """Train the start model on encoded pairs.

    The start model's log-probabilities are computed once, before the first step: this saves a second model in memory
    and a second forward pass in later epochs.
    """
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class EncodedDPOTrainer(DPOTrainer):  # type: ignore[misc]  # TRL is untyped here
        """TRL's trainer for rows of token ids; it would otherwise render and cut rows without counting them."""

        def _prepare_dataset(self, dataset: Dataset, *rest: object) -> Dataset:
            return dataset

        def compute_ref_log_probs(
            self, model: PreTrainedModel, inputs: dict[str, Tensor]
        ) -> tuple[Tensor, Tensor]:
            answer_tokens_alone(self)
            keep_frozen_states(self, asked, job.progress, "dpo")
            pair: tuple[Tensor, Tensor] = super().compute_ref_log_probs(model, inputs)
            line.advance()
            return pair

    laid = plan_training(settings, len(encoded.rows))
    rows = encoded.rows
    if laid.device_batch > 1:  # the start's probabilities are computed in this order
        rows = sorted(rows, key=pair_length)
    asked = [row["prompt_ids"] + row[answer] for row in rows for answer in ("chosen_ids", "rejected_ids")]
    folder, resume = job.open_checkpoints("dpo", settings)
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    arguments = on_one_gpu(
        DPOConfig(
            **common_arguments(settings, job.train, laid, folder, job.seed),
            beta=settings.beta,
            loss_type=[settings.loss, "sft"] if settings.sft_weight else [settings.loss],
            loss_weights=[1.0, settings.sft_weight] if settings.sft_weight else None,
            label_smoothing=settings.label_smoothing,
            max_length=None,  # encode.py has cut and counted the rows
            precompute_ref_log_probs=True,
            precompute_ref_batch_size=laid.device_batch,
        )
    )
    batches = math.ceil(len(rows) / (laid.device_batch * laid.processes))
    with job.progress("dpo: the start's probabilities", batches, "batches") as line:
        trainer = EncodedDPOTrainer(
            model=load_policy(job.start, settings),
            args=arguments,
            train_dataset=with_shared_cache(
                Dataset.from_list([{name: row[name] for name in columns} for row in rows]), folder
            ),
            processing_class=job.start.tokenizer,
            peft_config=lora_config(settings),
        )
    answer_tokens_alone(trainer)
    batch_by_length(trainer, laid, [pair_length(row) for row in rows], job.seed)
    return run_trainer(trainer, "dpo", laid.steps, job, resume)
