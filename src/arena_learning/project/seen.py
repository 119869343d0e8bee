"""Lengths and rates that were measured here so far, for a plan of what is still to be made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean
from typing import Any, NamedTuple

from arena_learning.core import Paths
from arena_learning.leaderboard import mapping_at, number_at, read_document
from arena_learning.params import BASE, Params
from arena_learning.report import LedgerRow
from arena_learning.schema import Response, read_rows


class Rates(NamedTuple):
    """Rates that a user gives for a machine where nothing was measured yet; None: the measured ones.

    Attributes:
        answers: generated tokens a second of a contestant.
        games: games a second of a judge.
        rows: training rows a second, one pass over a row.
    """

    answers: float | None = None
    games: float | None = None
    rows: float | None = None


class Length(NamedTuple):
    """What an answer or game takes on average.

    Attributes:
        prompt: tokens of the prompt; None: unknown.
        generated: generated tokens; of a judge whose tokens are known only together, all of them.
        seconds: time for one; None: unknown.
        source: where the lengths are from.
    """

    prompt: float | None
    generated: float
    seconds: float | None
    source: str


class _Sum:
    """Answers or games, with their tokens and seconds; answers without seconds count for lengths alone."""

    def __init__(self) -> None:
        self.made = self.prompts = self.prompted = self.generated = 0.0
        self.timed = self.timed_tokens = self.seconds = 0.0

    def add(self, made: float, generated: float, seconds: float, prompts: float | None = None) -> None:
        """Count some more."""
        self.made += made
        self.generated += generated
        if prompts is not None:
            self.prompts, self.prompted = self.prompts + prompts, self.prompted + made
        if seconds:
            self.timed, self.timed_tokens = self.timed + made, self.timed_tokens + generated
            self.seconds += seconds

    def length(self, source: str) -> Length | None:
        """Return the means; None if nothing was counted."""
        if not self.made:
            return None
        generated = self.generated / self.made
        return Length(
            self.prompts / self.prompted if self.prompted else None, generated, self.pace(generated), source
        )

    def pace(self, generated: float) -> float | None:
        """Return the seconds of an answer of so many tokens, at the rate of those that were timed."""
        if not self.timed:
            return None
        if self.timed_tokens:
            return self.seconds / self.timed_tokens * generated
        return self.seconds / self.timed


class Seen:
    """What contestants, judges and trainings have taken so far.

    The ledger's figures count where it has any; else those of the stages' metrics files and answers.

    Args:
        rows: the ledger.
        params: the parameters.
        paths: the project.
        rates: given rates, which replace measured ones.
    """

    def __init__(self, rows: Iterable[LedgerRow], params: Params, paths: Paths, rates: Rates) -> None:
        self._params, self._paths, self._rates = params, paths, rates
        self._contestants: dict[str, _Sum] = defaultdict(_Sum)
        self._judges: dict[str, _Sum] = defaultdict(_Sum)
        # A rating of an instruction's difficulty is no game. An opponent whose answers are only labels answers, too.
        for row in rows:
            if row.stage == "difficulty":
                continue
            if row.made and row.name in (
                params.judges if row.role == "judge" else {*params.contestants, *params.opponents}
            ):
                generated = row.tokens if row.tokens_out is None else row.tokens_out
                known = self._judges if row.role == "judge" else self._contestants
                known[row.name].add(row.made, generated, row.seconds, row.tokens_in)
        self._add_files({*self._contestants}, {*self._judges})
        self._passes = self._trainings()

    def answer(self, contestant: str, prompt: float | None, max_tokens: int) -> Length:
        """Return what an answer of a contestant takes.

        Without any answer of its own, a model of the project takes the mean of the others; for anyone else the longest
        answer that is allowed is counted.

        Args:
            contestant: who answers.
            prompt: mean tokens of the prompts, estimated from their text; None: unknown.
            max_tokens: limit of an answer's length.
        """
        own = {BASE, *self._params.rounds}
        others = [self._contestants[one] for one in sorted(own & self._contestants.keys())]
        together = _merged(others)
        found = self._contestants[contestant].length("its own") if contestant in self._contestants else None
        if found is None and contestant in own:
            found = together.length("the project's other models")
        if found is None:
            found = Length(prompt, float(max_tokens), None, "the longest that is allowed")
        if found.seconds is None and contestant in own:
            found = found._replace(seconds=together.pace(found.generated))
        if self._rates.answers:
            found = found._replace(seconds=found.generated / self._rates.answers)
        return found._replace(prompt=found.prompt if found.prompt is not None else prompt)

    def game(self, judge: str, prompt: float | None) -> Length:
        """Return what a game of a judge takes; arguments as in `answer`. A judge without a model takes no tokens."""
        found = self._judges[judge].length("its own") if judge in self._judges else None
        settings = self._params.judges[judge]
        if found is None and settings.kind == "llm":
            found = Length(prompt, float(settings.max_tokens), None, "the longest that is allowed")
        if found is None:
            alike = [
                one for name, one in self._judges.items() if self._params.judges[name].kind == settings.kind
            ]
            found = _merged(alike).length("judges of its kind") or Length(0.0, 0.0, None, "")
        if settings.kind != "llm":
            found = found._replace(prompt=0.0, generated=0.0)
        if self._rates.games:
            found = found._replace(seconds=1 / self._rates.games)
        return found

    def training(self, method: str, rows: int) -> float | None:
        """Return the seconds of a training on so many rows; None if the method has not trained here.

        An online method passes as many answers for each row as its group has.
        """
        if not rows:
            return 0.0
        passed = 1 / self._rates.rows if self._rates.rows else self._passes.get(method)
        settings = getattr(self._params.train, method)
        return None if passed is None else passed * rows * settings.epochs * getattr(settings, "group", 1)

    def _add_files(self, contestants: set[str], judges: set[str]) -> None:
        """Count the metrics files of those whom the ledger does not know."""
        for name in self._params.ordered_rounds:
            battle = read_document(self._paths.stage_metrics(name, "battle"))
            told = dict(mapping_at(battle, "contestants"))
            target = self._params.rounds[name].target
            for who, one in [*told.items(), (target, mapping_at(battle, "samples"))]:
                if who not in contestants and who not in self._free():
                    self._contestants[who].add(*_figures(one, "answers"))
            judge = read_document(self._paths.stage_metrics(name, "judge"))
            if self._params.judge.name not in judges:
                for one in (judge, mapping_at(judge, "samples")):
                    self._judges[self._params.judge.name].add(*_figures(one, "games"))
        for who in self._params.contestants:
            file = self._paths.arena_responses(who)
            if who not in contestants and who not in self._free() and file.is_file():
                answers = [one for one in read_rows(file, Response) if one.finish_reason != "refused"]
                prompts = sum(one.prompt_tokens for one in answers)
                self._contestants[who].add(
                    len(answers), sum(one.completion_tokens for one in answers), 0.0, prompts
                )
        for name, one in read_document(self._paths.arena_metrics).items():
            if name not in judges and name in self._params.judges:
                self._judges[name].add(*_figures(one, "games"))

    def _free(self) -> set[str]:
        return {name for name, one in self._params.opponents.items() if one.engine == "recorded"}

    def _trainings(self) -> dict[str, float]:
        """Return the seconds of one pass over a row, or over a sampled answer, by method."""
        found: dict[str, list[float]] = defaultdict(list)
        for name in self._params.ordered_rounds:
            method = self._params.rounds[name].method
            metrics = read_document(self._paths.stage_metrics(name, "train"))
            rows = number_at(metrics, "rows")
            settings = mapping_at(metrics, "settings")
            passes = (number_at(settings, "epochs") or 1.0) * (number_at(settings, "group") or 1.0)
            seconds = sum(number_at(one) or 0.0 for one in mapping_at(metrics, "cost", "seconds").values())
            if rows and seconds:
                found[method].append(seconds / (rows * passes))
        return {method: fmean(each) for method, each in found.items()}


def _figures(metrics: Any, unit: str) -> tuple[float, float, float]:
    made, tokens, seconds = (number_at(metrics, key) or 0.0 for key in (unit, "tokens", "seconds"))
    return made, tokens, seconds


def _merged(sums: Iterable[_Sum]) -> _Sum:
    whole = _Sum()
    for one in sums:
        for name, value in vars(one).items():
            setattr(whole, name, getattr(whole, name) + value)
    return whole


def prompt_tokens(sizes: Iterable[int]) -> float | None:
    """Return the mean tokens of texts with these numbers of bytes, at 4 bytes a token; None without any."""
    listed = list(sizes)
    return fmean(listed) / 4 if listed else None
