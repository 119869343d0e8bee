"""Judges' prompts in MLflow's prompt registry: each text once, as a version, found by the digest that games record."""

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
    """Register templates, and return by ``name@digest``, as games have it, the registry's name and version.

    A text that is there already keeps its version; a changed one becomes the next.

    Args:
        store: MLflow's, open.
        names: of shipped templates, or paths of files in the project.
        root: the project.
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
    ):  # letters are gone by which it was told from others
        kept += "-" + hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"arena-judge-{kept}"


def _show_in_experiment(store: MlflowStore, name: str) -> None:
    """Let a prompt stand in the Prompts tab of this project's experiment, beside the runs.

    MLflow links a new prompt to the active experiment, which is not this one, and does so in a thread: that one has to
    end first, or it would write what it read before, and after the store's lock was given back.
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
