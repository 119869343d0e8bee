"""Exports a model: as a folder, as GGUF, for Ollama, or prepared for a model hub. Only safetensors are read."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import Any, Literal, NamedTuple

from arena_learning.core import (
    ArenaError,
    Paths,
    first_line,
    fresh_beside,
    move_into_place,
    read_json,
    write_json,
    write_text,
)
from arena_learning.engines import FETCHED, NAMED_TEMPLATES, Chat, check_folder
from arena_learning.engines.gguf import GgufType, Reader, export_folder
from arena_learning.params import BASE, Params
from arena_learning.registry.model_card import base_source, model_card
from arena_learning.registry.ollama import write_ollama

Target = Literal["folder", "gguf", "ollama", "hub"]
GENERATION = "generation_config.json"
TOKEN = "HF_TOKEN"
_OWN = "arena_source.json"  # where the base came from on this machine


class ExportedModel(NamedTuple):
    """What was written, and what the user should know or do next."""

    path: Path
    notes: list[str]


def export_model(
    name: str,
    to: Target,
    out: Path | None,
    params: Params,
    paths: Paths,
    *,
    dtype: GgufType,
    licence: str = "",
) -> ExportedModel:
    """Export the model of a round, or the base.

    Args:
        name: a round, or ``base``.
        to: ``folder`` and ``hub``: safetensors, tokenizer, template, stops and a model card; ``gguf``: one file;
            ``ollama``: a folder with the file, a Modelfile and the card.
        out: where to; by default below ``.arena/release``.
        params: for the model card.
        paths: the project.
        dtype: of GGUF's matrices.
        licence: identifier of the model's licence; empty: that of the base model's source, if it says so.

    Raises:
        ArenaError: there is no such model, the place is taken, or the model cannot be exported.
    """
    folder = paths.model(name)
    if name != BASE and name not in params.rounds:
        known = ", ".join([BASE, *params.ordered_rounds])
        raise ArenaError(f"no model '{name}'", where="params.yaml, rounds", hint=f"known: {known}")
    check_folder(folder)
    place = out or paths.scratch / "release" / (f"{name}.gguf" if to == "gguf" else f"{name}-{to}")
    if place.is_file() or (place.is_dir() and any(place.iterdir())):
        raise ArenaError(
            "this exists already", where=str(place), hint="name another place with --out, or remove it"
        )
    found = licence or source_licence(params, paths)
    notes = [] if found else ["the base model's licence is not known: name it with --licence"]
    if to == "gguf":
        return ExportedModel(place, _compared(export_folder(folder, place, dtype)))
    card = model_card(name, found, params, paths)
    if to == "ollama":
        notes += _compared(write_ollama(folder, place, name, dtype))
        write_text(place / "README.md", card)
        create = shlex.join(["ollama", "create", name, "-f", str(place / "Modelfile")])
        return ExportedModel(place, [*notes, create])
    write_folder(folder, place, card)
    return ExportedModel(place, notes)


def write_folder(folder: Path, out: Path, card: str) -> None:
    """Copy a model's safetensors, tokenizer and configuration to ``out``, with all stops and a model card."""
    temporary = fresh_beside(out)
    for pattern in FETCHED:
        for file in folder.glob(pattern):
            if file.name != _OWN:
                shutil.copyfile(file, temporary / file.name)
    if (folder / NAMED_TEMPLATES).is_dir():
        shutil.copytree(folder / NAMED_TEMPLATES, temporary / NAMED_TEMPLATES)
    chat = Chat(folder)
    if not (temporary / "chat_template.jinja").is_file():
        write_text(temporary / "chat_template.jinja", chat.template)
    write_json(temporary / GENERATION, generation_with_stops(folder, chat.stop_ids))
    write_text(temporary / "README.md", card)
    move_into_place(temporary, out)


def generation_with_stops(folder: Path, stops: list[int]) -> dict[str, Any]:
    """Return a folder's generation_config.json, with every token that ends an answer."""
    file = folder / GENERATION
    config: dict[str, Any] = read_json(file) if file.is_file() else {}
    return {**config, "eos_token_id": stops[0] if len(stops) == 1 else stops}


def source_licence(params: Params, paths: Paths) -> str:
    """Return the licence that the base model's source states, in GGUF metadata or a model card's front matter."""
    found = base_source(params, paths)
    if found.kind == "gguf" and found.path is not None:
        field = Reader(found.path).get_field("general.license")
        return str(field.contents()) if field is not None else ""
    card = found.path / "README.md" if found.path is not None else None
    if card is None or not card.is_file():
        return ""
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines()[1:40]
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("license:")), "")


def upload_command(repository: str, folder: Path) -> str:
    """Return the command that uploads a folder to the Hugging Face hub."""
    return shlex.join(["hf", "upload", repository, str(folder)])


def upload(repository: str, folder: Path) -> str:
    """Upload a folder to a private repository of the hub, and return its address.

    Raises:
        ArenaError: there is no token in the environment, or the hub refuses.
    """
    token = os.environ.get(TOKEN, "")
    if not token:
        raise ArenaError(
            f"no token in the environment variable {TOKEN}", hint=f"export {TOKEN}=... and run again"
        )
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        api = HfApi(token=token)
        api.create_repo(repository, private=True, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise ArenaError(
            f"the hub refuses the upload: {first_line(error)}",
            where=repository,
            hint=f"check the name, the rights of the token in {TOKEN}, and the network",
        ) from None


def _compared(compared: bool) -> list[str]:
    return [] if compared else ["not compared with the model: OpenVINO GenAI is not installed"]
