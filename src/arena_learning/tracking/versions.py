"""The decisions of registry.json in MLflow's model registry: versions, and the aliases `candidate` and `champion`.

MLflow shows what the file says and is never asked what holds. A version points to the model's folder; no weights are
copied. When what it should show has changed, the registered model is deleted and made again: MLflow numbers versions in
the order of their making, so the numbers stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, Paths, canonical
from arena_learning.schema import Decision, past_champions
from arena_learning.tracking.mlflow_store import MlflowStore

CANDIDATE, CHAMPION = "candidate", "champion"
_DIGEST, _PROJECT = "arena.digest", "arena.project"
_LAYOUT = 1  # part of the digest; increase it when the same decisions are shown differently
_ABOUT = "The rounds' models that `arena promote` compared with the champion. Made from registry.json."
_TAG_CHARACTERS = 4900  # MLflow refuses a longer tag of a version


class RegisteredVersions(NamedTuple):
    """What the registry shows: the version of each alias (``arena-learning/2``), and what could not be shown."""

    aliases: dict[str, str]
    warnings: list[str]


class _Version(NamedTuple):
    """A version: a round's model with certain weights. ``model`` and ``run`` are empty if MLflow shows no run of it."""

    source: str
    description: str
    tags: dict[str, str]
    model: str
    run: str


def show_versions(
    store: MlflowStore, decisions: Sequence[Decision], name: str, paths: Paths, *, rebuild: bool = False
) -> RegisteredVersions:
    """Make the registered model ``name`` show the decisions; what is right already is left alone.

    Args:
        store: the open store.
        decisions: those of registry.json; if there are none, the registered model is removed.
        name: the registered model, ``gate.name``.
        paths: the project with the models' folders.
        rebuild: make it again although it is right.

    Raises:
        ArenaError: another project has a registered model of this name.
    """
    models = _models(decisions)
    versions = [_version(key, told, store, paths) for key, told in models.items()]
    aliases = _aliases(decisions, list(models))
    digest = hashlib.sha256(canonical([_LAYOUT, versions, aliases]).encode()).hexdigest()
    found = _registered(store, name)
    right = found is not None and found.tags.get(_DIGEST) == digest
    if not versions and found is not None:
        store.client.delete_registered_model(name)
    elif versions and (rebuild or not right):
        if found is not None:
            store.client.delete_registered_model(name)
        _make(store, name, versions, aliases, digest)
    shown = {alias: f"{name}/{number}" for alias, number in aliases.items()}
    return RegisteredVersions(shown, _warnings(past_champions(decisions)[-1:], paths))


def _models(decisions: Sequence[Decision]) -> dict[tuple[str, str], Decision]:
    """Return the models that were compared, by round and weights, in their order, each with its last decision."""
    found: dict[tuple[str, str], Decision] = {}
    for decision in decisions:
        if decision.kind == "promote":
            found[decision.round, decision.weights] = decision
    return found


def _aliases(decisions: Sequence[Decision], models: list[tuple[str, str]]) -> dict[str, int]:
    """Return the version's number of each alias: the model compared last, and the champion."""
    compared = [decision for decision in decisions if decision.kind == "promote"]
    wanted = {CANDIDATE: compared[-1:], CHAMPION: past_champions(decisions)[-1:]}
    return {
        alias: models.index((decision.round, decision.weights)) + 1
        for alias, held in wanted.items()
        for decision in held
    }


def _version(key: tuple[str, str], told: Decision, store: MlflowStore, paths: Paths) -> _Version:
    name, weights = key
    folder = paths.model(name)
    logged = _logged_model(store, weights)
    # A server accepts no path on this machine, but a logged model, which has the path as a tag.
    local = store.uri.startswith("sqlite:")
    source = str(folder) if local or logged is None else f"models:/{logged.model_id}"
    verdict = "promoted" if told.accepted else "refused"
    figures = [str(check["text"]) for check in told.figures.get("checks", {}).values()]
    head = f"{name}, {verdict} {told.when}, beside {told.against}."
    tags = {
        "arena.round": name,
        "arena.path": folder.relative_to(paths.root).as_posix(),
        "arena.weights_sha256": weights,
        "arena.verdict": verdict,
        "arena.against": told.against,
        "arena.decided": told.when,
        "arena.leaderboard_md5": told.leaderboard,
        "arena.reason": "; ".join(told.reasons)[:_TAG_CHARACTERS],
    }
    return _Version(
        source,
        "\n".join([head, "", *(f"- {line}" for line in figures)]),
        {tag: value for tag, value in tags.items() if value},
        logged.model_id if logged else "",
        (logged.source_run_id or "") if logged else "",
    )


def _logged_model(store: MlflowStore, weights: str) -> Any:
    """Return the newest logged model with these weights, or None."""
    found = store.client.search_logged_models(
        experiment_ids=[store.experiment],
        filter_string=f"tags.`arena.weights_sha256` = '{weights}'",
        max_results=1,
    )
    return next(iter(found), None)


def _registered(store: MlflowStore, name: str) -> Any:
    """Return the registered model, or None.

    Raises:
        ArenaError: it belongs to another project.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    try:
        found = store.client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return None
    if found.tags.get(_PROJECT) != store.project:
        raise ArenaError(
            f"MLflow has a registered model '{name}' of another project",
            where="params.yaml, gate.name",
            hint="give this project's model another name",
        )
    return found


def _make(
    store: MlflowStore, name: str, versions: Sequence[_Version], aliases: dict[str, int], digest: str
) -> None:
    """Create the registered model; its digest is set last, so that one without is incomplete."""
    client = store.client
    client.create_registered_model(name, tags={_PROJECT: store.project}, description=_ABOUT)
    for version in versions:
        client.create_model_version(
            name,
            version.source,
            run_id=version.run or None,
            tags=version.tags,
            description=version.description,
            model_id=version.model or None,
        )
    for alias, number in aliases.items():
        client.set_registered_model_alias(name, alias, str(number))
    client.set_registered_model_tag(name, _DIGEST, digest)


def _warnings(champions: Sequence[Decision], paths: Paths) -> list[str]:
    """Return a warning if the champion's folder holds no weights."""
    return [
        f"the champion's folder {paths.model(one.round)} holds no weights: `dvc checkout` brings them back"
        for one in champions
        if not any(paths.model(one.round).glob("*.safetensors"))
    ]
