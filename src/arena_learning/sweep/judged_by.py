"""What verdicts depend on besides the judges' own sections of params.yaml: prompts, weights, members, seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from arena_learning.core import Paths
from arena_learning.engines import weights_digest
from arena_learning.judge import JudgeTemplate
from arena_learning.params import JudgeParams, Params


def judged_by(names: Sequence[str], params: Params, paths: Paths) -> dict[str, Any]:
    """Return what can change the verdicts of some judges though their own sections stay the same, as JSON.

    Empty for judges that need nothing else, such as rubrics.

    Args:
        names: keys of ``judges``.
        params: the parameters.
        paths: the project.

    Raises:
        ArenaError: a template is missing or does not parse.
    """
    members = [one for name in names for one in params.judges[name].members]
    judges = [params.judges[one] for name in names for one in params.single_judges(name)]
    models = {judge.model: model_identity(judge.model, paths) for judge in judges}
    found = {
        "members": {name: params.judges[name].model_dump(mode="json") for name in members},
        "templates": template_identities(judges, paths.root),
        "models": {model: identity for model, identity in models.items() if identity != model},
        "seed": params.seed if any(judge.kind == "llm" for judge in judges) else 0,
    }
    return {key: value for key, value in found.items() if value}


def template_identities(judges: Iterable[JudgeParams], root: Path) -> list[str]:
    """Return name and digest of each prompt of the judges of kind ``llm``.

    Raises:
        ArenaError: a template is missing or does not parse.
    """
    names = [
        name
        for judge in judges
        if judge.kind == "llm"
        for name in (judge.template, *sorted(judge.templates.values()))
    ]
    return [f"{name}@{JudgeTemplate(name, root).digest}" for name in names]


def model_identity(model: str, paths: Paths) -> str:
    """Return the digest of a judge's model if it is a folder of the project, else its name, which identifies it."""
    folder = paths.root / model
    return weights_digest(folder) if model and any(folder.glob("*.safetensors")) else model
