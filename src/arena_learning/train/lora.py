"""LoRA: adapters on all linear layers, merged into the weights at the end.

A round's model is always a plain one: the next round may train it with or without adapters, and every engine
and exporter reads it. (A model that still has adapters cannot be given new ones.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel

    from arena_learning.params import Optimiser


def lora_config(settings: Optimiser, *, scorer: bool = False) -> LoraConfig | None:
    """Return peft's configuration, or None where all weights are trained; a ``scorer``'s head always is."""
    if not settings.lora_rank:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules="all-linear",
        task_type="SEQ_CLS" if scorer else "CAUSAL_LM",
        modules_to_save=["score"] if scorer else None,
    )


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """Return the plain model: adapters merged into the weights, if there are any."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
