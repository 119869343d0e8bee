"""Tiny models of every architecture that is exported, with weights large enough that each setting changes answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CLASSES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}


def build(folder: Path, kind: str = "llama", tokenizer: Any = None, **settings: Any) -> Path:
    """Write a model of `kind` (two layers, width 64) with `settings` over a tiny byte-level tokenizer."""
    import torch
    import transformers

    from tiny import build_tiny_tokenizer

    tokenizer = tokenizer or build_tiny_tokenizer()
    base = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }
    if kind == "mistral":
        base["sliding_window"] = None
    config = getattr(transformers, f"{CLASSES[kind]}Config")(**{**base, **settings})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = getattr(transformers, f"{CLASSES[kind]}ForCausalLM")(config)
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            if parameter.ndim == 1:
                parameter.copy_(1 + 0.3 * noise if "norm" in name else 0.5 * noise)
            else:
                parameter.copy_(noise if "embed" in name else 1.5 * noise / parameter.shape[1] ** 0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def edit(folder: Path, **changes: Any) -> Path:
    """Change keys of a folder's config.json; `...` takes one out."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))
    return folder
