"""Writes a model for Ollama: a GGUF file and the Modelfile that names its template and its stops."""

from __future__ import annotations

import shutil
from pathlib import Path

from arena_learning.core import ArenaError, fresh_beside, move_into_place, write_text
from arena_learning.engines import Chat
from arena_learning.engines.gguf import GgufType, Reader, export_folder
from arena_learning.registry.turn_template import turn_template


def write_ollama(folder: Path, out: Path, name: str, dtype: GgufType) -> bool:
    """Write ``NAME.gguf`` and ``Modelfile`` to the folder ``out``; return whether the GGUF was compared with the model.

    Raises:
        ArenaError: the chat template cannot be turned into Ollama's, or the model cannot be exported.
    """
    chat = Chat(folder)
    template = turn_template(chat)
    template.to_go(with_start=True)  # what it refuses, it refuses before the export
    temporary = fresh_beside(out)
    file = temporary / f"{name}.gguf"
    compared = export_folder(folder, file, dtype)
    starts = adds_start(file)
    if starts and not template.start:
        shutil.rmtree(temporary)
        raise ArenaError(
            f"the chat template does not write {chat.tokenizer.bos_token!r}, and programs put it before every prompt, "
            "because the tokenizer does",
            where=str(folder),
            hint="use `--to gguf` with a server that renders the chat template itself",
        )
    go = template.to_go(with_start=not starts)
    write_text(temporary / "Modelfile", modelfile(file.name, go, stop_texts(chat)))
    move_into_place(temporary, out)
    return compared


def modelfile(file: str, template: str, stops: list[str]) -> str:
    """Return a Modelfile.

    Example:
        >>> print(modelfile("m.gguf", "{{ .Prompt }}", ["<|im_end|>"]), end="")
        FROM ./m.gguf
        TEMPLATE \"\"\"{{ .Prompt }}\"\"\"
        PARAMETER stop "<|im_end|>"
    """
    lines = [f"FROM ./{file}", f'TEMPLATE """{template}"""', *(f'PARAMETER stop "{stop}"' for stop in stops)]
    return "\n".join(lines) + "\n"


def stop_texts(chat: Chat) -> list[str]:
    """Return the tokens that end an answer, as text."""
    return [str(token) for token in chat.tokenizer.convert_ids_to_tokens(chat.stop_ids)]


def adds_start(file: Path) -> bool:
    """Whether programs that read the GGUF file put the token for the start of a text before every prompt."""
    reader = Reader(file)
    field = reader.get_field("tokenizer.ggml.add_bos_token")
    if field is not None:
        return bool(field.contents())
    model = reader.get_field("tokenizer.ggml.model")
    return (
        model is not None and model.contents() == "llama"
    )  # llama.cpp's default for SentencePiece vocabularies
