"""How to add a training method: IPO (Azar et al., 2023, https://arxiv.org/abs/2310.12036), on preference pairs.

DPO pushes a pair's log-probabilities apart without end; IPO aims at a margin of 1 / (2 beta). Try it:
``python examples/add_a_training_method.py models/base data/rounds/dpo-i1/preferences.jsonl models/tried``.
In the project, `train_ipo` stands in ``src/arena_learning/train/ipo.py`` and `Ipo` in ``params/training.py``;
CONTRIBUTING.md lists the other places that learn the method's name.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from pydantic import Field

from arena_learning.core import Progress
from arena_learning.params import Optimiser, Train
from arena_learning.schema import PreferenceRow, read_rows
from arena_learning.train.arguments import common_arguments, on_one_gpu, plan_training
from arena_learning.train.encode import Encoded, Encoder, encode_pairs
from arena_learning.train.load import load_policy, load_start, quiet_libraries
from arena_learning.train.loop import Job, Trained, run_trainer
from arena_learning.train.lora import lora_config
from arena_learning.train.save import write_model


class Ipo(Optimiser):
    """Keys of params.yaml, ``train.ipo``: those of every method (`Optimiser`), and ``beta``, which sets the margin."""

    beta: float = Field(default=0.1, gt=0)


def train_ipo(job: Job, settings: Ipo, encoded: Encoded) -> Trained:
    """Train the start on encoded pairs: put the chosen answer 1 / (2 beta) above the rejected one, per token."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class EncodedTrainer(DPOTrainer):  # type: ignore[misc]  # its rows are token ids already
        def _prepare_dataset(self, dataset: Dataset, *rest: object) -> Dataset:
            return dataset

    plan = plan_training(settings, len(encoded.rows))
    folder, resume = job.open_checkpoints("ipo", settings)
    trainer = EncodedTrainer(
        model=load_policy(job.start),
        args=on_one_gpu(
            DPOConfig(
                **common_arguments(settings, job.train, plan, folder, job.seed),
                beta=settings.beta,
                loss_type=["ipo"],
                max_length=None,  # cut and counted by `encode_pairs`
                precompute_ref_log_probs=True,  # no second model in memory
            )
        ),
        train_dataset=Dataset.from_list(encoded.rows).remove_columns("instruction"),
        processing_class=job.start.tokenizer,
        peft_config=lora_config(settings),
    )
    return run_trainer(trainer, "ipo", plan.steps, job, resume)


def try_ipo(model: Path, pairs: Path, out: Path, settings: Ipo) -> Trained:
    """Train the model in a folder on a file of pairs and write the new one to ``out``: `train.session`, in short."""
    quiet_libraries()
    start, checkpoints = load_start(model, trust_remote_code=False), out.with_name(f"{out.name}-checkpoints")
    rows = read_rows(pairs, PreferenceRow)
    encoded = encode_pairs(Encoder(start.form), rows, settings.max_length, cut_long=True)
    trained = train_ipo(Job(start, Train(), 0, checkpoints, Progress, "a try"), settings, encoded)
    write_model(trained.model, start, out)
    shutil.rmtree(checkpoints)
    return trained


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a model's folder on preference pairs by IPO.")
    for name in ("model", "pairs", "out"):
        parser.add_argument(name, type=Path)
    try_ipo(**vars(parser.parse_args()), settings=Ipo())
