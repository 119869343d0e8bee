"""The top level of params.yaml, and its sections about rounds and the leaderboard."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arena_learning.params.contestants import BattleParams, Opponent, Ray, Sampling, Serving, Weights
from arena_learning.params.costs import Budget, Price
from arena_learning.params.gate import Gate
from arena_learning.params.judging import JudgeParams, Judging
from arena_learning.params.pool import Pool
from arena_learning.params.section import NONE, Name, Positive, Section
from arena_learning.params.training import Dataset, Train

# How far a judge's word on trained models is independent: the training learnt from its scores; or from those of another
# judge that judges by the same thing; or neither.
Independence = Literal["teacher", "alike", "independent"]


class Round(Section):
    """One round of training: battle, judge, dataset, train. Models are named ``base`` or by their round.

    Attributes:
        index: position in the order of rounds, from 0; x-axis of the plots.
        method: training method: ``sft``, ``dpo``, ``ppo``, ``rft`` (fine-tuning on the best of the target's own
            samples), ``rloo`` or ``grpo`` (a judge rewards newly sampled answers).
        split: split of the pool whose instructions are used, d0 to d9.
        target: model that battles and whose losses become training rows; ``none``: train on ``labels`` instead.
        init: model that training starts from.
        threshold: smallest score gap K (0 to 9) that becomes a row: of a battle, or of the best sample and the worst;
            under ``rft`` of the best sample and the samples' mean (0: the best of each instruction).
        adds_to: earlier round whose rows are added to this round's, or ``none``.
        labels: opponent whose answers are trained on without battles (SFT-I0 in the paper), or ``none``.
    """

    index: int = Field(ge=0)
    method: Literal["sft", "rft", "dpo", "ppo", "rloo", "grpo"]
    split: Name
    target: Name
    init: Name
    threshold: float = Field(ge=0, le=9)
    adds_to: Name = NONE
    labels: Name = NONE

    @property
    def online(self) -> bool:
        """Whether training samples new answers and a judge rewards them; no rows are read."""
        return self.method in ("rloo", "grpo")

    @property
    def supervised(self) -> bool:
        """Whether answers are learnt (`SftRow`), and not pairs of them (`PreferenceRow`)."""
        return self.method in ("sft", "rft")


class Evaluate(Section):
    """The leaderboard.

    Attributes:
        judges: judges of the test set, keys of ``judges``; the first one's leaderboard is shown first.
        anchor: contestant whose rating is fixed.
        anchor_rating: the anchor's rating in Elo points.
        bootstrap: number of bootstrap resamples of the test instructions.
        style: whether each leaderboard also has the ratings with answers' length and Markdown held equal.
        human_verdicts: file of people's verdicts on some of the test set's battles (`HumanVerdict`), or a folder of
            such files, as `reviews`; each leaderboard then also has ratings on the people's scale. Empty: none.
        schedule: battles on the test set: ``all`` pairs on every instruction, all contestants against the anchor
            (``anchored``), or the most informative battles for the ranking (``adaptive``, for an expensive judge).
        budget: adaptive: limit of battles per contestant (0: go on until neighbours in the ranking are distinguished).
        gap: adaptive: difference in Elo points from which neighbours in the ranking must be distinguished.
    """

    judges: tuple[Name, ...] = ("rubric",)
    anchor: Name = "base"
    anchor_rating: float = 1000.0
    bootstrap: Positive = 1000
    style: bool = True
    human_verdicts: str = ""
    schedule: Literal["all", "anchored", "adaptive"] = "all"
    budget: int = Field(default=0, ge=0)
    gap: float = Field(default=20.0, gt=0)


class Track(Section):
    """What MLflow shows besides the runs.

    Attributes:
        traces: number of judges' games that are shown one by one, as traces; drawn at random with ``seed``. 0: none.
    """

    traces: int = Field(default=50, ge=0)


class Params(Section):
    """The whole of params.yaml.

    Attributes:
        seed: seed of everything random: splits, draws, training, resamples.
        files_outside: whether the pool, recorded answers, recorded verdicts and people's verdicts may lie outside the
            project.
        weights: the base model.
        serving: how the base model and trained models are served.
        ray: where replicas of models run.
        sampling: how contestants sample; an opponent can have its own.
        pool: the instructions and their splits.
        opponents: contestants that are not trained, by name.
        battle: who battles whom.
        judges: settings of each judge, by name.
        judge: which judge the rounds use.
        dataset: which battles become training rows.
        train: how models are trained.
        evaluate: the leaderboard.
        gate: what a round's model must show before it becomes the champion.
        track: what MLflow shows besides the runs.
        prices: what models behind endpoints cost, by their name (``model`` of an opponent or judge); they change no
            result.
        budget: where a run stops; it changes no result.
        rounds: the rounds of training, by name.
    """

    seed: int = 0
    files_outside: bool = False
    weights: Weights
    serving: Serving = Serving()
    ray: Ray = Ray()
    sampling: Sampling = Sampling()
    pool: Pool
    opponents: dict[Name, Opponent]
    battle: BattleParams = BattleParams()
    judges: dict[Name, JudgeParams]
    judge: Judging = Judging()
    dataset: Dataset = Dataset()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    gate: Gate = Gate()
    track: Track = Track()
    prices: dict[str, Price] = Field(default_factory=dict)
    budget: Budget = Budget()
    rounds: dict[Name, Round]

    @property
    def ordered_rounds(self) -> list[str]:
        """Names of the rounds, sorted by index."""
        return sorted(self.rounds, key=lambda name: self.rounds[name].index)

    @property
    def contestants(self) -> list[str]:
        """All contestants of the leaderboard: base (if there is one), opponents (without those for labels), rounds."""
        return [*self._base, *self._fighting, *self.ordered_rounds]

    @property
    def _fighting(self) -> dict[str, Opponent]:
        return {name: one for name, one in self.opponents.items() if one.role == "contestant"}

    @property
    def has_base(self) -> bool:
        """Whether there is a base model; without one (``weights.source: none``) there are only opponents."""
        return self.weights.source != NONE

    @property
    def _base(self) -> list[str]:
        return ["base"] if self.has_base else []

    @property
    def compared(self) -> tuple[str, str]:
        """The two contestants that figures compare: base and last round; without rounds, the anchor and the next."""
        if self.rounds:
            return "base", self.ordered_rounds[-1]
        anchor = self.evaluate.anchor
        return anchor, next((name for name in self.contestants if name != anchor), anchor)

    @property
    def joining(self) -> list[list[str]]:
        """Contestants in the order in which they join: first those present from the start, then one by one.

        Rounds' models and late opponents are sorted by index, an opponent before the round with the same index. So a
        contestant that is added last does not change the groups before it.
        """
        founders = [*self._base, *(name for name, one in self._fighting.items() if not one.joins)]
        late = [(one.joins, 0, name) for name, one in self._fighting.items() if one.joins]
        late += [(one.index, 1, name) for name, one in self.rounds.items()]
        return [founders, *([name] for *_, name in sorted(late))]

    def opponents_of(self, round_name: str) -> list[str]:
        """Return the sorted names of the opponents that have joined by a round."""
        index = self.rounds[round_name].index
        return sorted(name for name, opponent in self._fighting.items() if opponent.joins <= index)

    def samples_of(self, round_name: str) -> int:
        """Return how many samples the target draws to each instruction of a round; 0 where it learns from none."""
        this = self.rounds[round_name]
        wanted = this.method == "rft" or (this.method in ("dpo", "ppo") and self.dataset.pairs == "samples")
        return self.battle.samples if wanted and this.target != NONE and self.battle.samples > 1 else 0

    def single_judges(self, name: str) -> list[str]:
        """Return the judges that give the verdicts of judge ``name``: itself, or the members of a jury."""
        return list(self.judges[name].members) or [name]

    def judges_in_use(self) -> dict[str, str]:
        """Return the judges that will judge something, each with the key that names it; of a jury its members.

        Example:
            >>> from pathlib import Path
            >>> from arena_learning.params import load_params
            >>> params = load_params(Path("profiles/leaderboard.yaml"))
            >>> params.judges_in_use()
            {'rubric': 'evaluate.judges', 'content': 'evaluate.judges', 'reference': 'evaluate.judges'}
        """
        battles = any(this.target != NONE and not this.online for this in self.rounds.values())
        named = [(self.judge.name, "judge.name")] if battles else []
        named += [(judge, "evaluate.judges") for judge in self.evaluate.judges]
        for method in dict.fromkeys(this.method for this in self.rounds.values() if this.online):
            own = self.train.online(method)
            named += [(own.judge, f"train.{method}.judge"), (own.monitor, f"train.{method}.monitor")]
        found: dict[str, str] = {}
        for judge, place in named:
            for one in self.single_judges(judge):
                found.setdefault(one, place)
        return found

    def teachers(self) -> dict[str, list[str]]:
        """Return the judges whose scores are learnt from, each with its rounds in order.

        The rounds' judge chooses the rows, a judge of RLOO or GRPO gives the rewards. After a jury stand its members. A
        round that learns an opponent's labels without battles has no judge.

        Example:
            >>> from pathlib import Path
            >>> from arena_learning.params import load_params
            >>> load_params(Path("profiles/laptop.yaml")).teachers()
            {'rubric': ['sft-i1', 'dpo-i1', 'rloo-i1']}
        """
        found: dict[str, list[str]] = {}
        for name in self.ordered_rounds:
            this = self.rounds[name]
            if this.online:
                judge = self.train.online(this.method).judge
            elif this.target != NONE:
                judge = self.judge.name
            else:
                continue
            for one in dict.fromkeys((judge, *self.single_judges(judge))):
                found.setdefault(one, []).append(name)
        return found

    def independence(self, judge: str) -> Independence:
        """Return how far a judge's word on the trained models is independent of the training.

        Example:
            >>> from pathlib import Path
            >>> from arena_learning.params import load_params
            >>> params = load_params(Path("profiles/laptop.yaml"))
            >>> [params.independence(judge) for judge in params.evaluate.judges]
            ['teacher', 'alike', 'independent']
        """
        teachers = self.teachers()
        if judge in teachers:
            return "teacher"
        return "alike" if self.alike(judge) else "independent"

    def alike(self, judge: str) -> list[str]:
        """Return the other judges that taught and judge by the same thing: rubrics, references, or one model.

        Of a jury: its members that taught.
        """
        own = self.judges[judge]
        if own.kind == "jury":
            return [member for member in self.single_judges(judge) if member in self.teachers()]
        same = (
            ("kind",)
            if own.kind in ("rubric", "reference", "longer")
            else ("kind", "engine", "model", "base_url")
        )
        return [
            one
            for one in self.teachers()
            if one != judge and all(getattr(own, key) == getattr(self.judges[one], key) for key in same)
        ]
