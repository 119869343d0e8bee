"""Finished trials as JSON records, for reports, comparisons and MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arena_learning.sweep.space import Space, decoded

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Record = dict[str, Any]
DIED = "died"  # marks a trial whose worker ended before the trial had finished


def trial_record(trial: FrozenTrial, space: Space) -> Record:
    """Return a finished trial as a record.

    Its keys: ``number``, ``state`` (complete, pruned, fail), ``params`` by path, ``values`` (one for each objective),
    ``constraints``, ``feasible``, ``given_up`` (why there are no values), ``shown``, ``reused``, ``seconds``, ``items``
    (reported scores by item), ``retry_of``, ``carried_from``, ``started`` and ``ended``.
    """
    own, complete = trial.user_attrs, trial.state.name == "COMPLETE"
    values = (
        [float(v) for v in trial.values or ()] if complete else []
    )  # for a pruned trial, Optuna would return its last report
    constraints = dict(trial.constraints)
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "params": decoded(space, trial.params),
        "values": values,
        "constraints": constraints,
        "feasible": bool(values) and all(value <= 0 for value in constraints.values()),
        "given_up": own.get("given_up", ""),
        "shown": own.get("shown", {}),
        "reused": own.get("reused", {}),
        "seconds": own.get("seconds", 0.0),
        "retry_of": own.get("retry_of"),
        "carried_from": own.get("carried_from", ""),
        "items": {str(item): score for item, score in sorted(trial.intermediate_values.items())},
        "started": trial.datetime_start.timestamp() if trial.datetime_start else 0.0,
        "ended": trial.datetime_complete.timestamp() if trial.datetime_complete else 0.0,
    }


def asked_values(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's parameters, also those of a waiting trial."""
    fixed: dict[str, Any] = trial.system_attrs.get("fixed_params", {})
    return {**fixed, **trial.params}


def has_died(trial: FrozenTrial) -> bool:
    """Whether a trial's worker ended before the trial had finished."""
    return bool(trial.user_attrs.get(DIED))


def is_finished(trial: FrozenTrial) -> bool:
    """Whether a trial has ended by itself: complete, pruned, or failed for its values."""
    return trial.state.is_finished() and not has_died(trial)
