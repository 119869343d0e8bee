"""Bytes that a training needs on each device, from a model's configuration and the parameters.

Each part is an upper bound that is reached: every row is as long as ``max_length``. What a layer keeps for the backward
pass is counted tensor by tensor for a decoder as Llama's (norm, attention without a score matrix, gated MLP); other
decoders keep about as much. `benchmarks/training_memory.py` holds it against measured peaks.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, NamedTuple

from arena_learning.core import ArenaError
from arena_learning.train import processes
from arena_learning.train.model_size import ModelSize

if TYPE_CHECKING:
    from arena_learning.params import Footprint, Optimiser, Ppo, Rl, Train

Strategy = Literal["one", "ddp", "sharded"]
GIB = 2**30
CONTEXT = 0.8 * GIB  # of CUDA itself, and of the libraries' work spaces
FUSED_HEAD = (1, 16)  # the release of TRL from which a trainer holds logits of a few hundred tokens only
FUSED_TOKENS, KEPT_TOKENS = 256, 1024  # of `train.answer_head`
ROLLOUT, SAMPLED = 8, 64  # as `train.rollout` and `train.online.trainer`
STATE = {"adamw": (8, 4), "adamw_8bit": (2, 2), "paged_adamw": (0, 0), "paged_adamw_8bit": (0, 0)}


class MemoryNeed(NamedTuple):
    """Bytes on each device, by what they hold.

    Attributes:
        weights: of the trained models, with their copies in bf16.
        gradients: of the trained weights, with the buffers of DDP.
        optimiser: moments.
        activations: what the forward pass keeps for the backward pass.
        logits: over the vocabulary, and key-value caches of what is sampled.
        others: weights of models that are only read: reference and reward model.
        context: of CUDA.
    """

    weights: float = 0.0
    gradients: float = 0.0
    optimiser: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    others: float = 0.0
    context: float = CONTEXT

    @property
    def total(self) -> float:
        """The sum."""
        return float(sum(self))


def memory_of(
    method: str,
    size: ModelSize,
    train: Train,
    *,
    processes: int = 1,
    strategy: Strategy = "one",
    longest: int = 0,
    gpu: bool = True,
) -> MemoryNeed:
    """Return what a method's training needs on each of its devices.

    Args:
        method: training method.
        size: of the model.
        train: the parameters.
        processes: devices that share the training.
        strategy: ``one`` device; ``ddp``: each holds all; ``sharded`` (FSDP2, ZeRO-3): each holds its part of weights,
            gradients and optimiser.
        longest: tokens of the longest row; 0: ``max_length``.
        gpu: whether the devices are GPUs, on which TRL's kernel keeps no logits.
    """
    settings = getattr(train, method)
    half = train.precision != "fp32"  # `auto` is bf16 on a GPU
    if method == "ppo":
        return max(
            (_ppo(size, settings, half, strategy), _reward(size, settings, half, processes, strategy)),
            key=lambda need: need.total,
        )
    if method in ("rloo", "grpo"):
        return _online(size, settings, half, strategy, gpu)
    sides = 2 if method == "dpo" else 1
    need = _trained(size, settings, half, processes, strategy)
    rows = sides * _device_rows(settings, processes)
    tokens = rows * min(longest or settings.max_length, settings.max_length)
    others = 0.0
    if method == "dpo" and strategy == "sharded" and not settings.lora_rank:
        others = _bytes(settings) * size.weights / processes  # while the start's probabilities are computed
    return need._replace(
        activations=_activations(size, settings, half, tokens),
        logits=_logits(size, half, tokens, gpu),
        others=others,
    )


def _device_rows(settings: Optimiser, processes: int) -> int:
    return min(settings.device_batch_size, max(1, settings.batch_size // processes))


def _bytes(settings: Footprint) -> int:
    return 2 if settings.weights == "bf16" else 4


def _trained(
    size: ModelSize, settings: Optimiser, half: bool, processes: int, strategy: Strategy
) -> MemoryNeed:
    """Return weights, gradients and optimiser of one model that is trained."""
    each, pure = _bytes(settings), settings.weights == "bf16"
    trained = _adapters(size, settings.lora_rank) if settings.lora_rank else _learnt(size, settings)
    kept = 4 if settings.lora_rank else each  # peft keeps adapters in fp32
    parts = processes if strategy == "sharded" else 1
    weights = each * size.weights / parts + (kept * trained / parts if settings.lora_rank else 0)
    if strategy == "sharded":  # two layers and the embeddings are gathered at a time
        width = 2 if half or pure else 4
        weights += width * (2 * size.layer + size.vocabulary * size.hidden)
    elif half and not pure and not settings.lora_rank:
        # Autocast keeps copies of trained weights until the step's end.
        weights += 2 * trained + (2 * size.layer if settings.frozen_layers else 0)
    elif half and not pure:
        weights += 2 * size.layer
    buckets = 2 if strategy == "ddp" else 1
    state = STATE[settings.optimiser][int(pure and not settings.lora_rank)]
    return MemoryNeed(
        weights=weights, gradients=buckets * kept * trained / parts, optimiser=state * trained / parts
    )


def _learnt(size: ModelSize, settings: Footprint) -> int:
    """Return the weights that are trained: with the first layers, the token embeddings are frozen."""
    frozen = settings.frozen_of(size.layers)
    return size.weights - (size.vocabulary * size.hidden + frozen * size.layer if frozen else 0)


def _adapters(size: ModelSize, rank: int) -> int:
    """Return the weights of adapters on all linear layers: ``rank`` times input and output of each."""
    h, f, c = size.hidden, size.inner, size.cached
    return rank * size.layers * (2 * (h + h) + 2 * (h + c) + 3 * (h + f))


def _activations(size: ModelSize, settings: Footprint, half: bool, tokens: int) -> float:
    """Return what is kept of ``tokens`` tokens; with checkpointing each layer's input, and one whole layer.

    Of a layer, in bf16 autocast: two norms keep input and result in fp32 (16 h), five linear layers their inputs in
    bf16 (10 h), attention query, result, keys and values of all heads (8 h); the MLP four products (8 f). In fp32 a
    norm keeps three tensors, one of which the linear layers share. With weights in bf16 residuals are bf16, too. Of
    frozen layers nothing is kept.
    """
    h, f = size.hidden, size.inner
    layers = size.layers - settings.frozen_of(size.layers)
    if settings.weights == "bf16":
        layer, residual = 28 * h + 8 * f, 2 * h
    elif half:
        layer, residual = 34 * h + 8 * f, 4 * h
    else:
        layer, residual = 40 * h + 16 * f, 4 * h
    if settings.activation_checkpointing:
        return float(tokens * (layers * residual + layer))
    return float(tokens * layers * layer)


def _logits(size: ModelSize, half: bool, tokens: int, gpu: bool) -> float:
    """Return the logits of a trainer of TRL's: all of them in older releases, else a part (`train.answer_head`).

    Of a part: scores, probabilities, their logarithms and gradients, in fp32. A CPU keeps the logarithms of few tokens.
    """
    if tuple(int(part) for part in version("trl").split(".")[:2]) < FUSED_HEAD:
        return float(tokens * size.vocabulary * (2 * half + 12))
    part = 16 * min(tokens, FUSED_TOKENS)
    kept = 0 if gpu or tokens > KEPT_TOKENS else 4 * tokens
    return float((part + kept) * size.vocabulary)


def _reward(size: ModelSize, settings: Ppo, half: bool, processes: int, strategy: Strategy) -> MemoryNeed:
    own = settings.reward
    tokens = 2 * _device_rows(own, processes) * own.max_length
    return _trained(size, own, half, processes, strategy)._replace(
        activations=_activations(size, own, half, tokens)
    )


def _ppo(size: ModelSize, settings: Ppo, half: bool, strategy: Strategy) -> MemoryNeed:
    """Return PPO's need: policy and value model are trained one after the other, and never at the same time."""
    each = _bytes(settings)
    one = _trained(size, settings, half, 1, strategy)
    learners = 2 if settings.value == "model" else 1
    rows = settings.device_batch_size
    answers = rows * settings.max_tokens * size.vocabulary * (2 * half + 12)
    # With adapters the reference is the policy without them, and the value model shares the reward model's weights.
    frozen = 1 if settings.lora_rank else 2
    caches = _cache(size, max(ROLLOUT, rows), settings.max_length, half or each == 2)
    copies = one.weights - each * size.weights if half and each == 4 and not settings.lora_rank else 0.0
    more = 4 * _adapters(size, settings.lora_rank) if settings.lora_rank else one.weights - copies
    # One model's gradients at a time; the buffers of DDP are there for both.
    buffers = one.gradients / 2 if strategy == "ddp" and learners == 2 else 0.0
    return one._replace(
        weights=one.weights + (learners - 1) * more,
        gradients=one.gradients + buffers,
        optimiser=learners * one.optimiser,
        activations=_activations(size, settings, half, rows * settings.max_length),
        logits=max(answers, caches),
        others=float(frozen * each * size.weights),
    )


