"""The command that serves a model with an engine's own OpenAI-compatible server."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from arena_learning.core import ArenaError, Paths, read_json, write_json
from arena_learning.engines import Chat, check_folder, weights_digest
from arena_learning.engines.gguf import GgufType, export_folder
from arena_learning.params import Params
from arena_learning.registry.export import GENERATION, generation_with_stops
from arena_learning.registry.ollama import stop_texts

PROGRAMS = {"vllm": "vllm", "llama.cpp": "llama-server", "openvino": "ovms"}
# What serves first, by the engine that has served the model so far.
_ORDER = {"vllm": ("vllm", "llama.cpp", "openvino"), "openvino": ("openvino", "llama.cpp", "vllm")}
_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "f16": "float16"}


class ServeCommand(NamedTuple):
    """A command that serves a model.

    Attributes:
        engine: ``vllm``, ``llama.cpp`` or ``openvino``.
        words: the program and its arguments.
        needs: the GGUF file that must exist first; None if the engine reads the folder.
        notes: what the user should know.
    """

    engine: str
    words: list[str]
    needs: Path | None
    notes: list[str]


def serve_command(
    name: str, params: Params, paths: Paths, *, engine: str = "", host: str = "127.0.0.1", port: int = 8000
) -> ServeCommand:
    """Return the command that serves the model of a round, or the base, under its name.

    Args:
        name: a round, or ``base``.
        params: how the model was served so far.
        paths: the project.
        engine: ``vllm``, ``llama.cpp`` or ``openvino``; empty: the first that is installed.
        host: the address to listen on.
        port: the port to listen on.

    Raises:
        ArenaError: there is no such model, or no server is installed.
    """
    folder = paths.model(name)
    check_folder(folder)
    chosen = engine or _installed(params)
    chat = Chat(folder)
    stops = ", ".join(stop_texts(chat))
    program = _program(chosen) or PROGRAMS[chosen]
    if chosen == "vllm":
        words = _vllm(program, name, chat, params, paths)
        return ServeCommand(chosen, [*words, "--host", host, "--port", str(port)], None, [f"stops: {stops}"])
    file = served_gguf(name, params, paths)
    if chosen == "llama.cpp":
        template = ["--jinja", "--chat-template-file", str(_template_file(chat, paths))]
        if chat.settings.kwargs:
            template += ["--chat-template-kwargs", json.dumps(dict(chat.settings.kwargs))]
        words = [program, "-m", str(file), "--alias", name, *template, "--host", host, "--port", str(port)]
        return ServeCommand(
            chosen, words, file, [f"stops: {stops} (llama.cpp knows them from the GGUF file)"]
        )
    words = [program, "--rest_bind_address", host, "--rest_port", str(port), "--task", "text_generation"]
    words += [
        "--model_repository_path",
        str(file.parents[2]),
        "--source_model",
        f"{file.parents[1].name}/{name}",
    ]
    words += ["--gguf_filename", file.name, "--model_name", name]
    note = f"stops: {stops} (OpenVINO knows them from the GGUF file); the address ends with /v3"
    return ServeCommand(chosen, words, file, [note])


def served_gguf(name: str, params: Params, paths: Paths) -> Path:
    """Return the GGUF file that is served; its folder's name has the digest of the weights."""
    digest = weights_digest(paths.model(name))[:24]
    return paths.scratch / "serving" / f"{digest}-{_gguf_type(params)}" / name / f"{name}.gguf"


def make_served_gguf(name: str, params: Params, paths: Paths) -> Path:
    """Write the GGUF file that is served, unless it exists, and return it.

    Raises:
        ArenaError: the model cannot be exported.
    """
    file = served_gguf(name, params, paths)
    if not file.is_file():
        export_folder(paths.model(name), file, _gguf_type(params))
    return file


def _gguf_type(params: Params) -> GgufType:
    return next((kind for kind in get_args(GgufType) if kind == params.serving.dtype), "q8_0")


def _installed(params: Params) -> str:
    order: Sequence[str] = _ORDER.get(params.serving.engine, tuple(PROGRAMS))
    for engine in order:
        if _program(engine):
            return engine
    known = ", ".join(f"{program} ({engine})" for engine, program in PROGRAMS.items())
    raise ArenaError(
        f"no server is installed: none of {known} is on the PATH",
        hint="install one (docs/guide/shipping.md), or name one with --engine to see its command",
    )


def _program(engine: str) -> str:
    """Return the path of an engine's server: beside this Python, or on the PATH."""
    beside = Path(sys.executable).parent / PROGRAMS[engine]
    return str(beside) if beside.is_file() else (shutil.which(PROGRAMS[engine]) or "")


def _vllm(program: str, name: str, chat: Chat, params: Params, paths: Paths) -> list[str]:
    """Return vLLM's command; its stops are those of a generation_config.json, so it may need one with all of them."""
    dtype = _DTYPES.get(params.serving.dtype, "auto")
    words = [program, "serve", str(chat.folder), "--served-model-name", name, "--dtype", dtype]
    words += ["--chat-template", str(_template_file(chat, paths))]
    if chat.settings.kwargs:
        words += ["--default-chat-template-kwargs", json.dumps(dict(chat.settings.kwargs))]
    config = generation_with_stops(chat.folder, chat.stop_ids)
    own = chat.folder / GENERATION
    if not own.is_file() or read_json(own) != config:
        folder = paths.scratch / "serving" / f"{name}-stops"
        write_json(folder / GENERATION, config)
        words += ["--generation-config", str(folder)]
    return words


def _template_file(chat: Chat, paths: Paths) -> Path:
    """Return a file with the model's chat template; it is written if the folder has it elsewhere."""
    own = chat.folder / "chat_template.jinja"
    if own.is_file() and own.read_text(encoding="utf-8") == chat.template:
        return own
    file = paths.scratch / "serving" / f"{chat.folder.name}-stops" / "chat_template.jinja"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(chat.template, encoding="utf-8")
    return file
