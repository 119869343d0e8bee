"""The check of scores that an evaluation harness wrote to files: none may fall below the champion's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, Paths, read_json
from arena_learning.params import ExternalScores, Params
from arena_learning.registry.checks import Check

_EXAMPLE = 'write {"results": {"gsm8k": {"exact_match,strict-match": 0.31}}} or {"gsm8k": 0.31}'


class HarnessScore(NamedTuple):
    """One score: its value, and whether more is better."""

    value: float
    higher_is_better: bool


def external_checks(candidate: str, against: str, params: Params, paths: Paths) -> list[Check]:
    """Return a check for each score of the champion's file; an empty list without ``gate.external.file``.

    Raises:
        ArenaError: a file exists and cannot be read, or lies outside the project.
    """
    given = params.gate.external
    if not given.file:
        return []
    files = {name: _file(name, params, paths) for name in (candidate, against)}
    absent = [f"no scores of {name}: {file}" for name, file in files.items() if not file.is_file()]
    if absent:
        said = f"{'; '.join(absent)}; evaluate the model with the harness, or empty gate.external.file"
        return [Check("external", False, said)]
    new, old = (read_harness_scores(files[name]) for name in (candidate, against))
    return [_compare(name, new.get(name), old[name], given, against) for name in sorted(old)]


def read_harness_scores(file: Path) -> dict[str, HarnessScore]:
    """Return the scores of a harness's file by ``task/metric``, or of a plain map by name.

    Standard errors, sample sizes and names are left out.

    Raises:
        ArenaError: the file is malformed, or holds no score.
    """
    content = read_json(file)
    results = content.get("results", content) if isinstance(content, dict) else None
    if not isinstance(results, Mapping):
        raise ArenaError("expected a JSON object of scores", where=str(file), hint=_EXAMPLE)
    directions = content.get("higher_is_better") or {}
    found: dict[str, HarnessScore] = {}
    for task, value in results.items():
        metrics = value if isinstance(value, Mapping) else {"": value}
        for key, score in metrics.items():
            metric, _, rest = str(key).partition(",")
            if not _is_score(metric, score):
                continue
            name = "/".join(part for part in (str(task), metric, "" if rest == "none" else rest) if part)
            better = directions.get(task, {}) if isinstance(directions, Mapping) else {}
            more = better.get(metric, True) if isinstance(better, Mapping) else True
            found[name] = HarnessScore(float(score), more is not False)
    if not found:
        raise ArenaError("no score in the file", where=str(file), hint=_EXAMPLE)
    return found


def _is_score(metric: str, value: Any) -> bool:
    beside = metric.endswith("_stderr") or metric in ("alias", "name", "sample_len")
    return (
        not beside and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    )


def _file(name: str, params: Params, paths: Paths) -> Path:
    given = params.gate.external.file.replace("{model}", name)
    return paths.user_file(given, "gate.external.file", outside=params.files_outside)


def _compare(
    name: str, new: HarnessScore | None, old: HarnessScore, given: ExternalScores, against: str
) -> Check:
    key = f"external/{name}"
    if new is None:
        return Check(key, False, f"{name}: no score, of {against} {old.value:g}", before=old.value)
    task, _, rest = name.partition("/")
    metric = rest.partition("/")[0]
    listed = (given.tolerances.get(one) for one in (name, f"{task}/{metric}", task))
    limit = next((one for one in listed if one is not None), given.tolerance)
    fall = old.value - new.value if old.higher_is_better else new.value - old.value
    passed = fall <= limit + 1e-12
    end = f"{'within' if passed else 'worse by more than'} the tolerance of {limit:g}"
    said = f"{name}: {new.value:g}, of {against} {old.value:g}: {end}"
    return Check(key, passed, said, new.value, old.value, limit)