def _online(size: ModelSize, settings: Rl, half: bool, strategy: Strategy, gpu: bool) -> MemoryNeed:
    rows = settings.device_batch_size
    caches = _cache(size, max(SAMPLED, rows), settings.max_length, half or settings.weights == "bf16")
    reference = _bytes(settings) * size.weights if settings.kl and not settings.lora_rank else 0
    return _trained(size, settings, half, 1, strategy)._replace(
        activations=_activations(size, settings, half, rows * settings.max_length),
        logits=max(_logits(size, half, rows * settings.max_tokens, gpu), caches),
        others=float(reference),
    )


def _cache(size: ModelSize, rows: int, tokens: int, half: bool) -> float:
    """Return keys and values of answers that are sampled side by side, and a row of logits each."""
    width = 2 if half else 4
    return float(rows * (tokens * size.layers * 2 * size.cached * width + size.vocabulary * (width + 4)))


def running_strategy() -> Strategy:
    """Return the strategy of the processes that this one belongs to, by what accelerate has told them."""
    if processes.count() == 1:
        return "one"
    fsdp = os.environ.get("ACCELERATE_USE_FSDP") == "true"
    zero = int(os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") or 0)
    return "sharded" if fsdp or zero == 3 else "ddp"


def check_memory(place: str, need: MemoryNeed, there: float) -> None:
    """Refuse a training that a device has no room for.

    Args:
        place: the settings' key, such as ``train.sft``.
        need: of the training.
        there: bytes of the device that are free.

    Raises:
        ArenaError: it needs more.
    """
    if need.total <= there:
        return
    parts = {name: value for name, value in need._asdict().items() if value > GIB / 10}
    told = ", ".join(f"{name} {value / GIB:.1f}" for name, value in parts.items())
    largest = max(parts, key=lambda name: parts[name])
    hint = {
        "activations": "lower device_batch_size or max_length, or set activation_checkpointing: true",
        "logits": "lower device_batch_size or max_tokens",
        "others": "set lora_rank, which shares the reference's weights",
    }.get(largest, "set lora_rank or weights: bf16, or shard over several GPUs (launch.config: FSDP)")
    raise ArenaError(
        f"the training needs {need.total / GIB:.1f} GiB on each GPU ({told}), and {there / GIB:.1f} GiB are free",
        where=place,
        hint=f"{hint}; `arena plan --memory` shows each part",
    )
