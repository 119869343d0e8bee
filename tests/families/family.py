"""A family's chat format in small: its template's structure, its tokens, and what it must give, written by hand.

The expected texts are the oracle: nothing in these tables is computed by the code that is tested.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.engines.chat import Chat
from arena_learning.engines.tokenizer import ChatSettings
from tiny import CORPUS

THINK = ("<think>", "</think>")
REFUSE_SYSTEM = "raise_exception('System role not supported')"
# Blank lines stay together, which GPT-2's own way parts before a word.
PIECES_OF_TEXT = r"\p{N}{1,3}|[^\s\p{L}\p{N}]?\p{L}+|\s*[\r\n]+|\s+(?!\S)|\s+|[^\s\p{L}\p{N}]+"
_CHATS: dict[tuple[str, str], Chat] = {}
AS_IT_COMES = ChatSettings()
ALTERNATE = (
    "{% for m in messages | rejectattr('role', 'equalto', 'system') %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% endfor %}"
)


class Family(NamedTuple):
    """One family.

    Attributes:
        name: of the family, and of the models where not all have it.
        template: its structure, in our words.
        tokens: its special tokens.
        soft: its added tokens that are not special.
        eos: the tokenizer's end of text.
        ends: what generation_config.json (or config.json) says.
        bos: the tokenizer's start of text, which it writes itself before a text unless told not to.
        kind: how the tokenizer treats spaces: "bytes" (of today), "gpt-2" (likewise, older), "llama" (a space before each piece), "first" (before the
            first one), "gemma" (none).
        greedy: tokens that take the white space behind them.
        prompt: what is served for ``Hello``.
        talk: what is served for a system turn, ``Hi``, ``Hey.`` and ``Hello``; without the system turn where
            ``system`` is false; empty where earlier turns are not taken.
        system: whether system turns come through.
        between: what stands between prompt and answer without loss.
        learnt: what carries loss for ``Blue.``.
        thought: what the model generates with the thought ``Sky.``, without its end; empty where it does not think.
        straight: what it generates without a thought, where that is not the answer alone.
        opened: what is generated with a thought that is cut off.
        refused: what the check says, where it refuses the family as it comes.
        kwargs: the parameter of the hint that makes it right.
        file: a template of one's own that does, where the hint asks for one.
        words: marks of turns that are no tokens.
        named: the family comes with further templates under names.
    """

    name: str
    template: str
    tokens: tuple[str, ...]
    eos: str
    prompt: str
    talk: str
    learnt: str
    soft: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    bos: str = ""
    kind: str = "bytes"
    greedy: tuple[str, ...] = ()
    system: bool = True
    between: str = ""
    thought: str = ""
    straight: str = "Blue."
    opened: str = ""
    refused: str = ""
    kwargs: Mapping[str, Any] = {}
    file: str = ""
    words: tuple[str, ...] = ()
    named: bool = False


def by_roles(
    *, system: str, user: str, assistant: str, prompt: str = "", head: str = "", strict: bool = False
) -> str:
    """Return a template with an expression for each role (of ``m``, the message) and one for the open turn."""
    say = {"system": system, "user": user, "assistant": assistant}
    roles = "".join(
        f"{{% if m.role == '{role}' %}}{{{{ {text} }}}}{{% endif %}}" for role, text in say.items()
    )
    opening = f"{{{{ {head} }}}}" if head else ""
    ending = f"{{% if add_generation_prompt %}}{{{{ {prompt} }}}}{{% endif %}}" if prompt else ""
    return f"{ALTERNATE if strict else ''}{opening}{{% for m in messages %}}{roles}{{% endfor %}}{ending}"


def chat_of(family: Family, settings: ChatSettings = AS_IT_COMES) -> Chat:
    """Return the family's chat, made once."""
    key = (family.name, repr(settings))
    if key not in _CHATS:
        folder = Path(tempfile.mkdtemp(dir=_scratch().name))
        write_folder(family, folder)
        _CHATS[key] = Chat(folder, settings=settings)
    return _CHATS[key]


def write_folder(family: Family, folder: Path) -> None:
    """Write the family's tokenizer, its template and its configurations."""
    tokenizer = tokenizer_of(family)
    tokenizer.chat_template = (
        {"default": family.template, "rag": "{{ documents }}", "tool_use": "{{ tools }}"}
        if family.named
        else family.template
    )
    tokenizer.save_pretrained(folder)
    ends = [tokenizer.convert_tokens_to_ids(word) for word in family.ends]
    assert None not in ends
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 4096}), encoding="utf-8")
    if ends:
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"")  # never loaded


def tokenizer_of(family: Family) -> Any:
    """Return the family's tokenizer: a small vocabulary, and all of the family's added tokens."""
    from tokenizers import AddedToken, Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer.from_str(vocabulary(family.kind))
    words = dict.fromkeys((*family.tokens, family.eos, *family.ends, *([family.bos] if family.bos else [])))
    for word in (*words, *family.soft):
        inner.add_tokens(
            [
                AddedToken(
                    word, normalized=False, special=word not in family.soft, rstrip=word in family.greedy
                )
            ]
        )
    if (
        family.bos and ":" not in family.bos
    ):  # it would be there twice if rendered text were tokenized with it
        pair = [(family.bos, inner.token_to_id(family.bos))]
        inner.post_processor = processors.TemplateProcessing(single=f"{family.bos} $A", special_tokens=pair)
    named = {"bos_token": family.bos} if family.bos else {}
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=family.eos, **named)


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="families-")


@cache
def vocabulary(kind: str) -> str:
    """Return a trained tokenizer as JSON: byte-level BPE, or pieces with ``▁`` for a space and single bytes."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    if kind in ("bytes", "gpt-2"):
        bpe = Tokenizer(models.BPE())
        split = pre_tokenizers.Split(Regex(PIECES_OF_TEXT), "isolated")
        blank_lines = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
        bpe.pre_tokenizer = blank_lines if kind == "bytes" else pre_tokenizers.ByteLevel(False)
        bpe.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        bpe = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        alphabet = ["▁", *map(chr, range(33, 127))]
    # Blank lines are one token, as in large vocabularies.
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator([*CORPUS, "\n\n", "a\n\nb\n\nc"], trainer)
    if kind in ("bytes", "gpt-2"):
        return str(bpe.to_str())
    return json.dumps(_with_pieces(json.loads(bpe.to_str()), kind))


def _with_pieces(told: dict[str, Any], kind: str) -> dict[str, Any]:
    """Put a SentencePiece vocabulary's unknown and byte pieces in, and its ways with spaces."""
    vocabulary = told["model"]["vocab"]
    for word in ("<unk>", *(f"<0x{byte:02X}>" for byte in range(256))):
        vocabulary.setdefault(word, len(vocabulary))
    to_space = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    from_space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    prepend = {"type": "Prepend", "prepend": "▁"}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    told["pre_tokenizer"] = None
    if kind == "first":
        scheme = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
        told["pre_tokenizer"] = scheme
    else:
        steps = [prepend, from_space] if kind == "llama" else [from_space]
        told["normalizer"] = {"type": "Sequence", "normalizers": steps}
    ending = [] if kind == "gemma" else [strip]
    told["decoder"] = {
        "type": "Sequence",
        "decoders": [to_space, {"type": "ByteFallback"}, {"type": "Fuse"}, *ending],
    }
    return told
