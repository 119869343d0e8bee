"""What the frozen first layers of a model make of a row: the same in each pass, so it is computed once.

A training whose first half is frozen spends a fifth of a step there. Rows are read several times: in each epoch, and
for DPO once more for the start's probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from arena_learning.core import Progress, logger
from arena_learning.train.freeze import frozen_first_layers
from arena_learning.train.row_attention import Laid, lay_batch, reads_end_to_end, run_body

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Trainer

__all__: Sequence[str] = ("FrozenStates", "hidden_states", "keep_frozen_states")

MOST_BYTES = 512 * 1024**2  # of all rows together; more are computed each time
ROWS = 8  # whose states are computed at once
NAME = "frozen_states"  # the model's attribute


class FrozenStates:
    """The hidden states behind a model's frozen first layers, of rows that are known.

    Args:
        layers: the frozen layers, from the first on.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.layers = layers
        self.known: dict[tuple[int, ...], Tensor] = {}
        self.in_tuple = False  # what a layer of this model returns

    def of(self, batch: Laid) -> Tensor | None:
        """Return the states of a sequence's tokens, (1, tokens, width); None where a row is not known."""
        found = []
        for row, size in zip(batch.rows, batch.layout.sizes, strict=False):
            if tuple(row) not in self.known:
                return None
            found.append(self.known[tuple(row)][len(row) - size :])
        more = batch.ids.shape[1] - sum(map(len, found))
        return torch.cat([*found, found[0].new_zeros(more, found[0].shape[1])])[None]

    @contextmanager
    def instead(self, states: Tensor) -> Iterator[None]:
        """Let the frozen layers return these states, and compute nothing."""
        out = (states,) if self.in_tuple else states
        own = [vars(layer).get("forward") for layer in self.layers]
        for layer in self.layers:
            vars(layer)["forward"] = lambda *_, **__: out
        try:
            yield
        finally:
            for layer, was in zip(self.layers, own, strict=True):
                del vars(layer)["forward"]
                if was is not None:
                    vars(layer)["forward"] = was

    @torch.no_grad()
    def learn(self, model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> None:
        """Compute the states of some rows of token ids."""
        batch = _batch(model, rows)
        states = self._behind(model, batch)[0, batch.places]
        for row, own in zip(batch.rows, torch.split(states, [len(row) for row in batch.rows]), strict=True):
            self.known[tuple(row)] = own.clone()

    def _behind(self, model: PreTrainedModel, batch: Laid) -> Tensor:
        """Return the states behind the last frozen layer, and compute no further."""
        hook = self.layers[-1].register_forward_hook(self._reach)
        try:
            run_body(model, batch)
        except _ReachedError as reached:
            return reached.states
        finally:
            hook.remove()
        raise NotImplementedError("a model that does not call its layers")

    def _reach(self, _layer: nn.Module, _given: object, out: Any) -> None:
        self.in_tuple = isinstance(out, tuple)
        if self.in_tuple and len(out) > 1:
            raise NotImplementedError("layers that return more than hidden states")
        raise _ReachedError(out[0] if self.in_tuple else out)


class _ReachedError(Exception):
    """The last frozen layer has returned."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


def hidden_states(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Return what `row_attention.end_to_end` returns, from the states of frozen layers where the rows' are kept."""
    batch = lay_batch(input_ids, attention_mask)
    states: FrozenStates | None = getattr(model, NAME, None)
    known = states.of(batch) if states else None
    if states is None or known is None:
        return run_body(model, batch)[0, batch.places]
    with states.instead(known):
        return run_body(model, batch)[0, batch.places]


def keep_frozen_states(
    trainer: Trainer, rows: Sequence[Sequence[int]], progress: Callable[..., Progress], label: str
) -> None:
    """Compute what the frozen layers of a trainer's model make of rows, for all passes to come.

    All rows are computed before the first step, in their order: a training that goes on from a checkpoint has the same
    states as one that was never stopped. Nothing happens on a GPU, where nothing is frozen, where the states would
    take over half a GiB, or where a model's layers do not let themselves be left out.

    Args:
        trainer: one of TRL's, for whose model `answer_tokens_alone` was called.
        rows: the token ids of each row that is going to be read.
        progress: makes the progress line.
        label: of that line.
    """
    model = getattr(trainer.model, "get_base_model", lambda: trainer.model)()  # without LoRA's wrapper
    if hasattr(model, NAME) or not rows or model.device.type != "cpu" or not reads_end_to_end(model):
        return
    setattr(model, NAME, None)  # asked once
    layers = frozen_first_layers(model)
    width = int(model.config.get_text_config().hidden_size)
    if not layers or sum(map(len, rows)) * width * model.dtype.itemsize > MOST_BYTES:
        return
    states = FrozenStates(layers)
    with trainer.accelerator.autocast():
        if not _changes_nothing(model, states):
            return
        with progress(f"{label}: the frozen layers", -(-len(rows) // ROWS), "batches") as line:
            for begin in range(0, len(rows), ROWS):
                states.learn(model, rows[begin : begin + ROWS])
                line.advance()
    setattr(model, NAME, states)


@torch.no_grad()
def _changes_nothing(model: PreTrainedModel, states: FrozenStates) -> bool:
    """Whether kept states give a row's hidden states; they do not where a layer drops some at random."""
    number = model.get_input_embeddings().weight.shape[0]
    rows = [
        [place * 7919 % number for place in range(1, 20)],
        [place * 31 % number for place in range(3, 15)],
    ]
    was = model.training
    model.train()  # with what is dropped while a model learns
    try:
        states.learn(model, rows)
        batch = _batch(model, rows)
        plain = run_body(model, batch)[0, batch.places]
        known = states.of(batch)
        if known is None:
            return False
        with states.instead(known):
            kept = run_body(model, batch)[0, batch.places]
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        logger.debug("the states of frozen layers are not kept: %s", error)
        return False
    finally:
        model.train(was)
        states.known.clear()
    most = {torch.float32: 1e-3}.get(plain.dtype, 0.1)
    return bool((plain - kept).abs().max() <= most * plain.abs().max())


def _batch(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Laid:
    """Return rows of token ids as one sequence."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=model.device)
    return lay_batch(ids, mask)
