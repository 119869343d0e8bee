"""A tiny Llama with a ChatML template, built on the fly: what the tests train, serve and export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

END_OF_TURN = "<|im_end|>"
SPECIAL = ("<|endoftext|>", "<|im_start|>", END_OF_TURN)  # ids 0, 1, 2
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = (
    "system user assistant You are a helpful AI assistant",
    "Name a colour. Name a river. Name a planet. What is two and two? How many legs has a spider?",
    "The colour is blue. The river is the Danube. The planet is Mars. Two and two is four. It has eight.",
    "I do not know that. Write a list of three items about the sea, the sky and the land.",
)


SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
}


def model_of(kind: str, attention: str = "sdpa", **given: Any) -> Any:
    """Return a tiny untrained model of a family, by transformers' name for it (``Llama``), without a tokenizer."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, **given})
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


def build_tiny_model(
    folder: Path,
    *,
    seed: int = 0,
    hidden: int = 64,
    layers: int = 2,
    template: str = CHATML,
    vocab: int = 400,
    positions: int = 512,
    tied: bool = True,
    added: dict[str, bool] | None = None,
) -> Path:
    """Write a tiny Llama (fp32 safetensors) and its tokenizer to ``folder``; same seed, same bytes.

    As in SmolLM2, pad and eos are both ``<|im_end|>`` and the embeddings are ``tied`` (untrained, such a model repeats
    the last token; otherwise it says anything). ``added`` are further tokens, and whether each is special. Takes about
    a second.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tiny_tokenizer(template, vocab, added)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build_chat_folder(
    folder: Path,
    template: str,
    *,
    added: dict[str, bool] | None = None,
    eos: str = END_OF_TURN,
    ends: tuple[str, ...] = (),
    bos: str = "",
    positions: int = 512,
) -> Path:
    """Write a folder with all that a chat format needs and no weights: a tokenizer, its template, configurations.

    Args:
        folder: to write.
        template: the chat template.
        added: further tokens, and whether each is special.
        eos: the tokenizer's own end of text.
        ends: further tokens that end generation, by generation_config.json.
        bos: the tokenizer's start of text.
        positions: the model's context.
    """
    tokenizer = build_tiny_tokenizer(template, added=added)
    tokenizer.eos_token = eos
    if bos:
        tokenizer.bos_token = bos
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    stops = [tokenizer.convert_tokens_to_ids(word) for word in ends]
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": positions}), encoding="utf-8")
    if stops:
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"")  # never loaded
    return folder


def build_tiny_tokenizer(
    template: str = CHATML, vocab: int = 400, added: dict[str, bool] | None = None
) -> Any:
    """Return a byte-level BPE tokenizer trained on `CORPUS`, with ChatML's special tokens first, ``added`` ones last."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=SPECIAL[1],
        eos_token=END_OF_TURN,
        pad_token=END_OF_TURN,
        unk_token=SPECIAL[0],
    )
    tokenizer.chat_template = template
    for word, special in (added or {}).items():
        tokenizer.add_tokens([AddedToken(word, normalized=False, special=special)], special_tokens=special)
    return tokenizer


def provenance(number: int, round_name: str = "sft-i1") -> dict[str, Any]:
    """Return a training row's provenance, as JSON."""
    return {
        "round": round_name,
        "instruction_id": f"i{number}",
        "category": "other",
        "winner": "expert",
        "loser": "base",
        "score_winner": 8.0,
        "score_loser": 2.0,
        "gap": 6.0,
        "threshold": 1.0,
    }


def write_sft(path: Path, pairs: list[tuple[str, str]]) -> Path:
    """Write question/answer pairs as SFT rows."""
    lines = [
        {
            "prompt": [{"role": "user", "content": question}],
            "completion": [{"role": "assistant", "content": answer}],
            "provenance": provenance(number),
        }
        for number, (question, answer) in enumerate(pairs)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def write_preferences(path: Path, triples: list[tuple[str, str, str]]) -> Path:
    """Write (question, chosen, rejected) triples as preference rows."""
    lines = [
        {
            "prompt": [{"role": "user", "content": question}],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
            "provenance": provenance(number, "dpo-i1"),
        }
        for number, (question, chosen, rejected) in enumerate(triples)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path
