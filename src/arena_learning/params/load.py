"""Reads params.yaml; all errors are reported at once, unknown keys with a suggestion."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from arena_learning.core import ArenaError, read_yaml, secrets_in, suggest
from arena_learning.params.names import merging, one_metric
from arena_learning.params.section import NONE
from arena_learning.params.training import WINNER
from arena_learning.params.whole import Params


def load_params(path: Path) -> Params:
    """Read params.yaml.

    Raises:
        ArenaError: the file is missing, not YAML, or has a duplicate key; else one error with all unknown keys, bad
            values and unknown names.

    Example::

        params = load_params(find_project().params)
        print(params.judge.name, params.ordered_rounds)
    """
    try:
        raw = read_yaml(path)
    except FileNotFoundError:
        raise ArenaError("no such file", where=str(path), hint="create one with `arena init`") from None
    if not isinstance(raw, dict):
        raise ArenaError("expected a mapping of keys", where=str(path), hint="create one with `arena init`")
    return parse_params(raw, str(path))


def parse_params(raw: dict[str, Any], where: str) -> Params:
    """Check parameters that are already parsed; ``where`` names their source in errors. Raises as `load_params`."""
    if secret := list(secrets_in(raw)):
        raise ArenaError(
            f"secret found at {', '.join(secret)}: this file is in git, and DVC copies parameters to dvc.lock",
            where=where,
            hint="put the key in an environment variable, name that in api_key_env, and replace a key that was shared",
        )
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise ArenaError("\n  " + "\n  ".join(_problems(error)), where=where) from None
    problems = _dangling(params)
    if problems:
        raise ArenaError("\n  " + "\n  ".join(problems), where=where)
    return params


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False):
        place = [str(p) for p in problem["loc"] if p != "[key]"]
        if problem["type"] == "extra_forbidden":
            known = _known_keys(place[:-1])
            lines.append(f"{'.'.join(place)}: unknown key; {suggest(place[-1], known)}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            message += _meant(problem)
            value = problem.get("input")
            told = isinstance(value, str | int | float) and place[-1:] != ["api_key_env"]  # a key, by mistake
            shown = f" (it is {value!r})" if told else ""
            lines.append(f"{'.'.join(place) or 'params'}: {message}{shown}")
    return lines


def _meant(problem: Mapping[str, Any]) -> str:
    """Return which of the known words a misspelt one may be, or nothing."""
    value = problem.get("input")
    if problem["type"] != "literal_error" or not isinstance(value, str):
        return ""
    known = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
    close = get_close_matches(value, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _known_keys(place: list[str]) -> list[str]:
    """Return the keys of the section at ``place``."""
    section: Any = Params
    for key in place:
        field = section.model_fields.get(key)
        if field is None:
            continue  # a name in a dict: ``section`` is already the type of its values
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        section = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), section)
    return list(section.model_fields)


def _dangling(params: Params) -> list[str]:
    problems = []
    for place, name in (
        ("judge.name", params.judge.name),
        *(("evaluate.judges", j) for j in params.evaluate.judges),
    ):
        if name not in params.judges:
            problems.append(f"{place}: no judge '{name}'; {suggest(name, params.judges)}")
    problems += [*_gate(params), *_difficulty(params), *_unpriced(params)]
    problems += [
        f"dataset.opponents: no opponent '{name}'; {suggest(name, params.opponents)}"
        for name in params.dataset.opponents
        if name not in params.opponents
    ]
    problems += [
        f"dataset.opponents: '{name}' has role labels and battles nobody; remove it"
        for name in params.dataset.opponents
        if name in params.opponents and params.opponents[name].role == "labels"
    ]
    problems += _answers(params)
    if params.dataset.pairs == "samples" and params.battle.samples < 2:
        problems.append(
            f"dataset.pairs: samples are paired, and battle.samples is {params.battle.samples}; set it to 2 or more"
        )
    juries = _juries(params)
    problems += juries
    if not juries and params.judge.name in params.judges and any(map(params.samples_of, params.rounds)):
        problems += [
            f"judge.name: '{name}' has recorded verdicts alone, and none on samples; name another judge"
            for name in params.single_judges(params.judge.name)
            if params.judges[name].kind == "replay"
        ]
    reserved = {"base", NONE}
    problems += merging({"base": reserved, "opponents": params.opponents, "rounds": params.rounds})
    problems += [*merging({"judges": params.judges}), *one_metric(params.judges)]
    for kind, names in (("opponents", params.opponents), ("rounds", params.rounds)):
        problems += [f"{kind}.{name}: this name is reserved" for name in names if name in reserved]
    problems += [
        f"rounds.{name}: an opponent has this name" for name in params.rounds if name in params.opponents
    ]
    if params.evaluate.anchor not in params.contestants:
        problems.append(
            f"evaluate.anchor: no contestant '{params.evaluate.anchor}'; "
            f"{suggest(params.evaluate.anchor, params.contestants)}"
        )
    return problems


def _answers(params: Params) -> list[str]:
    """Return what is wrong with the opponent whose answers are learnt: it must be there, and answer the rounds."""
    name = params.dataset.answers
    if name == WINNER:
        return []
    if name not in params.opponents:
        return [f"dataset.answers: no opponent '{name}'; {suggest(name, (WINNER, *params.opponents))}"]
    if params.opponents[name].role == "labels":
        return [
            f"dataset.answers: '{name}' has role labels and answers no round with a target; give it role contestant"
        ]
    return []


def _juries(params: Params) -> list[str]:
    """Return what is wrong with the members of juries."""
    problems = []
    for name, jury in params.judges.items():
        for member in jury.members:
            place = f"judges.{name}.members"
            if member == name:
                problems.append(f"{place}: the jury cannot be a member of itself; remove '{name}'")
            elif member not in params.judges:
                problems.append(f"{place}: no judge '{member}'; {suggest(member, params.judges)}")
            elif params.judges[member].kind == "jury":
                problems.append(f"{place}: '{member}' is a jury itself; name its members instead")
    return problems


def _difficulty(params: Params) -> list[str]:
    """Return what is wrong with the judge that rates difficulties."""
    name = params.pool.difficulty_judge
    if not name:
        return []
    if name not in params.judges:
        return [f"pool.difficulty_judge: no judge '{name}'; {suggest(name, params.judges)}"]
    kind = params.judges[name].kind
    wrong = f"pool.difficulty_judge: '{name}' is a judge of kind {kind}, and only an llm can rate an instruction alone"
    return [] if kind == "llm" else [wrong]


def _gate(params: Params) -> list[str]:
    """Return what is wrong with the judge of the gate: it must judge the test set, and must not have taught."""
    judge = params.gate.judge
    if judge == NONE:
        return []
    if judge not in params.evaluate.judges:
        return [
            f"gate.judge: '{judge}' does not judge the test set; {suggest(judge, params.evaluate.judges)}"
        ]
    if judge in params.judges and params.independence(judge) == "teacher":
        rounds = ", ".join(params.teachers()[judge])
        return [
            f"gate.judge: the training learnt from '{judge}' ({rounds}); name a judge that taught nothing"
        ]
    return []


def _unpriced(params: Params) -> list[str]:
    """Return the models behind endpoints without a price, if money is limited."""
    if params.budget.money is None:
        return []
    served = {
        f"opponents.{name}": one.model for name, one in params.opponents.items() if one.engine == "openai"
    }
    served |= {f"judges.{name}": one.model for name, one in params.judges.items() if one.engine == "openai"}
    return [
        f"prices: no price for '{model}' ({place}), and budget.money is set; add it as {{input: ..., output: ...}}, or "
        "0 for both if it costs nothing"
        for place, model in served.items()
        if model not in params.prices
    ]
