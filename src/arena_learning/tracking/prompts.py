"""Judges' prompts in MLflow's prompt registry: one version for each text, found by the digest that games record."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from arena_learning.judge import JudgeTemplate
from arena_learning.params import Params
from arena_learning.tracking.mlflow_store import MlflowStore

DIGEST = "arena.digest"


def templates_of(params: Params) -> list[str]:
    """Return the templates that the judges of params.yaml use."""
    judges = [judge for judge in params.judges.values() if judge.kind == "llm"]
    return sorted({name for judge in judges for name in (judge.template, *judge.templates.values())})


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
    return f"arena-judge-{kept}"


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
