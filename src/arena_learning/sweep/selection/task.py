"""Optimise the selection of training data and the training of one round.

The start model and the judged battles are fixed. A trial selects rows among them, trains in a scratch folder, answers
one half of the validation set, and is measured by its mean paired score difference to the start there. Ratings would be
less precise: Elo from 48 instructions has an interval of +-84.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arena_learning.core import ArenaError, Paths, suggest
from arena_learning.params import LATER, Params, without_later
from arena_learning.pool import draw
from arena_learning.sweep.round_training import AS_BEFORE, FEWEST_ROWS, RoundTraining
from arena_learning.sweep.space import (
    WHERE,
    Space,
    Values,
    current_values,
    flat_values,
    make_space,
    override,
)
from arena_learning.sweep.task import Outcome, Trial
from arena_learning.train import choose_precision


class SelectionTask(RoundTraining):
    """The sweep of one round.

    Args:
        name: the round.
        params: the current parameters.
        paths: the project.
        space: see `space.make_space`.
        judges: the judges of ``evaluate.judges`` whose gains are the objectives; by default the first one.

    Raises:
        ArenaError: no such round or judge, an earlier stage has not run, or the space is invalid.
    """

    kind = "selection"

    def __init__(
        self, name: str, params: Params, paths: Paths, space: Mapping[str, Any], judges: Sequence[str] = ()
    ) -> None:
        super().__init__(name, params, paths)
        self.objectives = tuple(judges) or params.evaluate.judges[:1]
        for judge in self.objectives:
            if judge not in params.evaluate.judges:
                raise ArenaError(
                    f"no judge '{judge}' in evaluate.judges",
                    where="--objective",
                    hint=suggest(judge, params.evaluate.judges),
                )
        self.space: Space = make_space(space, params)
        self.current: Values = current_values(self.space, params)
        self.tune, self.confirm = draw(self.held, len(self.held) // 2, self.seed, "sweep halves")
        for dimension in self.space:
            self._check(dimension.path)

    def _check(self, path: str) -> None:
        """Check that trials may differ in a key.

        Raises:
            ArenaError: they may not.
        """
        if self.may_vary(path):
            return
        why = "has no effect on a trial"
        if path.startswith(f"rounds.{self.subject}."):
            why = "is fixed in a sweep, as are the round's start and its battles"
        elif path in self.inputs(self.current)["params"]:
            why = "changes how trials answer or are judged, so that they could not be compared"
        own = f"rounds.{self.subject}"
        raise ArenaError(
            f"{path}: {why}",
            where=WHERE,
            hint=f"use {own}.threshold, {own}.labels, or keys of dataset and train.{self.round.method}; set others in "
            "params.yaml before the sweep",
        )

    def may_vary(self, path: str) -> bool:
        """Whether a key changes how a trial is trained, but not how it is measured; see `task.Task`."""
        learnt = ("seed", "train.precision", *(f"rounds.{self.subject}.{k}" for k in ("threshold", "labels")))
        below = ("dataset.", f"train.{self.round.method}.")
        later = {f"train.{self.round.method}.{key}": value for key, value in LATER.items()}
        known = {**AS_BEFORE, **later, **self.inputs(self.current)["params"]}
        return path in known and (path in learnt or path.startswith(below))

    def inputs(self, values: Values) -> Mapping[str, Any]:
        """Return all that can change a trial's outcome; see `task.Task`."""
        params = override(self.params, values)
        method = self.round.method
        kept = {
            "seed": params.seed,
            "dataset": params.dataset.model_dump(mode="json"),
            "rounds": {self.subject: params.rounds[self.subject].model_dump(mode="json", exclude={"index"})},
            "train": {
                "precision": choose_precision(params.train),
                method: without_later(getattr(params.train, method).model_dump(mode="json")),
            },
            **self.measured_by(params),
        }
        found = {
            path: value
            for path, value in flat_values(kept).items()
            if path not in AS_BEFORE or value != AS_BEFORE[path]
        }
        return {"params": found, "objectives": list(self.objectives), **self.fixed}

    def run(self, values: Values, trial: Trial) -> Outcome:
        """Select rows, train, answer, and measure on the first half of the validation set."""
        params = override(self.params, values)
        rows, left_out = self.rows(params)
        constraints = {"rows": float(FEWEST_ROWS - len(rows))}
        reused: dict[str, Any] = {"battles": len(self.battles)}
        shown: dict[str, Any] = {"rows": len(rows), "left_out": left_out}
        if len(rows) < FEWEST_ROWS:
            return Outcome(
                pruned=f"{len(rows)} rows, fewer than {FEWEST_ROWS}",
                constraints=constraints,
                shown=shown,
                reused=reused,
            )
        training = self.training(rows, params)
        shown["training"] = training
        twin = next(
            (t for t in trial.others() if t["shown"].get("training") == training and t["values"]), None
        )
        if twin is not None:  # other values that give the same rows and settings, and so the same model
            reused["training of trial"] = twin["number"]
            return Outcome(tuple(twin["values"]), "", constraints, {**twin["shown"], **shown}, reused)
        folder, trained = self.train(rows, params, self.paths.sweep_models / training)
        measured = self.measure(folder, params, self.tune)
        shown |= {"train": trained, "answers": measured.answers, "gains": measured.gains}
        shown |= {"estimates": self.estimates(measured.gains)}
        means = tuple(shown["estimates"][judge]["mean"] for judge in self.objectives)
        return Outcome(means, "", constraints, shown, reused)

    def again(self, values: Values) -> Path:
        """Return the model of a trial, trained again if its folder has been removed."""
        params = override(self.params, values)
        rows, _ = self.rows(params)
        return self.train(rows, params, self.paths.sweep_models / self.training(rows, params))[0]
