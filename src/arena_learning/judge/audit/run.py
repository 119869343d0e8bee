"""`arena audit-judge`: select the judges, audit them, write and print the table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arena_learning.core import (
    ArenaError,
    Paths,
    Table,
    canonical,
    read_json,
    suggest,
    table_text,
    write_json,
)
from arena_learning.judge.audit.agreement import audit_judge
from arena_learning.judge.audit.labelled import SIDES, Labelled, read_labelled
from arena_learning.judge.build import open_judge
from arena_learning.params import JudgeParams, Params
from arena_learning.store import Account, Store

BASELINE = "longer"
# A jury is audited by itself where all its members are. The other kinds need what a labelled pair lacks: a rubric, a
# reference answer of the pool, a recorded verdict.
AUDITED = ("llm", "reward", "longer")
_RATES = ("tie_rate", "flip_rate", "first_position_share", "longer_wins", "unscored_rate")


def audit_judges(
    file: Path,
    names: Sequence[str],
    params: Params,
    paths: Paths,
    *,
    fresh: bool = False,
    sample: int = 0,
    calibrate: bool = False,
) -> dict[str, Any]:
    """Audit judges on a file of labelled pairs and write the figures to ``reports/audits``.

    Args:
        file: see `labelled.read_labelled`.
        names: judges in params.yaml; if empty, all that can score a labelled pair. The baseline is always added.
        params: the current parameters.
        paths: the project's paths.
        fresh: judge again the games that are in the store.
        sample: the number of pairs to draw, by the seed of params.yaml; 0 for all.
        calibrate: fit the reward judges' map to the labels (``calibration``: center and scale for params.yaml).

    Returns:
        ``labelled`` (the file's name, with the sample's size), ``digest`` of the pairs, ``pairs``, and ``judges``: by
        name, the result of `agreement.audit_judge` with the judge's ``kind``.

    Raises:
        ArenaError: an unknown judge, a malformed file, or a judge that cannot be opened.
    """
    labelled = read_labelled(file, sample=sample, seed=params.seed)
    chosen = list(names) or [n for n in params.judges if n != BASELINE and _can_audit(n, params)]
    for name in chosen:
        if name not in params.judges and name != BASELINE:
            raise ArenaError(f"no judge '{name}'", where="--judge", hint=suggest(name, params.judges))
    judges = {**params.judges, BASELINE: JudgeParams(kind="longer")}
    with_baseline = params.model_copy(update={"judges": judges})
    found = {}
    for name in dict.fromkeys([*chosen, BASELINE]):
        judge = open_judge(name, with_baseline, paths)
        try:
            with Store(paths.store, fresh=fresh, account=Account("audit-judge", params)) as store:
                found[name] = audit_judge(judge, labelled, store, seed=params.seed)
            found[name]["kind"] = judges[name].kind
            if calibrate and judges[name].kind == "reward":
                found[name]["calibration"] = _fitted(judge, labelled)
        finally:
            judge.close()
    sampled = len(labelled.pairs) if sample else 0
    stem = file.name.split(".")[0] + (f"-{sampled}" if sampled else "")
    rows = canonical([pair.model_dump(mode="json") for pair in labelled.pairs])
    digest = hashlib.sha256(rows.encode()).hexdigest()[:16]
    result = {"labelled": stem, "digest": digest, "pairs": len(labelled.pairs), "judges": found}
    if labelled.passed:
        result["passed_over"] = dict(labelled.passed)
    kept = _earlier(paths.audit(stem), digest) | {n: _without_cost(j) for n, j in found.items()}
    write_json(paths.audit(stem), {**result, "judges": kept})
    return result


def flat_figures(result: Mapping[str, Any], judge: str) -> dict[str, float]:
    """Return a judge's figures as ``name: number`` for a tracker; interval ends are ``_lower`` and ``_upper``."""
    flat: dict[str, float] = {}
    for name, value in result["judges"][judge]["all"].items():
        if isinstance(value, dict) and "value" in value:
            found = {name: value["value"], f"{name}_lower": value["lower"], f"{name}_upper": value["upper"]}
        else:
            found = {name: value}
        flat |= {key: float(number) for key, number in found.items() if isinstance(number, int | float)}
    return flat


def audit_table(result: dict[str, Any]) -> str:
    """Return the audit as a table: a row for each judge, followed by its sources and categories."""
    head = ["judge", "pairs", "agreement", "decided", "kappa", "ties", "flips", "first", "longer", "unscored"]
    rows = []
    for name, judge in result["judges"].items():
        rows.append([name, *_cells(judge["all"])])
        for kind in ("sources", "categories"):
            rows += [[f"  {group}", *_cells(part)] for group, part in judge[kind].items()]
    table = Table([*head, "tokens", "s/game"], rows)
    votes = [_votes(name, judge["all"]) for name, judge in result["judges"].items()]
    passed = [
        f"passed over: {count} rows, {reason}" for reason, count in result.get("passed_over", {}).items()
    ]
    head_line = f"{result['labelled']}: {result['pairs']} labelled pairs"
    return "\n".join([head_line, *passed, table_text(table, rule=False), *filter(None, votes)])


def _votes(name: str, part: dict[str, Any]) -> str:
    """Return how the members of a jury voted, as a line; nothing for another judge."""
    if part.get("members_missing") is None:
        return ""
    against, spread = part["members_against"], part["members_spread"]
    said = "no game was scored" if spread is None else f"scores {spread:.1f} apart"
    return (
        f"{name}, its members: {'-' if against is None else f'{against:.0%}'} of the votes against the verdict, "
        f"{part['members_missing']:.0%} without a score, {said}"
    )


def _cells(part: dict[str, Any]) -> list[str]:
    shares = [_interval(part["agreement"]), _interval(part["agreement_decided"])]
    value = part["kappa"]["value"]
    kappa = "-" if value is None else f"{value:.2f}"
    rates = ["-" if part[name] is None else f"{part[name]:.0%}" for name in _RATES]
    return [
        str(part["pairs"]),
        *shares,
        kappa,
        *rates,
        f"{part['tokens_per_game']:.0f}",
        f"{part['seconds_per_game']:.2g}",
    ]


def _interval(share: dict[str, float | None]) -> str:
    if share["value"] is None or share["lower"] is None or share["upper"] is None:
        return "-"
    return f"{share['value']:.1%} ({share['lower']:.0%}-{share['upper']:.0%})"


def _can_audit(name: str, params: Params) -> bool:
    return all(params.judges[one].kind in AUDITED for one in params.single_judges(name))


def _earlier(path: Path, digest: str) -> dict[str, Any]:
    """Return earlier results on the same pairs, so that judges can be audited one at a time."""
    before = read_json(path) if path.is_file() else {}
    return dict(before.get("judges", {})) if before.get("digest") == digest else {}


def _fitted(judge: Any, labelled: Labelled) -> dict[str, float]:
    """Return the center and scale that fit a reward judge to the labels."""
    from arena_learning.judge.reward import calibrate

    instructions = labelled.instructions.values()  # one a pair, in the pairs' order
    rewards = [[judge.reward(i, labelled.responses[i.id, side]) for side in SIDES] for i in instructions]
    labels = [{"model_a": 1.0, "model_b": 0.0, "tie": 0.5}[pair.label] for pair in labelled.pairs]
    return {
        key: round(value, 4)
        for key, value in calibrate(np.array(rewards), np.array(labels))._asdict().items()
    }


def _without_cost(judge: dict[str, Any]) -> dict[str, Any]:
    """Return the figures that do not change in a second run."""
    return {key: value for key, value in judge.items() if key != "judged"}
