"""A study: Optuna's record of a sweep. Several workers share it, and any of them may be killed at any moment.

A trial's results are stored before it is marked as finished, so a finished trial is complete. A trial whose worker has
ended is marked as dead and does not count; its values are tried again.
"""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from arena_learning.core import Paths, canonical
from arena_learning.sweep.records import DIED, Record, asked_values, has_died, is_finished, trial_record
from arena_learning.sweep.sampler import unseen_sampler
from arena_learning.sweep.space import (
    Values,
    decoded,
    design,
    encoded,
    grid,
    size,
    space_digest,
    values_digest,
)
from arena_learning.sweep.storage import SweepWorker, is_alive, open_storage
from arena_learning.sweep.task import Outcome, Task
from arena_learning.sweep.warm_start import reuse_trials

if TYPE_CHECKING:
    import optuna

STARTUP = 10  # trials planned ahead, before the sampler has enough results
TRIES = 3  # how often a trial is started if its worker dies
_POLL_SECONDS = 1.0


class Study:
    """The study of a task, created with results of studies of other spaces if it does not exist.

    It is a context manager while trials run.

    Args:
        task: what to optimise.
        paths: the project.
        url: URL of a database; empty for the project's journal.
        trials: the number of finished trials to reach.
    """

    def __init__(self, task: Task, paths: Paths, *, url: str = "", trials: int) -> None:
        import optuna

        self.task, self.trials, self.paths = task, trials, paths
        self.name = study_name(task)
        self.folder = paths.sweep(self.name)
        self._distributions = {d.path: d.distribution() for d in task.space}
        self._worker: SweepWorker | None = None
        self.carried = 0
        self._storage = storage = open_storage(url, paths.sweep_journal)
        with self.locked():
            self.optuna = optuna.create_study(
                study_name=self.name,
                storage=storage,
                sampler=unseen_sampler(self._distributions, task.seed, STARTUP),
                directions=["minimize" if o.startswith("-") else "maximize" for o in task.objectives],
                load_if_exists=True,
            )
            if not self.optuna.user_attrs.get("ready"):
                self._describe()
                self.carried = reuse_trials(self.optuna, task, storage)
                self.optuna.set_user_attr("ready", True)
            self._line_up()

    def locked(self, what: str = "study") -> FileLock:
        """Return one of the study's locks, for a ``with`` statement."""
        return FileLock(self.folder / f"{what}.lock")

    def __enter__(self) -> Study:
        name = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._worker = SweepWorker(self.folder / "workers", name)
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.close()

    def take(self) -> StartedTrial | None:
        """Return the next trial to run, or None if none is left.

        While other workers run the last trials, this waits: if one of them dies, its trial is returned here.
        """
        while True:
            with self.locked():
                self._bury()
                finished, running = self.counts()
                if finished + running < self._wanted():
                    return self._ask()
            if not running:
                return None
            time.sleep(_POLL_SECONDS)

    def finish(self, taken: StartedTrial, outcome: Outcome) -> None:
        """Store a trial's outcome, then mark it as finished."""
        from optuna.trial import TrialState

        for name, value in outcome.constraints.items():
            taken.trial.set_constraint(name, value)
        taken.trial.set_user_attr("shown", outcome.shown)
        taken.trial.set_user_attr("reused", outcome.reused)
        self._sign_off(taken, outcome.pruned)
        if outcome.values:
            self.optuna.tell(taken.trial, list(outcome.values))
        else:
            self.optuna.tell(taken.trial, state=TrialState.PRUNED)

    def fail(self, taken: StartedTrial, reason: str) -> None:
        """Store that a trial cannot be run, for a reason that would recur."""
        from optuna.trial import TrialState

        self._sign_off(taken, reason)
        self.optuna.tell(taken.trial, state=TrialState.FAIL)

    def records(self) -> list[Record]:
        """Return the finished trials by number, without those that died with their worker."""
        return [trial_record(trial, self.task.space) for trial in self._all() if is_finished(trial)]

    def counts(self) -> tuple[int, int]:
        """Return the numbers of finished and of running trials."""
        from optuna.trial import TrialState

        trials = self._all()
        return sum(map(is_finished, trials)), sum(t.state == TrialState.RUNNING for t in trials)

    def _sign_off(self, taken: StartedTrial, pruned: str) -> None:
        taken.trial.set_user_attr("given_up", pruned)  # this name is in studies of all versions
        taken.trial.set_user_attr("seconds", round(time.monotonic() - taken.began, 2))

    def _describe(self) -> None:
        own = self.task
        for key, value in (
            ("kind", own.kind),
            ("subject", own.subject),
            ("space", [d.describe() for d in own.space]),
            ("objectives", list(own.objectives)),
        ):
            self.optuna.set_user_attr(key, value)

    def _wanted(self) -> int:
        """Return the number of finished trials to reach: at most the number of combinations."""
        return min(self.trials, size(self.task.space) or self.trials)

    def _line_up(self) -> None:
        """Queue the current values, then all combinations if they are few, else the first of an even design."""
        own = self.task
        count = size(own.space)
        if count is not None and count <= self.trials:
            ahead = sorted(grid(own.space), key=lambda values: values_digest([own.seed, values], 16))
            most = count
        else:
            most = min(self.trials, STARTUP)
            ahead = list(islice(design(own.space, own.seed), 4 * most))  # may contain duplicates
        seen = {canonical(asked_values(trial)) for trial in self._all() if not has_died(trial)}
        for values in [own.current, *ahead]:
            key = canonical(encoded(values))
            if key not in seen and (values is own.current or len(seen) < most):
                seen.add(key)
                self.optuna.enqueue_trial(encoded(values))

    def _ask(self) -> StartedTrial:
        trial = self.optuna.ask(self._distributions)
        values = decoded(self.task.space, trial.params)
        inputs = self.task.inputs(values)
        trial.set_user_attr("inputs", values_digest(inputs, 32))
        trial.set_user_attr("resolved", inputs["params"])
        trial.set_user_attr("worker", self._worker.name if self._worker else "")
        return StartedTrial(self, trial, values)

    def _bury(self) -> None:
        """Mark the trials of dead workers and queue their values again; safe to be killed at any point."""
        from optuna.trial import TrialState

        for trial in self._all():
            if trial.state == TrialState.RUNNING and not self._lives(trial):
                self._mark_dead(trial)
        trials = self._all()
        retried = {trial.user_attrs.get("retry_of") for trial in trials}
        for trial in trials:
            whole = asked_values(trial).keys() == self._distributions.keys()
            if has_died(trial) and trial.number not in retried and whole:
                tries = int(trial.user_attrs.get("tries", 1)) + 1
                self.optuna.enqueue_trial(
                    asked_values(trial), user_attrs={"tries": tries, "retry_of": trial.number}
                )

    def _mark_dead(self, trial: optuna.trial.FrozenTrial) -> None:
        from optuna.trial import TrialState

        study = self._storage.get_study_id_from_name(self.name)
        number = self._storage.get_trial_id_from_study_id_trial_number(study, trial.number)
        tries = int(trial.user_attrs.get("tries", 1))
        if tries < TRIES:
            self._storage.set_trial_user_attr(number, DIED, True)
        else:
            reason = (
                f"its process ended {tries} times before the trial had finished: is there too little memory?"
            )
            self._storage.set_trial_user_attr(number, "given_up", reason)
        self.optuna.tell(trial.number, state=TrialState.FAIL)

    def _lives(self, trial: optuna.trial.FrozenTrial) -> bool:
        name = trial.user_attrs.get("worker", "")
        if not name:  # its worker died, under the lock, before it had written its name
            return False
        if not name.startswith(f"{platform.node()}-"):
            return True  # on another machine that shares the database: whether it is alive cannot be checked
        return is_alive(self.folder / "workers", name)

    def _all(self) -> Sequence[optuna.trial.FrozenTrial]:
        return list(self.optuna.get_trials(deepcopy=False))


class StartedTrial:
    """A trial that this worker is running; see `task.Trial`."""

    def __init__(self, study: Study, trial: optuna.Trial, values: Values) -> None:
        self.study, self.trial, self.values = study, trial, values
        self.number: int = trial.number
        self.began = time.monotonic()

    def report(self, item: int, score: float) -> None:
        """Record the score of one item; with several objectives nothing is recorded, as Optuna does not support it."""
        if len(self.study.task.objectives) == 1:
            self.trial.report(score, item)

    def others(self) -> Sequence[Mapping[str, Any]]:
        """Return the records of the study's finished trials."""
        return self.study.records()


def study_name(task: Task) -> str:
    """Return the study's name: its subject, the hash of its space, and the hash of all that does not vary."""
    fixed = dict(task.inputs(task.current))
    swept = {dimension.path for dimension in task.space}
    fixed["params"] = {path: value for path, value in fixed["params"].items() if path not in swept}
    return f"{task.kind}-{task.subject}-{space_digest(task.space)}-{values_digest(fixed)}"
