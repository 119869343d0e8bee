"""What each stage asks of contestants and judges: answers and games wanted, and those that the store has already."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple

from arena_learning.arena import count_stored, planned_samplings, sampling_of
from arena_learning.core import ArenaError, Paths
from arena_learning.judge import Pairing, count_stored_games, open_judge, round_pairings
from arena_learning.leaderboard import number_at, planned_pairings, read_document
from arena_learning.params import BASE, NONE, Params, Sampling
from arena_learning.schema import Instruction, Response, by_id, read_rows
from arena_learning.store import Store

POINTWISE = ("rubric", "reference", "reward")  # kinds of judges that score one answer alone


class Work(NamedTuple):
    """What one contestant, judge or training does in a stage.

    Attributes:
        role: who works.
        name: its name in params.yaml; of a training, its method.
        wanted: answers, games or training rows that the stage needs.
        known: those that are there already.
        samples: whether the answers are sampled beside those that battle; such games rank them.
        note: why ``known`` or ``wanted`` is only a bound; empty if both are counted.
    """

    role: Literal["contestant", "judge", "training"]
    name: str
    wanted: int
    known: int = 0
    note: str = ""

    @property
    def made(self) -> int:
        """What is left to be made."""
        return max(0, self.wanted - self.known)


class Workload:
    """Counts the work of the stages.

    Args:
        params: the parameters.
        paths: the project.
        running: stages that may run, by their names in dvc.yaml; None: all of them, and nothing is looked up in the
            store, as if nothing had been made.
        certain: those that will run in any case; the others run only if what they read changes.
    """

    def __init__(
        self,
        params: Params,
        paths: Paths,
        running: Collection[str] | None,
        certain: Collection[str] = (),
    ) -> None:
        self._params, self._paths, self._running, self._certain = params, paths, running, certain
        self._fed: set[str] = set()  # rounds whose battles will be new
        self.instructions = cache(self._instructions)

    def stages(self) -> dict[str, list[Work]]:
        """Return the work of each stage that has some, in the order of the pipeline."""
        found: dict[str, list[Work]] = {}
        for name in self._params.ordered_rounds:
            found[f"battle@{name}"] = self._battle(name)
            found[f"judge@{name}"] = self._judge(name, found[f"battle@{name}"])
            if any(
                work.made and not self._free(work)
                for work in (*found[f"battle@{name}"], *found[f"judge@{name}"])
            ):
                self._fed.add(name)
            found[f"train@{name}"] = self._train(name)
        answers = {self.answer_stage(one): self._answer(one) for one in self._params.contestants}
        found |= answers
        found["evaluate"] = self._evaluate([work for works in answers.values() for work in works])
        return {stage: works for stage, works in found.items() if works}

    def answer_stage(self, contestant: str) -> str:
        """Return the stage in which a contestant answers the test set."""
        if contestant == BASE:
            return "answer-base"
        return f"answer{'-opponent' if contestant in self._params.opponents else ''}@{contestant}"

    def count(self, split: str) -> int:
        """Return how many instructions a split has, or will have."""
        held = self.instructions(split)
        if held:
            return len(held)
        pool = self._params.pool
        return pool.test if split == "test" else pool.splits.get(split, 0)

    def _instructions(self, split: str) -> list[Instruction]:
        file = self._paths.split(split)
        stale = self._running is None or "prepare" in self._running
        return read_rows(file, Instruction) if file.is_file() and not stale else []

    def _runs(self, stage: str) -> bool:
        return self._running is None or stage in self._running

    def _changes(self, contestant: str) -> bool:
        """Whether a contestant's model will be another one than now, as far as that is known."""
        if contestant in self._params.opponents:
            return False
        stage = "weights" if contestant == BASE else f"train@{contestant}"
        if self._running is None or not any(self._paths.model(contestant).glob("*.safetensors")):
            return True
        if contestant == BASE or stage not in self._running:
            return stage in self._certain
        init = self._params.rounds[contestant].init
        return stage in self._certain or contestant in self._fed or self._changes(init)

    def _battle(self, name: str) -> list[Work]:
        split = self._params.rounds[name].split
        return [
            self._answers(f"battle@{name}", contestant, samplings, split)
            for contestant, samplings in planned_samplings(name, self._params).items()
        ]

    def _answer(self, contestant: str) -> list[Work]:
        stage = self.answer_stage(contestant)
        return [self._answers(stage, contestant, [sampling_of(contestant, self._params)], "test")]

    def _answers(self, stage: str, contestant: str, samplings: Sequence[Sampling], split: str) -> Work:
        wanted = self.count(split) * len(samplings)
        work = Work("contestant", contestant, wanted)
        if not self._runs(stage):
            return work._replace(known=wanted)
        if self._running is None:
            return work
        instructions = self.instructions(split)
        if self._changes(contestant) or not instructions:
            return work._replace(note="its model is still to be made" if instructions else "")
        try:
            with Store(self._paths.store) as store:
                known = count_stored(contestant, samplings, instructions, self._params, self._paths, store)
        except ArenaError as error:
            return work._replace(note=error.what)
        return work._replace(known=known)

    def _judge(self, name: str, answers: Sequence[Work]) -> list[Work]:
        params, this = self._params, self._params.rounds[name]
        held = self.instructions(this.split)
        ids = [one.id for one in held] or [f"#{number}" for number in range(self.count(this.split))]
        pairings = round_pairings(name, params, ids)
        extra = self._sample_games(name, len(ids))
        found = self._games(f"judge@{name}", params.judge.name, pairings, this.split, name, answers)
        if not extra:
            return found
        runs = self._runs(f"judge@{name}")
        note = "games among samples are counted as if no two samples were equal" if runs else ""
        return [
            work._replace(
                wanted=work.wanted + extra, known=work.known + (0 if runs else extra), note=work.note or note
            )
            for work in found
        ]

    def _sample_games(self, name: str, instructions: int) -> int:
        """Return how many games rank the samples of a round."""
        samples = self._params.samples_of(name)
        if self._alone(self._params.judge.name):
            return instructions * samples
        others = min(self._params.battle.sample_games or samples, samples - 1)
        return instructions * max(0, -(-samples * others // 2)) * 2

    def _evaluate(self, answers: Sequence[Work]) -> list[Work]:
        params = self._params
        held = self.instructions("test") or _numbered(self.count("test"))
        pairings = planned_pairings(held, params)
        limit = params.evaluate.budget * len(params.contestants)
        if params.evaluate.schedule == "adaptive" and limit:
            pairings = pairings[:limit]
        note = "at most: the schedule is adaptive" if params.evaluate.schedule == "adaptive" else ""
        return [
            work._replace(note=work.note or note)
            for judge in params.evaluate.judges
            for work in self._games("evaluate", judge, pairings, "test", "", answers)
        ]

    def _games(
        self,
        stage: str,
        judge: str,
        pairings: Sequence[Pairing],
        split: str,
        round_name: str,
        answers: Sequence[Work],
    ) -> list[Work]:
        """Return the games of each judge behind ``judge``; ``answers`` are those that they need."""
        orders = 1 if self._alone(judge) else 2
        wanted = orders * len(pairings)
        works = [Work("judge", one, wanted) for one in self._params.single_judges(judge)]
        if not self._runs(stage):
            return [work._replace(known=wanted) for work in works]
        if self._running is None:
            return works
        # Answers that will be made again are others; a contestant without any stored answer has other settings now.
        anew = {one.name for one in answers if self._changes(one.name) or (one.made and not one.known)}
        instructions = by_id(self.instructions(split))
        try:
            responses = {
                (one.instruction_id, one.contestant): one
                for one in self._responses(round_name)
                if one.contestant not in anew
            }
            return [
                work._replace(known=self._stored(work.name, orders, pairings, instructions, responses))
                for work in works
            ]
        except ArenaError as error:
            return [work._replace(note=error.what) for work in works]

    def _free(self, work: Work) -> bool:
        """Whether a contestant's answers are read from a file."""
        opponent = self._params.opponents.get(work.name)
        return opponent is not None and opponent.engine == "recorded"

    def _responses(self, round_name: str) -> Iterator[Response]:
        """Yield the answers of a round, or to the test set, that are there."""
        files = (
            [self._paths.responses(round_name)]
            if round_name
            else map(self._paths.arena_responses, self._params.contestants)
        )
        for file in files:
            if file.is_file():
                yield from read_rows(file, Response)

    def _alone(self, judge: str) -> bool:
        """Whether a judge, or each member of a jury, scores one answer alone: its games have one order."""
        return all(self._params.judges[one].kind in POINTWISE for one in self._params.single_judges(judge))

    def _stored(
        self,
        name: str,
        orders: int,
        pairings: Sequence[Pairing],
        instructions: dict[str, Instruction],
        responses: dict[tuple[str, str], Response],
    ) -> int:
        if self._params.judges[name].kind == "reward":
            return 0  # its weights would be read only to be counted
        judge = open_judge(name, self._params, self._paths)
        try:
            with Store(self._paths.store) as store:
                return count_stored_games(pairings, instructions, responses, judge, store, both=orders == 2)
        finally:
            judge.close()

    def _train(self, name: str) -> list[Work]:
        this = self._params.rounds[name]
        rows = self._rows(name)
        known = 0 if self._changes(name) else rows
        found = [Work("training", this.method, rows, known)]
        if not this.online:
            return found
        settings = self._params.train.online(this.method)
        answers = int(rows * settings.group * max(1.0, settings.epochs))
        others = len(self._params.opponents_of(name)) if settings.against != "group" else 0
        mates = (settings.group - 1) / 2 if settings.against != "opponents" else 0
        for judge in (settings.judge, settings.monitor):
            for one in self._params.single_judges(judge):
                alone = self._params.judges[one].kind in POINTWISE
                games = answers if alone else int(2 * answers * (others + mates))
                found.append(Work("judge", one, games, 0 if not known else games, "at most"))
        return found

    def _rows(self, name: str) -> int:
        """Return how many rows a round trains on: as last time, or as many of its instructions as earlier rounds had.

        An online round's rows are its instructions.
        """
        this = self._params.rounds[name]
        count = self.count(this.split)
        if this.online:
            return count
        card = read_document(self._paths.card(name))
        if not self._runs(f"dataset@{name}") and number_at(card, "rows") is not None:
            return int(number_at(card, "rows") or 0)
        share = 1.0
        for other in self._params.ordered_rounds:
            if self._params.rounds[other].method == this.method:
                seen = read_document(self._paths.card(other))
                new, asked = number_at(seen, "rows_new"), number_at(seen, "instructions")
                share = new / asked if new is not None and asked else share
        earlier = self._rows(this.adds_to) if this.adds_to != NONE else 0
        return round(count * share) + earlier


def _numbered(count: int) -> list[Instruction]:
    """Return stand-ins for instructions that are not prepared yet."""
    return [Instruction.model_construct(id=f"#{number}") for number in range(count)]
