"""Warm start: reuse finished trials from studies of other spaces, if they would have the same outcome here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arena_learning.sweep.records import is_finished
from arena_learning.sweep.space import encoded, values_digest
from arena_learning.sweep.task import Task

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial


def reuse_trials(study: Study, task: Task, storage: Any) -> int:
    """Add finished trials of the subject's other studies to a new study; return their number.

    A trial is reused if its values, and the current values when it ran, are in this space, and if all else that can
    change its outcome (data, models, other parameters) is unchanged.
    """
    import optuna

    known: set[str] = set()
    for other in sorted(optuna.get_all_study_names(storage)):
        if other == study.study_name or not other.startswith(f"{task.kind}-{task.subject}-"):
            continue
        found = optuna.load_study(study_name=other, storage=storage)
        varied = [str(dimension["path"]) for dimension in found.user_attrs.get("space", [])]
        if found.user_attrs.get("objectives") != list(task.objectives) or not all(map(task.may_vary, varied)):
            continue
        for trial in found.get_trials(deepcopy=False):
            inputs = trial.user_attrs.get("inputs", "")
            if is_finished(trial) and inputs not in known and _add(study, task, trial, other):
                known.add(inputs)
    return len(known)


def _add(study: Study, task: Task, trial: FrozenTrial, other: str) -> bool:
    import optuna

    resolved = trial.user_attrs.get("resolved", {})
    values = {
        d.path: resolved[d.path] for d in task.space if d.path in resolved and d.holds(resolved[d.path])
    }
    if len(values) < len(task.space) or values_digest(task.inputs(values), 32) != trial.user_attrs.get(
        "inputs"
    ):
        return False
    origin = trial.user_attrs.get("carried_from") or f"{other}, trial {trial.number}"
    study.add_trial(
        optuna.trial.create_trial(
            state=trial.state,
            values=trial.values,
            params=encoded(values),
            distributions={d.path: d.distribution() for d in task.space},
            user_attrs={**trial.user_attrs, "carried_from": origin},
            system_attrs={k: v for k, v in trial.system_attrs.items() if k != "fixed_params"},
            intermediate_values=trial.intermediate_values,
        )
    )
    return True
