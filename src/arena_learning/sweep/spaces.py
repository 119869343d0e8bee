"""The default search spaces, and those of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from arena_learning.core import ArenaError, read_yaml
from arena_learning.judge import shipped_templates
from arena_learning.params import Params

_RATES = (0.25, 0.5, 1.0, 2.0)  # multiples of the current learning rate


def selection_space(name: str, params: Params) -> dict[str, Any]:
    """Return a round's space: threshold, pair rule, rows, length cap, opponents, and its method's hyper-parameters."""
    method = params.rounds[name].method
    trained = f"train.{method}"
    rate = getattr(params.train, method).learning_rate
    space: dict[str, Any] = {
        f"rounds.{name}.threshold": [0.5, 1.0, 2.0, 3.0],
        "dataset.max_rows": [0, 32],
        "dataset.max_words": [0, 60],
        "dataset.opponents": [[], *([o] for o in sorted(params.opponents))],
        f"{trained}.learning_rate": [rate * times for times in _RATES],
    }
    if params.rounds[name].supervised:
        return space | {f"{trained}.epochs": [2, 3, 4]}
    own = (
        {f"{trained}.beta": [0.1, 0.3, 0.5]} if method == "dpo" else {f"{trained}.kl": [0.05, 0.1, 0.2, 0.4]}
    )
    # Samples are there to choose from only where the round draws them already.
    pairs = ["all", "target", *(["samples"] if params.samples_of(name) else [])]
    return space | {"dataset.pairs": pairs} | own


def judge_space(name: str, params: Params) -> dict[str, Any]:
    """Return a judge's space, by its kind.

    An llm judge's templates differ in the order of explanation and scores and in the verdict's form. Ways of reading
    scores that the engine does not support are left out.
    """
    judge, own = params.judges[name], f"judges.{name}"
    margin: dict[str, Any] = {f"{own}.tie_margin": [0.0, 0.25, 0.5, 1.0]}
    if judge.kind == "rubric":
        cosines = {f"{own}.cosine_none": [0.2, 0.3, 0.4], f"{own}.cosine_full": [0.6, 0.72, 0.85]}
        return {f"{own}.points": ["all", "content"], **cosines, **margin}
    if judge.kind == "reward":
        return {f"{own}.scale": [judge.scale * times for times in (0.25, 1.0, 4.0)], **margin}
    if judge.kind == "jury":
        counts = range(1, len(judge.members) + 1)
        return {f"{own}.combine": ["mean", "majority"], f"{own}.quorum": list(counts), **margin}
    if judge.kind != "llm":
        return margin
    scores = ["text", "expected"] if judge.engine in ("transformers", "vllm") else ["text"]
    return {
        f"{own}.template": shipped_templates(),
        f"{own}.scores": scores,
        f"{own}.temperature": [0.0, 0.7],
        "judge.disagree": ["average", "tie"],
    }


def chosen_space(default: dict[str, Any], file: Path | None, varied: Sequence[str]) -> dict[str, Any]:
    """Return the space that the command line asks for.

    Args:
        default: the space without ``file`` and ``varied``.
        file: a YAML mapping of paths to values, which replaces the default.
        varied: ``PATH=VALUES`` in YAML, which replace the default or are added to the file.

    Raises:
        ArenaError: the file is not a mapping, or an entry is malformed.
    """
    space = {} if file or varied else dict(default)
    if file:
        try:
            found = read_yaml(file)
        except FileNotFoundError:
            raise ArenaError("no such file", where=str(file), hint="check the path after --space") from None
        if not isinstance(found, dict):
            raise ArenaError(
                f"expected a mapping of keys of params.yaml to values, found {type(found).__name__}",
                where=str(file),
            )
        space |= {str(path): values for path, values in found.items()}
    for entry in varied:
        path, equals, values = entry.partition("=")
        try:
            space[path.strip()] = yaml.safe_load(values)
        except yaml.YAMLError:
            equals = ""
        if not equals or space.get(path.strip()) is None:
            raise ArenaError(
                f"'{entry}' is not PATH=VALUES",
                where="--vary",
                hint="write it like --vary 'train.dpo.beta=[0.1, 0.3]'",
            )
    return space
