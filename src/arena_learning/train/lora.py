"""LoRA: adapters on all linear layers, merged into the weights at the end.

A round's model is always a plain one, so the next round can train it with or without adapters, and every engine and
exporter reads it. (New adapters cannot be added to a model that still has some.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel

    from arena_learning.params import Optimiser


def lora_config(settings: Optimiser, *, scorer: bool = False) -> LoraConfig | None:
    """Return peft's configuration, or None if all weights are trained; a ``scorer``'s head is always trained."""
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
    """Return the plain model, with adapters merged into the weights if there are any."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
