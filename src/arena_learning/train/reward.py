"""The reward model: a score head on the start model, trained to rank the winner above the loser."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.core import fresh_beside, move_into_place, read_json, write_json
from arena_learning.train import processes
from arena_learning.train.arguments import common_arguments, on_one_gpu, plan_training
from arena_learning.train.checkpoint import drop_checkpoints
from arena_learning.train.encode import Encoded, pair_length
from arena_learning.train.length_batches import batch_by_length
from arena_learning.train.load import load_scorer
from arena_learning.train.loop import Job, run_trainer
from arena_learning.train.lora import lora_config
from arena_learning.train.report import Phase
from arena_learning.train.save import write_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from trl import RewardTrainer

    from arena_learning.params import Optimiser

HELD_OUT = 0.125  # share of the instructions, if there are enough pairs for a meaningful accuracy
ENOUGH = 20
# Keeps the rewards of a pair around zero, so that PPO's penalties and value model start on the same scale.
CENTRE = 0.01
DONE = "phase.json"


class TrainedReward(NamedTuple):
    """A trained reward model: its folder, its phase of the report, seconds, and the step that it resumed from."""

    folder: Path
    phase: Phase
    seconds: float
    resumed_from: int


def train_reward(job: Job, settings: Optimiser, encoded: Encoded) -> TrainedReward:
    """Train the reward model and save it below the checkpoints; a saved one is reused after an interrupted PPO."""
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    folder, resume = job.open_checkpoints("reward", settings)
    finished = folder / "model"
    if processes.from_first((finished / DONE).is_file):
        phase = Phase.model_validate(read_json(finished / DONE))
        return TrainedReward(finished, phase, 0.0, phase.steps)
    seen, unseen = hold_out(encoded.rows, job.seed)
    laid = plan_training(settings, len(seen))
    trainer = RewardTrainer(
        model=load_scorer(job.start, job.start.folder, job.seed, settings),
        args=on_one_gpu(
            RewardConfig(
                **common_arguments(settings, job.train, laid, folder, job.seed),
                max_length=None,  # encode.py has dropped and counted the rows
                center_rewards_coefficient=CENTRE,
                per_device_eval_batch_size=1,  # accuracy is a mean over batches: all pairs must weigh the same
            )
        ),
        train_dataset=Dataset.from_list([_pair(row) for row in seen]),
        processing_class=job.start.tokenizer,
        peft_config=lora_config(settings, scorer=True),
    )
    batch_by_length(trainer, laid, [pair_length(row) for row in seen], job.seed)
    accuracy: list[float] = []
    trained = run_trainer(
        trainer,
        "reward",
        laid.steps,
        job,
        resume,
        before_release=lambda: accuracy.append(_accuracy(trainer, unseen)),
        load=lambda start, how: load_scorer(start, start.folder, job.seed, how),
    )
    count = encoded.tally.model_copy(update={"held_out": len(unseen)})
    figures = {"held_out_accuracy": accuracy[0]} if unseen else {}
    phase = Phase(name="reward", rows=count, steps=trained.steps, curve=trained.curve, figures=figures)
    processes.from_first(lambda: _write(job, trained.model, phase, folder, finished))
    return TrainedReward(finished, phase, trained.seconds, trained.resumed_from)


def _write(job: Job, model: PreTrainedModel, phase: Phase, folder: Path, finished: Path) -> None:
    temporary = fresh_beside(finished)
    write_model(model, job.start, temporary)
    write_json(temporary / DONE, phase.model_dump(mode="json"))
    move_into_place(temporary, finished)
    drop_checkpoints(folder)


def hold_out(rows: list[dict[str, Any]], seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Split pairs into training and held-out pairs by instruction: no instruction is on both sides."""
    ids = sorted({row["instruction"] for row in rows}, key=lambda name: _drawn(name, seed))
    if len(rows) < ENOUGH or len(ids) < ENOUGH:
        return rows, []
    unseen = set(ids[: math.ceil(HELD_OUT * len(ids))])
    kept = [row for row in rows if row["instruction"] not in unseen]
    return kept, [row for row in rows if row["instruction"] in unseen]


def _drawn(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def _pair(row: dict[str, Any]) -> dict[str, list[int]]:
    return {side: row["prompt_ids"] + row[side] for side in ("chosen_ids", "rejected_ids")}


def _accuracy(trainer: RewardTrainer, unseen: list[dict[str, Any]]) -> float:
    """Return the share of held-out pairs whose winner has the higher reward."""
    from datasets import Dataset

    if not unseen:
        return math.nan
    # Each process would leave out or repeat pairs that cannot be divided: so all of them read all pairs.
    size = processes.count()
    repeated = [_pair(row) for row in unseen for _ in range(size)]
    figures = trainer.evaluate(Dataset.from_list(repeated))
    return float(figures["eval_accuracy"])
