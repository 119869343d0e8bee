"""Batches of rows of similar length, so that little is computed on padding.

Padding each row of a batch to the longest costs 19 % with batches of four drawn at random from answers of 70 to 260
tokens, and 6 % with these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch.utils.data import Sampler

from arena_learning.train import processes

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer

    from arena_learning.train.arguments import TrainingPlan

CHUNK = 4  # steps whose rows are sorted together: the more, the less padding, the less random a step


class LengthBatches(Sampler[int]):
    """The places of all rows in the order of an epoch.

    Rows are shuffled, sorted by length within chunks of ``CHUNK`` steps, and the steps are shuffled; an incomplete
    step is the last. The order depends on the seed and the epoch alone, so a resumed training goes on with it.

    Args:
        lengths: tokens of each row.
        step: rows in an optimiser's step.
        seed: seed of the shuffles.
    """

    def __init__(self, lengths: Sequence[int], step: int, seed: int) -> None:
        self.lengths = lengths
        self.step = step
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch; transformers calls this before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """Yield the place of each row once."""
        import numpy as np

        random = np.random.default_rng([self.seed, self.epoch])
        shuffled = [int(place) for place in random.permutation(len(self.lengths))]
        whole: list[list[int]] = []
        last: list[int] = []
        for start in range(0, len(shuffled), CHUNK * self.step):
            chunk = sorted(shuffled[start : start + CHUNK * self.step], key=self.lengths.__getitem__)
            for first in range(0, len(chunk), self.step):
                rows = chunk[first : first + self.step]
                if len(rows) == self.step:
                    whole.append(rows)
                else:
                    last = rows
        for place in random.permutation(len(whole)):
            yield from whole[int(place)]
        yield from last


def batch_by_length(trainer: Trainer, laid: TrainingPlan, lengths: Sequence[int], seed: int) -> None:
    """Let a trainer draw its rows by `LengthBatches`, where a batch on the device has several rows.

    Of several processes, each reads its share of the steps that one process would take.

    Args:
        trainer: any of TRL's trainers with a dataset of rows.
        laid: the training's steps.
        lengths: tokens of each row of the trainer's dataset.
        seed: seed of the shuffles.
    """
    if laid.processes > 1:
        from arena_learning.train.shared_batches import seeded_order, share_batches

        alone = seeded_order(len(lengths), seed)
        share_batches(
            trainer, laid, alone if laid.group == 1 else LengthBatches(lengths, laid.step_rows, seed)
        )
        return
    if laid.device_batch == 1:
        return
    order = LengthBatches(lengths, laid.step_rows, seed)
    # The method that every trainer asks for its order; transformers' own `group_by_length` draws from the global
    # random state, so that a training resumed in a later epoch would go on with another order.
    trainer._get_train_sampler = lambda dataset=None: order


def with_shared_cache(rows: Dataset, folder: Path) -> Dataset:
    """Return a data set whose cache files, which the first process writes, are seen by all processes.

    Args:
        rows: in memory; alone, its cache files lie in a folder of this process.
        folder: the phase's.
    """
    if processes.count() > 1:
        rows._get_cache_file_path = lambda fingerprint: str(folder / f"cache-{fingerprint}.arrow")
    return rows
