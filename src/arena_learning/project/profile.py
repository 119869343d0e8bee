"""Make params.yaml from a profile: engine and dtype are chosen once, here, for this machine."""

from __future__ import annotations

import importlib.util
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from arena_learning.core import ArenaError, suggest, write_text
from arena_learning.params import check_rounds, parse_params


class ServingChoice(NamedTuple):
    """The engine and dtype for this machine, and the reason."""

    engine: str
    dtype: str
    reason: str


def has_cuda() -> bool:
    """Return whether this machine has a GPU that torch can use."""
    import torch

    return torch.cuda.is_available()


def choose_serving(*, cuda: bool) -> ServingChoice:
    """Choose engine and dtype by the machine and the installed packages."""
    if cuda and importlib.util.find_spec("vllm"):
        return ServingChoice("vllm", "bf16", "there is a GPU, and vllm is installed")
    if cuda:
        return ServingChoice("transformers", "bf16", "there is a GPU, but vllm is not installed")
    if importlib.util.find_spec("openvino_genai"):
        return ServingChoice("openvino", "q8_0", "no GPU; openvino-genai is the fastest engine on a CPU")
    return ServingChoice("transformers", "fp32", "no GPU, and openvino-genai is not installed")


def profile_names(folder: Path) -> list[str]:
    """Return the names of the profiles in ``folder``."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_profile(profile: str, folder: Path, serving: ServingChoice) -> tuple[Any, ServingChoice]:
    """Return a profile's tree with engine and dtype chosen, its comments kept, and the choice.

    A profile that asks for vllm keeps it if vllm is installed; otherwise it would never be chosen on a CPU.

    Raises:
        ArenaError: no such profile.
    """
    if profile not in profile_names(folder):
        raise ArenaError(
            f"no profile '{profile}'", where=str(folder), hint=suggest(profile, profile_names(folder))
        )
    tree: Any = _yaml().load((folder / f"{profile}.yaml").read_text(encoding="utf-8"))
    if tree["serving"]["engine"] == "vllm" and importlib.util.find_spec("vllm"):
        serving = ServingChoice(
            "vllm", str(tree["serving"]["dtype"]), "the profile asks for it and it is installed"
        )
    tree["serving"]["engine"], tree["serving"]["dtype"] = serving.engine, serving.dtype
    return tree, serving


def write_tree(tree: Any, out: Path, where: str) -> None:
    """Check a profile's tree and write it to ``out``; ``where`` names it in errors.

    Raises:
        ArenaError: the parameters or the rounds are invalid; nothing is written then.
    """
    text = StringIO()
    _yaml().dump(tree, text)
    check_rounds(parse_params(YAML(typ="safe").load(text.getvalue()), where))
    write_text(out, text.getvalue())


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 120
    yaml.preserve_quotes = True
    return yaml
