"""Checks of what a user brings: endpoints, instructions, recorded answers."""

from __future__ import annotations

import os
from collections.abc import Iterator

from arena_learning.core import ArenaError, Paths
from arena_learning.params import JudgeParams, Opponent, Params
from arena_learning.pool import read_recorded
from arena_learning.project.check_data import check_enough, check_scorable, is_large
from arena_learning.project.endpoints import Listed, list_models, unknown_model
from arena_learning.project.finding import DoctorFinding


def check_endpoints(params: Params) -> Iterator[DoctorFinding]:
    """Ask each endpoint for its models, each address once: it may be down, refuse the key, or not know the model."""
    listed: dict[tuple[str, str], Listed] = {}
    places: dict[str, Opponent | JudgeParams] = {f"opponents.{n}": one for n, one in params.opponents.items()}
    places |= {f"judges.{name}": one for name, one in params.judges.items()}
    for place, one in places.items():
        if one.engine != "openai" or (one.api_key_env and one.api_key_env not in os.environ):
            continue
        address = (one.base_url, one.api_key_env)
        found = listed[address] = listed.get(address) or list_models(one, one.model)
        what = found.trouble or unknown_model(one.model, found.names)
        where = f"{place} ({one.base_url})"
        if what:
            yield DoctorFinding("fail" if found.refused else "warn", f"{where}: {what}", found.hint)
        else:
            yield DoctorFinding("ok", f"{where}: it answers and lists '{one.model}'")


def check_answers(params: Params, paths: Paths) -> Iterator[DoctorFinding]:
    """Compare what the instructions have with what judges and recorded opponents need."""
    if is_large(params, paths):
        yield DoctorFinding("ok", "the pool is too large to be read here")
        return
    try:
        instructions = check_enough(params, paths)
        check_scorable(params, paths, instructions)
    except ArenaError as error:
        yield DoctorFinding("fail", f"{error.where}: {error.what}", error.hint)
        return
    ids = {one.id for one in instructions}
    for name, one in params.opponents.items():
        file = paths.root / one.model
        if one.engine != "recorded" or not file.is_file():
            continue
        try:
            answered = read_recorded(file).keys()
        except ArenaError as error:
            yield DoctorFinding("fail", f"opponents.{name}: {error.where}: {error.what}", error.hint)
            continue
        if lacking := len(ids - answered):
            yield DoctorFinding(
                "fail" if lacking == len(ids) else "warn",
                f"opponents.{name}: {one.model} answers {len(ids) - lacking} of {len(ids)} instructions",
                f"give an answer to each id of {params.pool.instructions}: those that are drawn must have one",
            )
