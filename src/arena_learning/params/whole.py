"""The whole of params.yaml, its rounds and its leaderboard."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arena_learning.params.contestants import BattleParams, Opponent, Sampling, Serving, Weights
from arena_learning.params.judging import JudgeParams, Judging
from arena_learning.params.pool import Pool
from arena_learning.params.section import NONE, Name, Positive, Section
from arena_learning.params.training import Dataset, Train


class Round(Section):
    """One round: battle, judge, dataset, train, evaluate. ``none`` stands for nothing.

    Attributes:
        index: place in the order of rounds, from 0; the x of the plots.
        method: ``sft``, ``dpo``, ``ppo``, or ``rloo`` or ``grpo``: a judge rewards what is sampled to the split.
        split: whose instructions are played.
        target: the model that battles and whose losses are collected, or ``none`` (then ``labels`` are learnt).
        init: the model that training starts from.
        threshold: smallest gap K of a battle that becomes a row.
        adds_to: the earlier round whose accumulated rows this one adds to, or ``none``.
        labels: an opponent whose answers are learnt without battles (the paper's SFT-I0), or ``none``.
    """

    index: int = Field(ge=0)
    method: Literal["sft", "dpo", "ppo", "rloo", "grpo"]
    split: Name
    target: Name
    init: Name
    threshold: float = Field(ge=0, le=9)
    adds_to: Name = NONE
    labels: Name = NONE

    @property
    def online(self) -> bool:
        """Whether the model learns from what a judge says of its own new answers, and not from rows."""
        return self.method in ("rloo", "grpo")


class Evaluate(Section):
    """The leaderboard.

    Attributes:
        judges: judges of the test set; the first one's board comes first.
        anchor: the contestant whose rating is fixed.
        anchor_rating: its rating.
        bootstrap: resamples of the test instructions.
        schedule: which battles are played on the test set: ``all`` pairs on every instruction, everybody against the
            anchor (``anchored``), or where they tell most about the ranking (``adaptive``; for an expensive judge).
        budget: adaptive: most battles that each contestant brings along (0: until neighbours are told apart).
        gap: adaptive: neighbours in the ranking this many Elo points apart must be told apart.
    """

    judges: tuple[Name, ...] = ("rubric",)
    anchor: Name = "base"
    anchor_rating: float = 1000.0
    bootstrap: Positive = 1000
    schedule: Literal["all", "anchored", "adaptive"] = "all"
    budget: int = Field(default=0, ge=0)
    gap: float = Field(default=20.0, gt=0)


class Params(Section):
    """The whole of params.yaml.

    Attributes:
        seed: of everything random: splits, draws, training, resamples.
        files_outside: whether the pool, recorded answers and recorded verdicts may lie outside of the project.
        weights: the base model.
        serving: how the base and trained models answer.
        sampling: how contestants sample.
        pool: the instructions and their splits.
        opponents: contestants that are not trained, by name.
        battle: who meets whom.
        judges: by name.
        judge: the judge of the rounds.
        dataset: which battles become rows.
        train: how models are trained.
        evaluate: the leaderboard.
        rounds: by name.
    """

    seed: int = 0
    files_outside: bool = False
    weights: Weights
    serving: Serving = Serving()
    sampling: Sampling = Sampling()
    pool: Pool
    opponents: dict[Name, Opponent]
    battle: BattleParams = BattleParams()
    judges: dict[Name, JudgeParams]
    judge: Judging = Judging()
    dataset: Dataset = Dataset()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    rounds: dict[Name, Round]

    @property
    def ordered_rounds(self) -> list[str]:
        """The rounds' names by index."""
        return sorted(self.rounds, key=lambda name: self.rounds[name].index)

    @property
    def contestants(self) -> list[str]:
        """All contestants of the leaderboard: the base, the opponents, the rounds."""
        return ["base", *self.opponents, *self.ordered_rounds]

    @property
    def joining(self) -> list[list[str]]:
        """Contestants in the order in which they come: who is there from the start, then one after the other.

        A round's model and an opponent that joins late come by their index, the opponent before the round. Who is added
        at the end leaves all before as they are.
        """
        founders = ["base", *(name for name, one in self.opponents.items() if not one.joins)]
        late = [(one.joins, 0, name) for name, one in self.opponents.items() if one.joins]
        late += [(one.index, 1, name) for name, one in self.rounds.items()]
        return [founders, *([name] for *_, name in sorted(late))]

    def opponents_of(self, round_name: str) -> list[str]:
        """Return the opponents that fight in a round: those who have joined by then, sorted."""
        index = self.rounds[round_name].index
        return sorted(name for name, opponent in self.opponents.items() if opponent.joins <= index)
