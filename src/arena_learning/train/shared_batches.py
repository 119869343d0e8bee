"""Batches that several processes share: the steps, their rows and their loss are those of one process.

accelerate would deal out batches in turn and fill the last ones with rows of the beginning, which are then learnt
twice. Here each step of one process is cut into parts, as many for each process; a missing part is a row of weight 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import TrainerCallback

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Trainer

    from arena_learning.train.arguments import TrainingPlan

WEIGHT = "part_weight"


class Part(NamedTuple):
    """Rows that one process reads at once, and the factor of their mean loss (0: they only fill a gap)."""

    rows: list[int]
    weight: float


def cut_step(rows: Sequence[int], group: int, part: int, parts: int) -> list[Part]:
    """Return a step's ``parts`` parts.

    One process takes the mean over groups of ``group`` rows of the groups' means. The mean over parts, each mean times
    its weight, is the same number.

    Args:
        rows: the step's rows, in order.
        group: rows that one process would read at once.
        part: the most rows of a part; divides ``group``.
        parts: how many to return, at least as many as are needed.
    """
    groups = [rows[start : start + group] for start in range(0, len(rows), group)]
    found = []
    for each in groups:
        for start in range(0, len(each), part):
            own = list(each[start : start + part])
            found.append(Part(own, len(own) / len(each) * parts / len(groups)))
    return found + [Part([rows[0]], 0.0)] * (parts - len(found))


class SharedBatches(Sampler[list[tuple[int, float]]]):
    """The parts of all steps of an epoch, those of the processes in turn: ``(row, weight)`` pairs.

    Args:
        order: the places of all rows, in the order that one process would have.
        laid: the plan.
    """

    def __init__(self, order: Sampler[int], laid: TrainingPlan) -> None:
        self.order, self.laid = order, laid

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch."""
        self.order.set_epoch(epoch)  # type: ignore[attr-defined]

    def __len__(self) -> int:
        """Return the number of parts."""
        steps = math.ceil(len(self.order) / self.laid.step_rows)  # type: ignore[arg-type]
        return steps * self.laid.accumulation * self.laid.processes

    def __iter__(self) -> Iterator[list[tuple[int, float]]]:
        """Yield the parts."""
        laid, rows = self.laid, list(self.order)
        for start in range(0, len(rows), laid.step_rows):
            step = rows[start : start + laid.step_rows]
            for own, weight in cut_step(
                step, laid.group, laid.device_batch, laid.accumulation * laid.processes
            ):
                yield [(row, weight) for row in own]


class _Rows(Dataset[dict[str, Any]]):
    """A data set whose rows are asked for with their weight."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: tuple[int, float]) -> dict[str, Any]:
        row, weight = place
        return {**self.rows[row], WEIGHT: weight}


class _Epochs(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Tells the batches which epoch begins; trainers reach them in some versions only."""

    def __init__(self, batches: SharedBatches) -> None:
        self.batches = batches

    def on_epoch_begin(self, args: object, state: Any, control: object, **rest: object) -> None:
        """Set the epoch."""
        self.batches.set_epoch(int((state.epoch or 0) + 1e-6))


def share_batches(trainer: Trainer, laid: TrainingPlan, order: Sampler[int]) -> None:
    """Let a trainer of one of several processes read its share of each step, and weigh it.

    Args:
        trainer: one of TRL's trainers with a dataset of rows.
        laid: the plan, of these processes.
        order: the rows' order in one process.
    """
    batches = SharedBatches(order, laid)
    collate, loss = trainer.data_collator, trainer.compute_loss

    def with_weight(rows: list[dict[str, Any]]) -> dict[str, Any]:
        import torch

        weights = [row.pop(WEIGHT) for row in rows]
        batch = dict(collate(rows))
        if "labels" in batch and not weights[0]:
            batch["labels"] = torch.full_like(batch["labels"], -100)
        return {**batch, WEIGHT: torch.tensor(weights[0])}

    def loader() -> DataLoader[Any]:
        rows = trainer._remove_unused_columns(trainer.train_dataset, description="training")
        plain: DataLoader[Any] = DataLoader(_Rows(rows), batch_sampler=batches, collate_fn=with_weight)
        return trainer.accelerator.prepare(plain)  # type: ignore[no-any-return]  # accelerate is untyped here

    def weighted(model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
        weight = inputs.pop(WEIGHT, None)
        with ragged_gather(trainer.accelerator):
            found = loss(model, inputs, *rest, **more)
        # A loss that is divided by the tokens of all processes needs no weight: a filling row has none.
        if weight is None or more.get("num_items_in_batch") is not None:
            return found
        return (found[0] * weight, found[1]) if isinstance(found, tuple) else found * weight

    trainer.get_train_dataloader = loader
    trainer.compute_loss = weighted
    trainer.add_callback(_Epochs(batches))


@contextmanager
def ragged_gather(accelerator: Any) -> Iterator[None]:
    """Let an accelerator gather tensors whose number of rows differs between processes: last parts are smaller."""
    plain: Callable[[Any], Any] = accelerator.gather

    def gather(tensor: Any) -> Any:
        import torch

        if isinstance(tensor, tuple | list):
            return type(tensor)(gather(one) for one in tensor)
        if not tensor.ndim:
            return plain(tensor)
        sizes = plain(torch.tensor([len(tensor)], device=tensor.device)).tolist()
        if len(set(sizes)) == 1:
            return plain(tensor)
        wide: Tensor = tensor.new_zeros(max(sizes), *tensor.shape[1:])
        wide[: len(tensor)] = tensor.detach()
        each = plain(wide).split(max(sizes))
        return torch.cat([one[:size] for one, size in zip(each, sizes, strict=True)])

    before = {name: accelerator.__dict__.get(name) for name in ("gather", "gather_for_metrics")}
    accelerator.gather = accelerator.gather_for_metrics = gather
    try:
        yield
    finally:
        for name, own in before.items():
            if own is None:
                delattr(accelerator, name)
            else:
                setattr(accelerator, name, own)


def seeded_order(rows: int, seed: int) -> Sampler[int]:
    """Return the order that accelerate gives the rows of one process: shuffled by the seed and the epoch."""
    from accelerate.data_loader import SeedableRandomSampler

    return SeedableRandomSampler(range(rows), data_seed=seed)  # type: ignore[no-any-return]
