"""How a training is launched and what it keeps in memory: processes, types, optimiser, kernels."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from arena_learning.params.section import Positive, Section


class Launch(Section):
    """How many processes train, and what starts them.

    ``batch_size`` is the whole batch however many processes share it, and the loss is that of one process.

    Attributes:
        kind: ``inprocess`` trains in the stage's own process. ``accelerate`` starts several processes on this machine
            by `accelerate launch`. ``ray`` starts them on the machines of the Ray cluster that ``ray.address`` names,
            or on this machine; the project must lie on a file system that all of them share.
        processes: number of processes, one for each GPU; a ``batch_size`` must be divisible by it.
        config: accelerate's own configuration file (as `accelerate config` writes it), which chooses DDP, FSDP or
            DeepSpeed; empty for DDP. The number of processes and the precision are those given here.
    """

    kind: Literal["inprocess", "accelerate", "ray"] = "inprocess"
    processes: Positive = 1
    config: str = ""

    @model_validator(mode="after")
    def _in_process_is_one(self) -> Launch:
        if self.kind == "inprocess" and self.processes > 1:
            raise ValueError("inprocess is one process; set processes to 1, or kind to accelerate or ray")
        if self.kind == "inprocess" and self.config:
            raise ValueError("config is for accelerate and ray; remove it, or set kind to one of them")
        return self


class Footprint(Section):
    """What a training keeps in memory, and which code computes it.

    Attributes:
        weights: type of the trained weights. ``fp32``: fp32 weights, computed in ``train.precision``. ``bf16``:
            weights, gradients and optimiser in bf16, half of the memory; an update of less than 0.4 % of a weight is
            lost, so small learning rates train little.
        frozen_layers: this share of the layers, the first ones, keeps the start's weights, and so do the token
            embeddings: the backward pass ends above them, so a step takes less time and memory (0.5: about half of the
            time). 0 trains all; not with LoRA.
        optimiser: ``adamw``; ``adamw_8bit`` has moments of 8 bits (2 bytes a weight instead of 8); the ``paged`` ones
            move them to the host's memory when the GPU's is full. All but ``adamw`` need bitsandbytes.
        activation_checkpointing: compute activations again in the backward pass instead of keeping them: a third more
            time, and memory for one layer instead of all.
        attention: implementation of attention, by transformers' name; ``auto`` lets transformers choose.
        kernels: ``liger`` replaces layers by Liger's fused Triton kernels (GPU, package liger-kernel).
    """

    weights: Literal["fp32", "bf16"] = "fp32"
    frozen_layers: float = Field(default=0, ge=0, lt=1)
    optimiser: Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"] = "adamw"
    activation_checkpointing: bool = False
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3"] = "auto"
    kernels: Literal["none", "liger"] = "none"

    def frozen_of(self, layers: int) -> int:
        """Return how many of a model's layers are frozen; a part of a layer is none.

        >>> Footprint(frozen_layers=0.5).frozen_of(30), Footprint(frozen_layers=0.5).frozen_of(3)
        (15, 1)
        """
        return math.floor(self.frozen_layers * layers)
