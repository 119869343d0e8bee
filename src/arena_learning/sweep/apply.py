"""Write a sweep's winner into params.yaml: only the values that differ change, comments stay."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from arena_learning.core import ArenaError, Paths, read_json, suggest, write_text
from arena_learning.params import check_rounds, load_params, parse_params
from arena_learning.sweep.space import key_parts, override, value_at


class Applied(NamedTuple):
    """The result of `apply_winner`: the trial, the change of params.yaml (a unified diff), and warnings."""

    trial: int
    diff: str
    warnings: list[str]


def apply_winner(
    study: str, paths: Paths, *, trial: int | None = None, write: bool = True, force: bool = False
) -> Applied:
    """Write a sweep's winner into params.yaml.

    Args:
        study: the study's name, or a beginning that no other study shares.
        paths: the project.
        trial: the trial to apply; by default the winner.
        write: write the file; else only return the change.
        force: apply the trial even if the other half did not find it better than the current parameters.

    Raises:
        ArenaError: no such report or trial, or the winner was not confirmed.
    """
    report = read_json(find_report(study, paths))
    number, values = _chosen(report, trial)
    warnings = _doubts(report, number, force=force or not write)
    old = paths.params.read_text(encoding="utf-8")
    new = changed(old, values, paths.params)
    diff = "".join(
        difflib.unified_diff(
            old.splitlines(keepends=True),
            new.splitlines(keepends=True),
            "params.yaml",
            "params.yaml (winner)",
            n=1,
        )
    )
    if write and diff:
        write_text(paths.params, new)
    return Applied(number, diff, warnings)


def find_report(study: str, paths: Paths) -> Path:
    """Return the report file of the sweep that is named ``study`` or that alone begins with it.

    Raises:
        ArenaError: there is none, or there are several.
    """
    exact = paths.sweep_report(study)
    names = sorted(path.stem for path in exact.parent.glob("*.json"))
    if exact.is_file():
        return exact
    found = [name for name in names if name.startswith(study)]
    if len(found) == 1:
        return paths.sweep_report(found[0])
    what = f"several sweeps begin with '{study}'" if found else f"no finished sweep '{study}'"
    hint = (
        f"one of: {', '.join(found)}"
        if found
        else suggest(study, names)
        if names
        else "run `arena sweep` first"
    )
    raise ArenaError(what, where=str(exact.parent), hint=hint)


def changed(text: str, values: Mapping[str, Any], path: Path) -> str:
    """Return the text of a params.yaml with some values changed and everything else unchanged.

    Raises:
        ArenaError: the parameters do not allow the values.
    """
    params = load_params(path)
    wanted = override(params, values)
    yaml = YAML()
    yaml.width = 4096  # keeps lists in flow style on one line
    yaml.preserve_quotes = True
    tree: Any = yaml.load(text)
    for key, value in values.items():
        if value_at(params, key) == value:
            continue
        *sections, last = key_parts(params, key)
        section = tree
        for name in sections:
            section = section.setdefault(name, {})
        if last not in section and len(section):
            # Not after the last key: ruamel attaches what follows it, such as the next section's comment, to that key.
            section.insert(len(section) - 1, last, _as_written(value))
        else:
            section[last] = _as_written(value)
    out = StringIO()
    yaml.dump(tree, out)
    result = out.getvalue()
    again = parse_params(YAML(typ="safe").load(result), str(path))
    if again != wanted:
        raise ArenaError(
            "writing the winner would change other parts of the file", where=str(path), hint="edit it by hand"
        )
    check_rounds(again)
    return result


def _as_written(value: Any) -> Any:
    """Return a value as it should be written: a list in flow style, a number with a decimal point."""
    if isinstance(value, list | tuple):
        items = CommentedSeq(value)
        items.fa.set_flow_style()
        return items
    if isinstance(value, float):
        text = f"{value:.10g}"
        if "e" in text and "." not in text:
            text = text.replace("e", ".0e")
        elif "." not in text:
            text += ".0"
        return YAML().load(text)
    return value


def _chosen(report: Mapping[str, Any], trial: int | None) -> tuple[int, dict[str, Any]]:
    number = report["winner"] if trial is None else trial
    found = next((t for t in report["trials"] if t["number"] == number), None)
    if found is None:
        known = ", ".join(str(t["number"]) for t in report["trials"])
        raise ArenaError(f"no finished trial {number}", where=report["study"], hint=f"one of {known}")
    return number, found["params"]


def _doubts(report: Mapping[str, Any], number: int, *, force: bool) -> list[str]:
    """Return the reasons against applying a trial.

    Raises:
        ArenaError: the other half did not find it better, and ``force`` is not set.
    """
    if number == report["incumbent"]:
        return []
    # A judge's sweep confirms only its winner; a sweep of selection confirms the best few.
    against = report.get("against_current") if number == report["winner"] else None
    if report["kind"] == "selection":
        row = next((r for r in report["confirmed"] if r["trial"] == number), None)
        against = row["against_current"] if row else None
    if number != report["winner"] and against is None:
        one = next(t for t in report["trials"] if t["number"] == number)
        broken = [name for name, value in one.get("constraints", {}).items() if value > 0]
        why = one.get("given_up") or (f"it breaks the limit on {', '.join(broken)}" if broken else "")
        return [
            *([f"this trial is no candidate: {why}"] if why else []),
            "it was not confirmed on the other half",
        ]
    if against is None:
        return ["there were no current parameters to compare with"]
    if against["mean"] <= 0 and not force:
        gain = f"{against['mean']:+.3f}"
        raise ArenaError(
            f"on the confirmation half, trial {number} is no better than the current parameters ({gain})",
            where=report["study"],
            hint="keep the current parameters, or apply it with --force",
        )
    if against["lower"] <= 0:
        return [
            "on the confirmation half, the difference to the current parameters is not significant: "
            f"{against['lower']:+.3f} to {against['upper']:+.3f}"
        ]
    return []
