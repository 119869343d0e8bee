"""Optimise the selection of training data and the training of one round.

The start model and the judged battles are fixed. A trial selects rows among them, trains in a scratch folder, answers
one half of the validation set, and is measured by its mean paired score difference to the start there. Ratings would be
less precise: Elo from 48 instructions has an interval of +-84.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from arena_learning.arena import Contestant, answer_metrics, ask_contestant, ask_contestant_for
from arena_learning.core import ArenaError, Paths, suggest
from arena_learning.dataset import read_samples, rules_of, select_rows
from arena_learning.engines import weights_digest
from arena_learning.judge import Judge, Pairing, open_judge, play_games, repetition
from arena_learning.params import NONE, Params
from arena_learning.pool import draw
from arena_learning.schema import (
    Battle,
    Instruction,
    PreferenceRow,
    Response,
    SftRow,
    by_id,
    read_rows,
    write_rows,
)
from arena_learning.sweep.space import (
    WHERE,
    Space,
    Values,
    current_values,
    flat_values,
    make_space,
    override,
    values_digest,
)
from arena_learning.sweep.statistics import detectable, deviation, estimate
from arena_learning.sweep.task import InfeasibleError, Outcome, Trial
from arena_learning.train import train_round

FEWEST_ROWS = 8  # with fewer rows a trial is not trained, as it would learn nothing
TRIAL = "the trial"
VALIDATION = "validation"
Gains = dict[str, dict[str, float]]  # by judge, by instruction: the trial's score minus the start's
Rows = list[SftRow] | list[PreferenceRow]


class Measured(NamedTuple):
    """Results of a model on some instructions: its gains over the start, and its answers."""

    gains: Gains
    answers: dict[str, Any]


class SelectionTask:
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
        if name not in params.rounds:
            raise ArenaError(
                f"no round '{name}'", where="params.yaml, rounds", hint=suggest(name, params.rounds)
            )
        self.subject, self.params, self.paths, self.seed = name, params, paths, params.seed
        self.round = params.rounds[name]
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
        self._read()
        self._judges: dict[str, Judge] = {}
        self._start_answers: dict[str, Response] = {}
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
        return path in self.inputs(self.current)["params"] and (path in learnt or path.startswith(below))

    def _read(self) -> None:
        paths, this = self.paths, self.round
        if this.online:
            raise ArenaError(
                f"{this.method} does not train on rows, so there is no selection to sweep",
                where=f"params.yaml, rounds.{self.subject}.method",
                hint=f"compare settings by `dvc exp run -S train.{this.method}.kl=0.1`",
            )
        if not any(paths.model(this.init).glob("*.safetensors")):
            raise ArenaError(
                f"the start '{this.init}' is not trained yet",
                where=str(paths.model(this.init)),
                hint="run `arena repro`",
            )
        self.instructions = read_rows(paths.split(this.split), Instruction)
        self.responses = read_rows(paths.responses(self.subject), Response)
        self.battles = read_rows(paths.battles(self.subject), Battle)
        self.samples = read_samples(self.subject, self.params, paths)
        self.earlier: list[SftRow] | list[PreferenceRow]
        if this.supervised:
            self.earlier = read_rows(paths.sft(this.adds_to), SftRow)
        else:
            self.earlier = read_rows(paths.preferences(this.adds_to), PreferenceRow)
        held = read_rows(paths.split(VALIDATION), Instruction)
        if len(held) < 2:
            raise ArenaError(
                "there are no validation instructions",
                where="params.yaml, pool.validation",
                hint="set it to 48",
            )
        self.tune, self.confirm = draw(held, len(held) // 2, self.seed, "sweep halves")
        self._fixed = {
            "start": weights_digest(paths.model(this.init)),
            "battles": values_digest([row.model_dump(mode="json") for row in self.battles], 32),
            "responses": values_digest([row.model_dump(mode="json") for row in self.responses], 32),
            "earlier": values_digest([row.model_dump(mode="json") for row in self.earlier], 32),
            "validation": values_digest([i.model_dump(mode="json") for i in held], 32),
        }
        if self.samples.scores:
            drawn = [row.model_dump(mode="json") for rows in self.samples for row in rows]
            self._fixed["samples"] = values_digest(drawn, 32)

    def inputs(self, values: Values) -> Mapping[str, Any]:
        """Return all that can change a trial's outcome; see `task.Task`."""
        params = override(self.params, values)
        method = self.round.method
        kept = {
            "seed": params.seed,
            "serving": params.serving.model_dump(mode="json"),
            "sampling": params.sampling.model_dump(mode="json"),
            "dataset": params.dataset.model_dump(mode="json"),
            "rounds": {self.subject: params.rounds[self.subject].model_dump(mode="json", exclude={"index"})},
            "train": {
                "precision": params.train.precision,
                method: getattr(params.train, method).model_dump(mode="json"),
            },
            "judge": {"disagree": params.judge.disagree},
            "judges": {j: params.judges[j].model_dump(mode="json") for j in params.evaluate.judges},
        }
        return {"params": flat_values(kept), "objectives": list(self.objectives), **self._fixed}

    def run(self, values: Values, trial: Trial) -> Outcome:
        """Select rows, train, answer, and measure on the first half of the validation set."""
        params = override(self.params, values)
        rows, left_out = self._rows(params)
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
        training = self._training(rows, params)
        shown["training"] = training
        twin = next(
            (t for t in trial.others() if t["shown"].get("training") == training and t["values"]), None
        )
        if twin is not None:  # other values that give the same rows and settings, and so the same model
            reused["training of trial"] = twin["number"]
            return Outcome(tuple(twin["values"]), "", constraints, {**twin["shown"], **shown}, reused)
        folder, trained = self.train(rows, params, training)
        measured = self.measure(folder, params, self.tune)
        shown |= {"train": trained, "answers": measured.answers, "gains": measured.gains}
        shown |= {"estimates": self.estimates(measured.gains)}
        means = tuple(shown["estimates"][judge]["mean"] for judge in self.objectives)
        return Outcome(means, "", constraints, shown, reused)

    def again(self, values: Values) -> Path:
        """Return the model of a trial, trained again if its folder has been removed."""
        params = override(self.params, values)
        rows, _ = self._rows(params)
        return self.train(rows, params, self._training(rows, params))[0]

    def train(self, rows: Rows, params: Params, training: str) -> tuple[Path, dict[str, Any]]:
        """Train on rows in a scratch folder; return the model's folder and the training report."""
        own = self.paths.sweep_models / training
        with FileLock(self.paths.sweep_models / f"{training}.lock"):
            if (own / "model" / "config.json").is_file():
                return own / "model", {}
            sft, preferences = own / "sft.jsonl", own / "preferences.jsonl"
            write_rows(sft if self.round.supervised else preferences, rows)
            try:
                report = train_round(
                    self.round.method,
                    init=self.paths.model(self.round.init),
                    out=own / "model",
                    sft=sft,
                    preferences=preferences,
                    params=params.train,
                    seed=params.seed,
                    checkpoints=own / "checkpoints",
                    trust_remote_code=params.weights.trust_remote_code,
                )
            except ArenaError as error:
                if error.where != "train":
                    raise
                raise InfeasibleError(error.what) from error
            gc.collect()
        curve = report.curve()
        return own / "model", {
            "rows": report.rows,
            "steps": sum(phase.steps for phase in report.phases),
            "loss_last": curve[-1].get("loss") if curve else None,
            "weight_change": report.weight_change.after_saving,
            "warnings": list(report.warnings),
        }

    def measure(self, folder: Path, params: Params, instructions: Sequence[Instruction]) -> Measured:
        """Let the model in ``folder`` answer, and judge its answers against the start's."""
        from arena_learning.engines import open_folder
        from arena_learning.store import Account, Store

        start = self._start(instructions)
        scratch = Paths(folder.parent / "serving")  # exports of a trial are not kept
        engine = open_folder(folder, params.serving, params.weights, scratch)
        try:
            with Store(self.paths.store, account=Account("sweep", params)) as store:
                asked = ask_contestant_for(Contestant(TRIAL, engine, params.sampling), instructions, store)
        finally:
            engine.close()
            shutil.rmtree(scratch.root, ignore_errors=True)
        responses = {(r.instruction_id, r.contestant): r for r in [*start, *asked.responses]}
        answers = answer_metrics(asked)
        answers["repetition"] = sum(repetition(r.text) for r in asked.responses) / len(asked.responses)
        return Measured(self._gains(instructions, responses), answers)

    def estimates(self, gains: Gains) -> dict[str, dict[str, float]]:
        """Return the mean gain, its interval and the smallest detectable difference, by judge."""
        found = {}
        for judge, by_instruction in gains.items():
            own = list(by_instruction.values())
            least = detectable(deviation(own), len(own))
            found[judge] = {**estimate(own, self.seed)._asdict(), "detectable": least}
        return found

    def close(self) -> None:
        """Close the judges."""
        for judge in self._judges.values():
            judge.close()

    def _rows(self, params: Params) -> tuple[Rows, dict[str, int]]:
        name = self.subject
        found = select_rows(
            name,
            params.rounds[name],
            self.instructions,
            self.responses,
            self.battles,
            rules_of(name, params),
            self.samples,
        )
        left_out: dict[str, int] = {}
        for outcome in found.outcomes.values():
            if outcome != "row":
                left_out[outcome] = left_out.get(outcome, 0) + 1
        rows: Any = [*self.earlier, *(found.sft if self.round.supervised else found.preferences)]
        return rows, left_out

    def _training(self, rows: Rows, params: Params) -> str:
        """Return the digest of all that determines the model."""
        learnt = [row.model_dump(mode="json", exclude={"provenance"}) for row in rows]
        settings = getattr(params.train, self.round.method).model_dump(mode="json")
        whole = [
            learnt,
            self.round.method,
            settings,
            params.train.precision,
            params.seed,
            self._fixed["start"],
        ]
        return values_digest(whole, 16)

    def _start(self, instructions: Iterable[Instruction]) -> list[Response]:
        missing = [i for i in instructions if i.id not in self._start_answers]
        if missing:
            init = self.round.init if self.round.init != NONE else "base"
            asked = ask_contestant(init, missing, self.params, self.paths)
            self._start_answers |= {r.instruction_id: r for r in asked.responses}
        return [self._start_answers[i.id] for i in instructions]

    def _gains(
        self, instructions: Sequence[Instruction], responses: Mapping[tuple[str, str], Response]
    ) -> Gains:
        from arena_learning.store import Account, Store

        start, known = self.round.init, by_id(instructions)
        gains: Gains = {}
        for name in self.params.evaluate.judges:
            if name not in self._judges:
                self._judges[name] = open_judge(name, self.params, self.paths)
            pairings = [Pairing(i.id, *sorted((start, TRIAL))) for i in instructions]
            with Store(self.paths.store, account=Account("sweep", self.params)) as store:
                judged = play_games(
                    pairings, known, responses, self._judges[name], store, disagree=self.params.judge.disagree
                )
            gains[name] = {
                b.instruction_id: (b.score_a - b.score_b) * (1 if b.a == TRIAL else -1)
                for b in judged.battles
                if b.score_a is not None and b.score_b is not None
            }
        return gains
