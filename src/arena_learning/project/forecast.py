"""A forecast of a run: for each stage the answers and games to be made, tokens, seconds, money, GPU hours, disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import NamedTuple

from arena_learning.arena import sampling_of
from arena_learning.core import Paths, StageRun, read_stage_runs
from arena_learning.leaderboard import number_at, read_document
from arena_learning.params import Params
from arena_learning.project.disk import size_of
from arena_learning.project.gpus import gpus_of
from arena_learning.project.plan import PlannedStage, RunPlan
from arena_learning.project.seen import Length, Rates, Seen, prompt_tokens
from arena_learning.project.workload import Work, Workload
from arena_learning.report import read_ledger_rows
from arena_learning.store import Spending, Store

_START = 10.0  # seconds in which a stage imports and loads what it needs, where none was measured
_TEMPLATE = 250.0  # tokens of a judge's template, where no verdict was seen
# In the store, the stages' files and DVC's copy of them: a run of profile laptop, divided by its answers and games.
_ANSWER_BYTES = 1_200
_GAME_BYTES = 2_900
_EXPORT = {"q8_0": 0.27, "f16": 0.5}  # size of an export, as a share of the model's fp32 weights


class Share(NamedTuple):
    """The forecast of one contestant, judge or training in a stage.

    Attributes:
        work: what it has to make.
        tokens_in: tokens of its prompts; None: unknown.
        tokens_out: tokens that it generates.
        money: what its requests cost; None: its price, or its prompts' length, is unknown.
        seconds: time for its requests alone; None: unknown.
        lengths: where the lengths are from.
    """

    work: Work
    tokens_in: float | None
    tokens_out: float
    money: float | None
    seconds: float | None
    lengths: str


class StageForecast(NamedTuple):
    """The forecast of a stage.

    Attributes:
        stage: its name in dvc.yaml.
        certain: whether it will run; otherwise it runs only if what it reads changes.
        shares: by contestant, judge and training.
        seconds: how long it takes; None: unknown.
        gpus: GPUs that it uses.
        disk: bytes that it adds.
    """

    stage: str
    certain: bool
    shares: tuple[Share, ...]
    seconds: float | None
    gpus: float
    disk: float

    @property
    def gpu_hours(self) -> float | None:
        """GPUs by time; None where the time is unknown and GPUs are used."""
        if not self.gpus:
            return 0.0
        return None if self.seconds is None else self.gpus * self.seconds / 3600


def forecast_run(
    plan: RunPlan | None,
    params: Params,
    paths: Paths,
    *,
    rates: Rates = Rates(),  # noqa: B008 - immutable
    anew: bool = False,
) -> list[StageForecast]:
    """Return the forecast of each stage that may run.

    Args:
        plan: which stages those are; None: all.
        params: the parameters.
        paths: the project.
        rates: given rates, which replace measured ones.
        anew: forecast all stages as if nothing had been made yet; lengths and rates are those of what was made.

    Raises:
        ArenaError: a file of the project is malformed.
    """
    planned = {stage.name: stage for stage in plan.stages} if plan else {}
    everything = anew or plan is None
    certain = [name for name, stage in planned.items() if stage.certain]
    work = Workload(params, paths, None if everything else set(planned), certain)
    stages = work.stages()
    seen = Seen(read_ledger_rows(params, paths), params, paths, rates)
    maker = _Maker(work, seen, planned, params, paths)
    names = list(planned or stages)
    return [maker.stage(name, stages.get(name, [])) for name in names]


class _Maker:
    """Makes the forecasts of stages from their work."""

    def __init__(
        self, work: Workload, seen: Seen, planned: Mapping[str, PlannedStage], params: Params, paths: Paths
    ) -> None:
        self._work, self._seen, self._planned = work, seen, planned
        self._params, self._paths = params, paths
        self._runs = {run.stage: run for run in read_stage_runs(paths) if not run.failed}
        self._spent: list[Spending] = []
        if paths.store.is_file():
            with Store(paths.store) as store:
                self._spent = store.spending_rows()
        self._model = float(size_of(paths.model("base")))

    def stage(self, name: str, works: Sequence[Work]) -> StageForecast:
        """Return the forecast of a stage."""
        shares = tuple(self._share(name, work) for work in works)
        planned = self._planned.get(name)
        seconds = self._seconds(name, shares, planned)
        return StageForecast(
            name,
            planned.certain if planned else True,
            shares,
            seconds,
            self._gpus(works),
            self._disk(name, works),
        )

    def _share(self, stage: str, work: Work) -> Share:
        if work.role == "training":
            return Share(work, 0.0, 0.0, 0.0, self._seen.training(work.name, work.made), "")
        if self._recorded(work):
            return Share(work, 0.0, 0.0, 0.0, 0.0, "recorded")
        length = self._length(stage, work)
        tokens_in = length.prompt * work.made if length.prompt is not None else None
        tokens_out = length.generated * work.made
        seconds = 0.0 if not work.made else length.seconds * work.made if length.seconds is not None else None
        return Share(
            work, tokens_in, tokens_out, self._money(work, tokens_in, tokens_out), seconds, length.source
        )

    def _recorded(self, work: Work) -> bool:
        if work.role == "training":
            return False
        if work.role == "judge":
            return self._params.judges[work.name].kind == "replay"
        opponent = self._params.opponents.get(work.name)
        return opponent is not None and opponent.engine == "recorded"

    def _length(self, stage: str, work: Work) -> Length:
        asked = self._prompts(stage)
        if work.role == "contestant":
            return self._seen.answer(work.name, asked, sampling_of(work.name, self._params).max_tokens)
        shown = None if asked is None else _TEMPLATE + asked + 2 * self._params.sampling.max_tokens
        return self._seen.game(work.name, shown)

    def _prompts(self, stage: str) -> float | None:
        """Return the mean tokens of the instructions of a stage, estimated from their bytes."""
        _, _, name = stage.partition("@")
        round_stage = stage.startswith(("battle@", "judge@", "train@"))
        split = self._params.rounds[name].split if round_stage else "test"
        held = self._work.instructions(split) or self._work.instructions("test")
        return prompt_tokens(sum(len(turn.content.encode()) for turn in one.turns) for one in held)

    def _money(self, work: Work, tokens_in: float | None, tokens_out: float) -> float | None:
        known = self._params.judges if work.role == "judge" else self._params.opponents
        one = known.get(work.name)
        if one is None or one.engine != "openai" or not work.made:
            return 0.0
        price = self._params.prices.get(one.model)
        if price is None or tokens_in is None:
            return None
        return price.money(tokens_in, tokens_out, batch=one.batch)

    def _seconds(self, name: str, shares: Sequence[Share], planned: PlannedStage | None) -> float | None:
        """Return the time of a stage: what it takes besides requests and training, and these.

        The last run here says the first, if what its requests took is known. A run of which only the whole is known
        stands for one in which everything was made.
        """
        if planned is not None and not planned.certain and shares and not any(s.work.made for s in shares):
            return 0.0
        parts = [share.seconds for share in shares]
        own = None if None in parts else sum(part or 0.0 for part in parts)
        last = self._last(name, shares, planned)
        fixed = self._fixed(self._runs[name]) if name in self._runs else None
        if fixed is not None and own is not None:
            return fixed + own
        if last is None:
            if shares and all(self._recorded(share.work) for share in shares):
                return 0.0
            return None if own is None or not shares else self._usual_start(name) + own
        if not shares or not any(share.work.known for share in shares):
            return last
        whole = self._if_all_were_made(shares)
        return last if own is None or whole is None else max(own, last - whole + own)

    def _last(self, name: str, shares: Sequence[Share], planned: PlannedStage | None) -> float | None:
        """Return what the stage took last; a training of another number of rows takes as much more or less."""
        last = planned.seconds if planned else None
        if last is None or not name.startswith("train@"):
            return last
        metrics = read_document(self._paths.stage_metrics(name.removeprefix("train@"), "train"))
        then = number_at(metrics, "rows")
        rows = sum(share.work.made for share in shares if share.work.role == "training")
        return last * rows / then if then and planned and planned.ran_here else last

    def _fixed(self, run: StageRun) -> float | None:
        """Return what a run of a stage took besides its requests; None if that is unknown."""
        if not run.ended or run.stage.startswith("train@"):
            return None
        ended = datetime.fromisoformat(run.ended)
        since = str(ended - timedelta(seconds=run.seconds + 2))  # times are kept to the second
        asked = sum(
            one.seconds
            for one in spent_in(run.stage, self._spent)
            if since <= one.began and one.ended <= run.ended
        )
        return max(0.0, run.seconds - asked)

    def _usual_start(self, name: str) -> float:
        """Return what stages of the same kind take besides their requests."""
        kind = name.partition("@")[0].partition("-")[0]
        known = [
            fixed
            for stage, run in self._runs.items()
            if stage.partition("@")[0].partition("-")[0] == kind and (fixed := self._fixed(run)) is not None
        ]
        return median(known) if known else _START

    @staticmethod
    def _if_all_were_made(shares: Sequence[Share]) -> float | None:
        parts = [
            share.seconds / share.work.made * share.work.wanted
            for share in shares
            if share.seconds and share.work.made
        ]
        return sum(parts) if len(parts) == sum(bool(share.work.made) for share in shares) else None

    def _gpus(self, works: Sequence[Work]) -> float:
        """Return the most GPUs that a stage uses at once: contestants and judges are asked one after the other."""
        asked = [work for work in works if not self._recorded(work)]
        return max((gpus_of(work, self._params) for work in asked), default=0.0)

    def _disk(self, stage: str, works: Sequence[Work]) -> float:
        answers = sum(work.made for work in works if work.role == "contestant" and not self._recorded(work))
        games = sum(work.made for work in works if work.role == "judge")
        added = float(answers * _ANSWER_BYTES + games * _GAME_BYTES)
        if any(work.role == "training" and work.made for work in works):
            serving = self._params.serving
            export = _EXPORT.get(serving.dtype, 0.0) if serving.engine == "openvino" else 0.0
            added += self._model * (2 + export)  # the model, DVC's copy of it, and the export that answers
        return added


def spending_place(stage: str) -> tuple[str, str]:
    """Return the stage and round under which the store counts the spending of a stage of dvc.yaml.

    >>> spending_place("battle@sft-i1"), spending_place("answer-opponent@expert")
    (('battle', 'sft-i1'), ('answer', ''))
    """
    kind, _, name = stage.partition("@")
    return ("answer", "") if kind.startswith("answer") else (kind, name)


def spent_in(stage: str, spent: Iterable[Spending]) -> list[Spending]:
    """Return what was spent in a stage of dvc.yaml, in any of its runs."""
    place, who = spending_place(stage), contestant_of(stage)
    return [one for one in spent if (one.stage, one.round) == place and who in ("", one.name)]


def contestant_of(stage: str) -> str:
    """Return who answers the test set in a stage; empty for other stages.

    >>> contestant_of("answer-base"), contestant_of("answer@sft-i1"), contestant_of("evaluate")
    ('base', 'sft-i1', '')
    """
    kind, _, name = stage.partition("@")
    if not kind.startswith("answer"):
        return ""
    return name or "base"
