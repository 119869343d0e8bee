"""Supervised fine-tuning on winners' answers or best samples (loss on the answer and its end of turn only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from arena_learning.train.answer_head import answer_tokens_alone
from arena_learning.train.arguments import choose_device, common_arguments, on_one_gpu, plan_training
from arena_learning.train.encode import Encoded
from arena_learning.train.frozen_states import keep_frozen_states
from arena_learning.train.length_batches import batch_by_length
from arena_learning.train.load import load_policy
from arena_learning.train.loop import Job, Trained, run_trainer
from arena_learning.train.lora import lora_config

if TYPE_CHECKING:
    from arena_learning.params import Rft, Sft

__all__: Sequence[str] = ("train_sft",)


def train_sft(job: Job, settings: Sft | Rft, encoded: Encoded, phase: str = "sft") -> Trained:
    """Fine-tune the start model on encoded rows; ``phase`` names its checkpoints and its progress line."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    laid = plan_training(settings, len(encoded.rows))
    folder, resume = job.open_checkpoints(phase, settings)
    trainer = SFTTrainer(
        model=load_policy(job.start, settings),
        args=on_one_gpu(
            SFTConfig(
                **common_arguments(settings, job.train, laid, folder, job.seed),
                max_length=None,  # encode.py has cut and counted the rows
                # The chunked loss saves memory for large batches; on a CPU it only computes the head twice.
                loss_type="nll" if choose_device(job.train) == "cpu" else "chunked_nll",
            )
        ),
        train_dataset=Dataset.from_list(encoded.rows),
        processing_class=job.start.tokenizer,
        peft_config=lora_config(settings),
    )
    answer_tokens_alone(trainer)
    if settings.epochs > 1:
        keep_frozen_states(trainer, [row["input_ids"] for row in encoded.rows], job.progress, phase)
    batch_by_length(trainer, laid, [len(row["input_ids"]) for row in encoded.rows], job.seed)
    return run_trainer(trainer, phase, laid.steps, job, resume)
