"""Judges' prompts in MLflow's prompt registry: one version for each text, found by the digest that games record.

A judge's name is an alias of the version that it uses now: ``prompts:/arena-judge-pairwise@strict``.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from arena_learning.judge import JudgeTemplate
from arena_learning.params import Params
from arena_learning.tracking.mlflow_store import MlflowStore

DIGEST = "arena.digest"
_OWNER = "arena.alias."  # with an alias, a prompt's tag that names the project which has set it
_PREFIX = "arena-judge-"


def templates_of(params: Params) -> list[str]:
    """Return the templates that the judges of params.yaml use."""
    return sorted({name for templates in judges_of(params).values() for name in templates})


def register(store: MlflowStore, names: Iterable[str], root: Path) -> dict[str, str]:
    """Register templates; return the registry's name and version by ``name@digest``, the form that games record.

    A registered text keeps its version; a changed one becomes the next version.

    Args:
        store: the open MLflow store.
        names: names of shipped templates, or paths of files in the project.
        root: the project's folder.
    """
    found = {}
    for name in sorted(set(names)):
        template = JudgeTemplate(name, root)
        own = registry_name(name)
        version = _version(store.client, own, template.digest)
        if version is None:
            version = store.client.register_prompt(
                own,
                template.source,
                commit_message=f"{name}@{template.digest}",
                tags={DIGEST: template.digest, "arena.template": name},
            ).version
            _show_in_experiment(store, own)
        found[f"{name}@{template.digest}"] = f"{own}/{version}"
    return found


def registry_name(template: str) -> str:
    """Return a template's name in the registry."""
    name = template.removesuffix(".jinja")
    kept = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII)
    if not re.fullmatch(
        r"[\w./ -]+", name, flags=re.ASCII
    ):  # characters that told it from other names were removed
        kept += "-" + hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{_PREFIX}{kept}"


def judges_of(params: Params) -> dict[str, list[str]]:
    """Return the judges with templates, each with its template and those for its categories."""
    return {
        name: [judge.template, *judge.templates.values()]
        for name, judge in params.judges.items()
        if judge.kind == "llm"
    }


def show_aliases(store: MlflowStore, judges: Mapping[str, Iterable[str]], root: Path) -> None:
    """Give the registered version of each judge's templates the judge's name as an alias.

    This project's aliases of other judges, or on versions that a judge no longer uses, are removed. Those of other
    projects on a shared server are left alone.

    Args:
        store: the open MLflow store.
        judges: the templates of each judge; they are registered.
        root: the project's folder.
    """
    wanted: dict[tuple[str, str], int] = {}
    for judge, templates in judges.items():
        for template in templates:
            own = registry_name(template)
            version = _version(store.client, own, JudgeTemplate(template, root).digest)
            if version is not None and _alias(judge):
                wanted[own, _alias(judge)] = version
    held: dict[tuple[str, str], str] = {}
    for prompt in store.client.search_prompts(filter_string=f"name LIKE '{_PREFIX}%'", max_results=1000):
        for tag, owner in (prompt.tags or {}).items():
            if tag.startswith(_OWNER):
                held[prompt.name, tag.removeprefix(_OWNER)] = owner
    for (name, alias), owner in held.items():
        if owner == store.project and (name, alias) not in wanted:
            store.client.delete_prompt_alias(name, alias)
            store.client.delete_prompt_tag(name, _OWNER + alias)
    for (name, alias), version in wanted.items():
        if held.get((name, alias), store.project) == store.project:
            store.client.set_prompt_alias(name, alias, version)
            store.client.set_prompt_tag(name, _OWNER + alias, store.project)


def _alias(judge: str) -> str:
    """Return a judge's name as an alias; empty for those that MLflow keeps for itself (``latest``, ``v1``)."""
    return "" if re.fullmatch(r"latest|v\d+", judge, flags=re.IGNORECASE) else judge


def _show_in_experiment(store: MlflowStore, name: str) -> None:
    """Show a prompt in the Prompts tab of this project's experiment.

    MLflow links a new prompt to the active experiment, which is another one, in a thread. That thread must end first:
    otherwise it would write older data over this link, after the store's lock was released.
    """
    from mlflow.prompt.constants import PROMPT_EXPERIMENT_IDS_TAG_KEY

    for thread in threading.enumerate():
        if thread.name.startswith("link_prompt_to_experiment"):
            thread.join()
    store.client.set_prompt_tag(name, PROMPT_EXPERIMENT_IDS_TAG_KEY, f",{store.experiment},")


def _version(client: Any, name: str, digest: str) -> int | None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    try:
        versions = client.search_prompt_versions(name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return None
    return next((int(v.version) for v in versions if (v.tags or {}).get(DIGEST) == digest), None)
