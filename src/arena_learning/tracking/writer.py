"""Write runs to MLflow: unchanged runs are left alone, changed runs are superseded.

MLflow cannot replace values: a metric logged twice is kept twice, a parameter logged twice is refused, and a table is
appended to. So a run is never changed: it is found by its key, compared by its digest, and left or superseded. The
digest is set last: a run without one is incomplete and is removed.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.tracking.mlflow_store import MlflowStore
from arena_learning.tracking.run_view import DatasetFile, LoggedModel, MetricPoint, RunView

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

KEY, SCOPE, DIGEST, SUPERSEDES = "arena.key", "arena.scope", "arena.digest", "arena.supersedes"
PARENT = "mlflow.parentRunId"
_METRICS, _PARAMS = 1000, 100  # the most that MLflow accepts at once
_TAG_CHARACTERS = 8000


class Written(NamedTuple):
    """Titles of the runs that were written, left unchanged, and removed."""

    logged: list[str]
    unchanged: list[str]
    removed: list[str]


def upsert(store: MlflowStore, scope: str, shown: Sequence[RunView], *, rebuild: bool = False) -> Written:
    """Make the store show ``shown``, parents first, under ``scope``; other runs of the scope are removed.

    Args:
        store: the open store.
        scope: project, experiment and parameters that the runs belong to.
        shown: the runs that the files give now.
        rebuild: write all runs again, even unchanged ones.
    """
    there = _runs(store, scope)
    written = Written([], [], [])
    ids: dict[str, str] = {}
    for view in shown:
        digest = view.digest()
        olds = there.pop(view.key, [])
        same = next((run for run in olds if run.data.tags.get(DIGEST) == digest and not rebuild), None)
        parent = ids.get(view.parent, "")
        if same is None:
            supersedes = olds[0].info.run_id if olds else ""
            ids[view.key] = _write(
                store, view, {SCOPE: scope, PARENT: parent, SUPERSEDES: supersedes}, digest
            )
            written.logged.append(view.title)
        else:
            ids[view.key] = same.info.run_id
            if parent and same.data.tags.get(PARENT) != parent:
                store.client.set_tag(same.info.run_id, PARENT, parent)
            written.unchanged.append(view.title)
        _remove(store, [run for run in olds if run is not same])
    for olds in there.values():
        _remove(store, olds)
        written.removed.append(olds[0].info.run_name)
    return written


def _runs(store: MlflowStore, scope: str) -> dict[str, list[Any]]:
    """Return the scope's runs by key, newest first."""
    found: dict[str, list[Any]] = defaultdict(list)
    own = f"tags.`{SCOPE}` = '{scope}'"
    token = None
    while True:
        page = store.client.search_runs(
            [store.experiment],
            filter_string=own,
            max_results=1000,
            page_token=token,
        )
        for run in page:
            found[run.data.tags.get(KEY, "")].append(run)
        token = page.token
        if not token:
            return found


def _remove(store: MlflowStore, runs: Iterable[Any]) -> None:
    for run in runs:
        for output in run.outputs.model_outputs if run.outputs else []:
            store.client.delete_logged_model(output.model_id)
        store.client.delete_run(run.info.run_id)


def _write(store: MlflowStore, view: RunView, own_tags: dict[str, str], digest: str) -> str:
    """Write one run and return its id."""
    from mlflow.entities import Param

    client = store.client
    ended = int(view.ended * 1000)
    tags = {**view.tags, **own_tags, KEY: view.key}
    run_id: str = client.create_run(
        store.experiment,
        start_time=ended - int(view.seconds * 1000),
        tags={key: value[:_TAG_CHARACTERS] for key, value in tags.items() if value},
        run_name=view.title,
    ).info.run_id
    model = _model(store, view.model, run_id, view) if view.model else None
    for some in _portions([Param(key, value) for key, value in view.params.items()], _PARAMS):
        client.log_batch(run_id, params=some)
    for some in _portions(_metrics(view.points, ended, model), _METRICS):
        client.log_batch(run_id, metrics=some)
    if view.data:
        client.log_inputs(run_id, [_dataset(data) for data in view.data])
    for table in view.tables:
        rows = zip(*table.rows, strict=True)
        client.log_table(run_id, dict(zip(table.columns, map(list, rows), strict=True)), table.path)
    for file in view.files:
        client.log_artifact(run_id, str(file.path), file.folder or None)
    client.set_terminated(run_id, view.status, end_time=ended)
    client.set_tag(run_id, DIGEST, digest)
    return run_id


def _portions(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _metrics(points: Iterable[MetricPoint], time: int, model: str | None) -> list[Any]:
    from mlflow.entities import Metric

    return [Metric(p.name, p.value, time, p.step, model_id=model) for p in points]


def _dataset(data: DatasetFile) -> DatasetInput:
    """Return a dataset with schema and number of rows; its source is a path within the project."""
    import mlflow.data
    import pandas as pd
    from mlflow.data.dataset_source_registry import get_dataset_source_from_json
    from mlflow.entities import Dataset, DatasetInput, InputTag

    table = pd.DataFrame(data.columns)
    source = get_dataset_source_from_json(json.dumps({"uri": data.source}), "local")
    found = mlflow.data.from_pandas(table, source=source, name=data.name, digest=data.digest)
    context = InputTag("mlflow.data.context", data.context)
    return DatasetInput(Dataset.from_dictionary(found.to_dict()), [context])


def _model(store: MlflowStore, model: LoggedModel, run_id: str, view: RunView) -> str:
    """Create a logged model whose weights stay in their folder, as `mlflow.create_external_model` does.

    That function is not used because it adds the login name and the script's path to the tags.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models.model import MLMODEL_FILE_NAME
    from mlflow.models.utils import get_external_mlflow_model_spec
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_IS_EXTERNAL

    made = store.client.create_logged_model(
        store.experiment,
        name=model.name,
        source_run_id=run_id,
        tags={
            MLFLOW_MODEL_IS_EXTERNAL: "true",
            "arena.path": model.path,
            "arena.weights_sha256": model.digest,
        },
        params=view.params,
        model_type="target",
    )
    store.client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
    with tempfile.TemporaryDirectory() as folder:
        # MLflow cannot register a model without this file.
        get_external_mlflow_model_spec(made).save(str(Path(folder) / MLMODEL_FILE_NAME))
        store.client.log_model_artifacts(made.model_id, folder)
    store.client.finalize_logged_model(made.model_id, "READY")
    return str(made.model_id)
