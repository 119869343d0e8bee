"""One training of a round in a scratch folder, and its measurement: what sweeps of selection and ablations do.

The start model and the judged battles are fixed. Rows are selected among them and trained on; the model answers
validation instructions, and is measured by its mean paired score difference to the start there.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock

from arena_learning.arena import Contestant, answer_metrics, ask_contestant, ask_contestant_for
from arena_learning.core import ArenaError, Paths, read_json, suggest, write_json
from arena_learning.dataset import read_samples, rules_of, select_rows, sources_of
from arena_learning.engines import weights_digest
from arena_learning.judge import Judge, Pairing, open_judge, play_games, repetition
from arena_learning.params import NONE, Params, without_later
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
from arena_learning.sweep.judged_by import judged_by
from arena_learning.sweep.space import values_digest
from arena_learning.sweep.statistics import detectable, deviation, estimate
from arena_learning.sweep.task import InfeasibleError
from arena_learning.train import choose_precision, train_round

FEWEST_ROWS = 8  # with fewer rows nothing is trained, as it would learn nothing
TRIAL = "the trial"
VALIDATION = "validation"
Figures = dict[str, dict[str, float]]  # by judge, by instruction
Rows = list[SftRow] | list[PreferenceRow]
# Keys that came later: at these values a trial is what it was before them, and earlier results are still its own.
AS_BEFORE: Mapping[str, Any] = {
    "dataset.strategy": "battles",
    "dataset.answers": "winner",
    "dataset.budget": 0,
}


class Measured(NamedTuple):
    """Results of a model on some instructions.

    Attributes:
        gains: its score minus the start's, by judge and instruction.
        outcomes: 1 where it beat the start, 0.5 for a tie, 0 where it lost; by judge and instruction.
        answers: figures of its answers.
    """

    gains: Figures
    outcomes: Figures
    answers: dict[str, Any]


class RoundTraining:
    """A round with its start, instructions and battles, from which rows are selected and trained on.

    Args:
        name: the round.
        params: the current parameters.
        paths: the project.

    Raises:
        ArenaError: no such round, a round that trains on no rows, or an earlier stage has not run.
    """

    def __init__(self, name: str, params: Params, paths: Paths) -> None:
        if name not in params.rounds:
            raise ArenaError(
                f"no round '{name}'", where="params.yaml, rounds", hint=suggest(name, params.rounds)
            )
        self.subject, self.params, self.paths, self.seed = name, params, paths, params.seed
        self.round = params.rounds[name]
        self._judges: dict[str, Judge] = {}
        self._start_answers: dict[str, Response] = {}
        self._read()

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
        self.held = held
        self.fixed = {
            "start": weights_digest(paths.model(this.init)),
            "battles": values_digest([row.model_dump(mode="json") for row in self.battles], 32),
            "responses": values_digest([row.model_dump(mode="json") for row in self.responses], 32),
            "earlier": values_digest([row.model_dump(mode="json") for row in self.earlier], 32),
            "validation": values_digest([i.model_dump(mode="json") for i in held], 32),
        }
        if judges := judged_by(self.params.evaluate.judges, self.params, paths):
            self.fixed["judged_by"] = values_digest(judges, 32)
        if self.samples.scores:
            drawn = [row.model_dump(mode="json") for rows in self.samples for row in rows]
            self.fixed["samples"] = values_digest(drawn, 32)

    def measured_by(self, params: Params) -> dict[str, Any]:
        """Return the parameters that a model's measurement depends on, as JSON."""
        return {
            "serving": params.serving.model_dump(mode="json"),
            "sampling": params.sampling.model_dump(mode="json"),
            "judge": {"disagree": params.judge.disagree},
            "judges": {j: params.judges[j].model_dump(mode="json") for j in params.evaluate.judges},
        }

    def rows(self, params: Params, battles: Sequence[Battle] | None = None) -> tuple[Rows, dict[str, int]]:
        """Return the rows that parameters select, those of earlier rounds first, and why others are left out.

        Args:
            params: the parameters.
            battles: select among these; by default among all of the round's.
        """
        name = self.subject
        found = select_rows(
            name,
            params.rounds[name],
            self.instructions,
            self.responses,
            self.battles if battles is None else battles,
            rules_of(name, params),
            self.samples,
            sources_of(name, params, self.paths),
        )
        left_out: dict[str, int] = {}
        for outcome in found.outcomes.values():
            if outcome != "row":
                left_out[outcome] = left_out.get(outcome, 0) + 1
        rows: Any = [*self.earlier, *(found.sft if self.round.supervised else found.preferences)]
        return rows, left_out

    def training(self, rows: Rows, params: Params) -> str:
        """Return the digest of all that determines the model."""
        learnt = [row.model_dump(mode="json", exclude={"provenance"}) for row in rows]
        settings = without_later(getattr(params.train, self.round.method).model_dump(mode="json"))
        whole = [
            learnt,
            self.round.method,
            settings,
            choose_precision(params.train),
            params.seed,
            self.fixed["start"],
        ]
        return values_digest(whole, 16)

    def _start(self, instructions: Iterable[Instruction]) -> list[Response]:
        missing = [i for i in instructions if i.id not in self._start_answers]
        if missing:
            init = self.round.init if self.round.init != NONE else "base"
            asked = ask_contestant(init, missing, self.params, self.paths)
            self._start_answers |= {r.instruction_id: r for r in asked.responses}
        return [self._start_answers[i.id] for i in instructions]

    def _compare(
        self, instructions: Sequence[Instruction], responses: Mapping[tuple[str, str], Response]
    ) -> tuple[Figures, Figures]:
        """Return gains and outcomes, see `Measured`."""
        from arena_learning.store import Account, Store

        start, known = self.round.init, by_id(instructions)
        gains: Figures = {}
        outcomes: Figures = {}
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
            won = {"tie": 0.5}
            outcomes[name] = {
                b.instruction_id: won.get(b.winner, float((b.winner == "a") == (b.a == TRIAL)))
                for b in judged.battles
                if b.winner != "unscored"
            }
        return gains, outcomes

    def train(self, rows: Rows, params: Params, own: Path) -> tuple[Path, dict[str, Any]]:
        """Train on rows in a scratch folder; return the model's folder and the training report.

        Args:
            rows: the rows.
            params: how to train.
            own: a folder for this training alone. A finished model in it is taken as it is, with its report; a
                training that was killed goes on from its last checkpoint.

        Raises:
            InfeasibleError: these rows or parameters cannot be trained on, and would fail again.
        """
        said = own / "report.json"
        with FileLock(own.with_name(f"{own.name}.lock")):
            if (own / "model" / "config.json").is_file():
                return own / "model", read_json(said) if said.is_file() else {}
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
            curve = report.curve()
            figures = {
                "rows": report.rows,
                "steps": sum(phase.steps for phase in report.phases),
                "loss_last": curve[-1].get("loss") if curve else None,
                "weight_change": report.weight_change.after_saving,
                "warnings": list(report.warnings),
            }
            write_json(said, figures)
            gc.collect()
        return own / "model", figures

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
        return Measured(*self._compare(instructions, responses), answers)

    def estimates(self, gains: Figures) -> dict[str, dict[str, float]]:
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
