"""The `train` stage: a round's rows become its model, by params.yaml."""

from __future__ import annotations

from typing import Any

from arena_learning.core.paths import Paths
from arena_learning.params import Params
from arena_learning.schema.rows import write_json
from arena_learning.train.files import train_round


def train_named(name: str, params: Params, paths: Paths) -> dict[str, Any]:
    """Train round ``name``, write its model and its metrics, and return the metrics."""
    this = params.rounds[name]
    report = train_round(
        this.method,
        init=paths.model(this.init),
        out=paths.model(name),
        sft=paths.sft(name),
        preferences=paths.preferences(name),
        params=params.train,
        seed=params.seed,
        checkpoints=paths.checkpoints(name),
        trust_remote_code=params.weights.trust_remote_code,
    )
    metrics = report.to_dict()
    write_json(paths.stage_metrics(name, "train"), metrics)
    return metrics
