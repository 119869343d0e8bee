"""The check of chat formats over published chat templates: which of them work, with which parameter, which not and why.

    python benchmarks/published_templates.py FOLDER

FOLDER holds ``*.jinja`` files. Some seventy come with the source package of llama-cpp-python:

    pip download --no-deps --no-binary :all: --no-build-isolation llama-cpp-python    # or take it from PyPI by hand
    tar xf llama_cpp_python-*.tar.gz && ls llama_cpp_python-*/vendor/llama.cpp/models/templates

A template alone says little of its model's tokenizer, so each gets a small byte-level one that has the marks which the
template writes: special, except those of thoughts and tools, which most families have as plain added tokens. Generation
stops at the first mark behind an answer. What a model's own generation_config.json says besides is not known here:
`arena doctor` and `arena weights` check a model with its own files.
Nothing is fetched. A refused template whose hint names variables is checked again with these.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from arena_learning.core.errors import ArenaError
from arena_learning.engines.chat import GOODBYE, HELLO, Chat
from arena_learning.engines.chat_check import check_chat
from arena_learning.engines.tokenizer import ChatSettings

MARK = re.compile(
    r"<\|[^|<>\n'\"{}]{1,40}\|?>|<[a-z_/|][\w:|/]{1,30}\|?>|<｜[^｜]{1,40}｜>|〈\|[^|]{1,20}\|〉|\[/?[A-Z_]{3,20}\]"
    r"|\]~!?b\[?\]?|\[e~\[|<SPECIAL_\d+>|</?s>"
)
PLAIN = re.compile(r"think|tool|reason|answer|param|function|name|desc|type|<[a-z_]+>|</[a-z_]+>")
TEXT = (
    "A greeting, and a farewell. Name a colour, a river.",
    "Hello, Goodbye. It is blue, and then\n\nanother line.",
)


class Row(NamedTuple):
    """A line of the table."""

    family: str
    result: str
    detail: str


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="with *.jinja files")
    paths = sorted(parser.parse_args().folder.glob("*.jinja"))
    if not paths:
        print(
            "skipped: no *.jinja in that folder; the head of this file says where to get them",
            file=sys.stderr,
        )
        return 0
    rows = [checked(path) for path in paths]
    print("| template | result | parameter, or why not |\n|---|---|---|")
    for row in rows:
        print(f"| {row.family} | {row.result} | {row.detail} |")
    counts = {
        result: sum(row.result == result for row in rows) for result in dict.fromkeys(r.result for r in rows)
    }
    print("\n" + ", ".join(f"{result}: {count}" for result, count in counts.items()))
    return 0


def checked(path: Path) -> Row:
    """Check one template, and again with the variables of the hint where it names some."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder, path.read_text(encoding="utf-8"))
        try:
            return Row(path.stem, "works", "; ".join(map(short, check_chat(Chat(folder)).notes)))
        except ArenaError as error:
            hinted = re.search(r"chat_template_kwargs: (\{.*\})", error.hint)
            if hinted is None:
                return Row(path.stem, "refused", short(error.what))
        settings = ChatSettings(kwargs=yaml.safe_load(hinted[1]))
        check_chat(Chat(folder, settings=settings))
        return Row(path.stem, "works with", f"`chat_template_kwargs: {hinted[1]}`")


def short(text: str) -> str:
    """Return a note as a cell of the table: one line, no bar."""
    return " ".join(text.split())[:150].replace("|", "\\|")


def write_model(folder: Path, template: str) -> None:
    """Write a folder with the template and a tokenizer that has its marks as tokens."""
    marks = set(MARK.findall(template))
    _write(folder, template, sorted(marks), "</s>", [])
    turns = [{"role": "user", "content": HELLO}, {"role": "assistant", "content": GOODBYE}]
    found: list[str] = []
    for messages in (turns, [*turns, turns[0]]):  # some end a turn only when the next begins
        for variables in ({}, {"tools": []}, {"functions": "", "datetime": ""}):
            try:
                shown = Chat(folder, settings=ChatSettings(kwargs=variables)).render_messages(messages)
            except ArenaError:
                continue
            marks |= set(MARK.findall(shown))
            found += MARK.findall(shown.rpartition(GOODBYE)[2])[:1]
            break
    end = next((mark for mark in found if not PLAIN.search(mark.strip("<|>"))), "</s>")
    _write(folder, template, sorted(marks), end, [end])


def _write(folder: Path, template: str, marks: list[str], eos: str, ends: list[str]) -> None:
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer.from_str(_vocabulary())
    for mark in dict.fromkeys([*marks, eos]):
        special = mark == eos or "|" in mark or "｜" in mark or not PLAIN.search(mark)
        inner.add_tokens([AddedToken(mark, normalized=False, special=special)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token=eos)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    stops = tokenizer.convert_tokens_to_ids(ends)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 8192}), encoding="utf-8")
    (folder / "generation_config.json").write_text(
        json.dumps({"eos_token_id": stops or None}), encoding="utf-8"
    )
    (folder / "model.safetensors").write_bytes(b"")  # never loaded


@cache
def _vocabulary() -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=320, initial_alphabet=letters, show_progress=False)
    )
    return str(bpe.to_str())


if __name__ == "__main__":
    sys.exit(main())
