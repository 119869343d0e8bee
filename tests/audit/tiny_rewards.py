"""Tiny reward models of several architectures, built on the fly: random, but each with a tokenizer and a head of its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny import CORPUS, build_tiny_tokenizer

DECODERS = ("llama", "qwen2", "qwen3", "mistral", "gpt2", "gemma2")
ENCODERS = ("bert", "deberta-v2", "roberta", "modernbert")
_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}


def build_reward_model(folder: Path, kind: str, *, labels: int = 1, head: bool = True) -> Path:
    """Write a tiny reward model of ``kind`` to ``folder``; without a ``head``, the model that one is made from."""
    import torch
    import transformers

    tokenizer = build_tiny_tokenizer() if kind in DECODERS else _pair_tokenizer()
    fields: dict[str, Any] = {**_SIZES, "vocab_size": len(tokenizer), "num_labels": labels}
    fields |= {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    if kind in ("llama", "qwen2", "qwen3", "mistral", "gemma2"):
        fields["num_key_value_heads"] = 2
    if kind in ("qwen3", "gemma2"):
        fields["head_dim"] = 8
    if kind == "gpt2":
        fields = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, **fields}
    if kind == "deberta-v2":
        fields |= {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
            "pooler_hidden_size": 32,
        }
    if kind == "roberta":
        fields |= {"max_position_embeddings": 514, "type_vocab_size": 1}
        tokenizer.model_max_length = 512
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    if kind == "modernbert":
        fields |= {"bos_token_id": 2, "cls_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    config = transformers.AutoConfig.for_model(kind, **fields)
    if not head:
        config.architectures = None
    auto = transformers.AutoModelForSequenceClassification if head else transformers.AutoModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = auto.from_config(config)
        for parameter in model.parameters():  # as drawn, heads of most kinds give numbers near 0
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _pair_tokenizer() -> Any:
    """Return a tokenizer as encoders have: no chat template, and a pair of texts as [CLS] one [SEP] two [SEP]."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    names["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)
