"""The content of an MLflow run as plain data: made from the files, compared by digest, and only then written.

This module does not import MLflow, so the content can be tested without it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import canonical

LAYOUT = 1  # part of every digest; increase it when the same files are shown differently


class MetricPoint(NamedTuple):
    """A metric's value at a step (a round's index, or a training's step)."""

    name: str
    value: float
    step: int = 0


class TableArtifact(NamedTuple):
    """A table artifact; ``path`` ends in ``.json``."""

    path: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class AttachedFile(NamedTuple):
    """A file to copy below ``folder`` of the run's artifacts; ``digest`` is its MD5."""

    path: Path
    folder: str
    digest: str


class DatasetFile(NamedTuple):
    """A file that the round read or wrote.

    Attributes:
        name: unique within a project: the round and the kind of rows.
        source: the file's path relative to the project.
        digest: the file's MD5, the one that dvc.lock holds.
        context: what the file was used for.
        columns: the rows as columns of text, all of the same length.
    """

    name: str
    source: str
    digest: str
    context: str
    columns: dict[str, list[str]]


class LoggedModel(NamedTuple):
    """A model whose weights stay in place: its folder within the project, and the weights' SHA-256."""

    name: str
    path: str
    digest: str


@dataclass(frozen=True)
class RunView:
    """One run.

    Attributes:
        key: identifies the run within its flywheel, in every version of the run.
        title: the run's name in the user interface.
        parent: the parent run's key, or empty.
        params: selected parameters.
        tags: further tags, including a description.
        points: metrics.
        tables: tables.
        files: files to copy.
        data: dataset inputs.
        model: the model that the round made, if it exists.
        status: MLflow's: ``FINISHED``, ``FAILED`` or ``KILLED``.
        seconds: duration according to the files; not in the digest.
        ended: when the newest of its files was written, in seconds since 1970; not in the digest.
    """

    key: str
    title: str
    parent: str = ""
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: tuple[MetricPoint, ...] = ()
    tables: tuple[TableArtifact, ...] = ()
    files: tuple[AttachedFile, ...] = ()
    data: tuple[DatasetFile, ...] = ()
    model: LoggedModel | None = None
    status: str = "FINISHED"
    seconds: float = 0.0
    ended: float = 0.0

    def digest(self) -> str:
        """Return the SHA-256 of everything that the run shows except times."""
        seen = [
            LAYOUT,
            self.title,
            self.params,
            self.tags,
            self.points,
            self.tables,
            [(file.path.name, file.folder, file.digest) for file in self.files],
            [(data.name, data.source, data.digest, data.context) for data in self.data],
            self.model,
            *([self.status] if self.status != "FINISHED" else []),
        ]
        return hashlib.sha256(canonical(seen).encode()).hexdigest()


def md5(path: Path) -> str:
    """Return a file's MD5, as in dvc.lock."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
