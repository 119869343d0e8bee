"""From a profile to params.yaml: engine and type are resolved once, here, for the machine at hand."""

from __future__ import annotations

import importlib.util
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from arena_learning.core import ArenaError, suggest, write_text
from arena_learning.params import check_rounds, parse_params


class ServingChoice(NamedTuple):
    """How the models are served here, and why."""

    engine: str
    dtype: str
    reason: str


def has_cuda() -> bool:
    """Return whether this machine has a GPU that torch can use."""
    import torch

    return torch.cuda.is_available()


def choose_serving(*, cuda: bool) -> ServingChoice:
    """Choose engine and type by what the machine and the environment have."""
    if cuda and importlib.util.find_spec("vllm"):
        return ServingChoice("vllm", "bf16", "a GPU and vllm are here")
    if cuda:
        return ServingChoice("transformers", "bf16", "a GPU is here, vllm is not installed")
    if importlib.util.find_spec("openvino_genai"):
        return ServingChoice("openvino", "q8_0", "no GPU; openvino-genai is the fastest engine on a CPU")
    return ServingChoice("transformers", "fp32", "no GPU, and openvino-genai is not installed")


def profile_names(folder: Path) -> list[str]:
    """Return the names of the profiles in ``folder``."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def write_params(
    profile: str, folder: Path, out: Path, serving: ServingChoice, *, force: bool
) -> ServingChoice:
    """Write ``out`` from a profile with the engine resolved; comments are kept. Return what was resolved.

    A profile that asks for vllm keeps it wherever vllm is installed: on a CPU nobody would choose it otherwise.

    Raises:
        ArenaError: no such profile, ``out`` exists and ``force`` is off, or the profile is not valid.
    """
    if profile not in profile_names(folder):
        raise ArenaError(
            f"no profile '{profile}'", where=str(folder), hint=suggest(profile, profile_names(folder))
        )
    if out.exists() and not force:
        raise ArenaError("the file is there already", where=str(out), hint="use --force to replace it")
    yaml = YAML()
    yaml.width = 120
    yaml.preserve_quotes = True
    tree: Any = yaml.load((folder / f"{profile}.yaml").read_text(encoding="utf-8"))
    if tree["serving"]["engine"] == "vllm" and importlib.util.find_spec("vllm"):
        serving = ServingChoice(
            "vllm", str(tree["serving"]["dtype"]), "the profile asks for it and it is installed"
        )
    tree["serving"]["engine"], tree["serving"]["dtype"] = serving.engine, serving.dtype
    text = StringIO()
    yaml.dump(tree, text)
    check_rounds(parse_params(YAML(typ="safe").load(text.getvalue()), f"{profile}.yaml"))
    write_text(out, text.getvalue())
    return serving
