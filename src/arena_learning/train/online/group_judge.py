"""Judging of sampled answers: scores or win rates of a group of answers to one prompt, through the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Literal, NamedTuple

from arena_learning.judge import (
    Judge,
    Pairing,
    PlayedGames,
    is_pointwise,
    play_games,
    plays_both_orders,
    tie_margin,
)
from arena_learning.schema import Battle, Instruction, Response
from arena_learning.store import Store

Reward = Literal["score", "win_rate"]
Against = Literal["opponents", "group", "both"]
Rewards = list[list[float | None]]  # by group and answer; None: unscored
_Place = tuple[str, str]  # instruction id and contestant


class RewardInputs(NamedTuple):
    """What an online training needs besides the model.

    Attributes:
        instructions: the prompts, with the rubrics and references that judges read.
        opponents: the opponents' answers by instruction id; empty if answers are compared with none.
        judge: its verdicts are the reward.
        monitor: another judge, whose scores are logged.
        store: stores the verdicts of both.
        disagree: how two orders with different winners are merged (`judge.disagree`).
        max_refused: share of the games that a judge's engine may refuse (`serving.max_refused`).
    """

    instructions: Sequence[Instruction]
    opponents: Mapping[str, Sequence[Response]]
    judge: Judge
    monitor: Judge
    store: Store
    disagree: str = "average"
    max_refused: float = 0.1


class GroupJudge:
    """Scores groups of answers with one judge.

    A judge that scores one answer by itself judges one game for each answer. Another one compares the answer with
    others; its score is then the mean over these comparisons.

    Args:
        judge: the judge.
        inputs: instructions, opponents and the store.
        reward: ``score`` (1 to 10), or ``win_rate`` (0 to 1).
        against: which answers each answer is compared with.
    """

    def __init__(self, judge: Judge, inputs: RewardInputs, reward: Reward, against: Against) -> None:
        self.judge, self.reward, self.against = judge, reward, against
        self.judged = 0
        self._inputs = inputs
        self._instructions = {instruction.id: instruction for instruction in inputs.instructions}
        self._alone = is_pointwise(judge)

    def games(self, instruction_id: str, group: int) -> int:
        """Return the most games that ``group`` answers to an instruction need."""
        others = len(self._opponents(instruction_id))
        if self._alone:
            return group + (others if self.reward == "win_rate" else 0)
        mates = group * (group - 1) // 2 if self.against != "opponents" else 0
        return (group * others + mates) * (2 if plays_both_orders(self.judge) else 1)

    def rewards(self, groups: Sequence[Sequence[Response]]) -> Rewards:
        """Return the reward of each answer; None if the judge gave no verdict.

        Args:
            groups: each holds the answers to one instruction.

        Raises:
            ArenaError: the judge cannot be asked, or refuses too many games; finished verdicts are in the store.
        """
        found: dict[int, list[float | None]] = {}
        for wave in _waves(groups):
            found |= self._wave({number: groups[number] for number in wave})
        return [found[number] for number in range(len(groups))]

    def _wave(self, groups: Mapping[int, Sequence[Response]]) -> dict[int, list[float | None]]:
        """Return the rewards of groups whose instructions are all different."""
        responses: dict[_Place, Response] = {}
        names: dict[int, list[str]] = {}
        for number, group in groups.items():
            known: dict[tuple[str, str], str] = {}
            # Equal answers are judged once. Names are the same in all groups, so that `play_games` can batch the games.
            names[number] = [
                known.setdefault((r.text, r.finish_reason), f"#{place}") for place, r in enumerate(group)
            ]
            for name, response in zip(names[number], group, strict=True):
                own = response.model_copy(update={"contestant": name})
                responses.setdefault((response.instruction_id, name), own)
            for other in self._opponents(group[0].instruction_id):
                responses[other.instruction_id, other.contestant] = other
        ids = {number: group[0].instruction_id for number, group in groups.items()}
        if self._alone:
            return self._by_scores(ids, names, responses)
        return self._by_battles(ids, names, responses)

    def _by_scores(
        self, ids: Mapping[int, str], names: Mapping[int, list[str]], responses: Mapping[_Place, Response]
    ) -> dict[int, list[float | None]]:
        own = {(ids[number], name) for number, each in names.items() for name in each}
        asked = own if self.reward == "score" else set(responses)
        played = self._play([Pairing(i, name, name) for i, name in asked], responses)
        scores = {(game.instruction_id, game.first): game.score_first for game in played.games}
        if self.reward == "score":
            return {number: [scores[ids[number], name] for name in each] for number, each in names.items()}
        margin = tie_margin(self.judge)
        found = {}
        for number, each in names.items():
            marks = {name: scores[i, name] for i, name in responses if i == ids[number]}
            found[number] = [
                _mean([_won(marks[each[place]], marks[other], margin) for other in self._met(ids, number, place, each)])
                for place in range(len(each))
            ]  # fmt: skip
        return found

    def _by_battles(
        self, ids: Mapping[int, str], names: Mapping[int, list[str]], responses: Mapping[_Place, Response]
    ) -> dict[int, list[float | None]]:
        pairings = []
        for number, each in names.items():
            mates = combinations(sorted(set(each)), 2) if self.against != "opponents" else ()
            others = [other.contestant for other in self._opponents(ids[number])]
            pairs = [*mates, *((name, other) for name in sorted(set(each)) for other in others)]
            pairings += [Pairing(ids[number], *sorted(pair)) for pair in pairs]
        played = self._play(pairings, responses)
        battles = {(b.instruction_id, frozenset((b.a, b.b))): b for b in played.battles}
        found = {}
        for number, each in names.items():
            found[number] = [
                _mean([
                    self._taken(each[place], battles.get((ids[number], frozenset((each[place], other)))))
                    for other in self._met(ids, number, place, each)
                ])
                for place in range(len(each))
            ]  # fmt: skip
        return found

    def _taken(self, name: str, battle: Battle | None) -> float | None:
        """Return an answer's reward from one comparison; there is no battle between two equal answers."""
        if battle is None:
            return 0.5 if self.reward == "win_rate" else None
        if battle.winner == "unscored":
            return None
        side = "a" if battle.a == name else "b"
        if self.reward == "score":
            return battle.score_a if side == "a" else battle.score_b
        return 0.5 if battle.winner == "tie" else float(battle.winner == side)

    def _met(self, ids: Mapping[int, str], number: int, place: int, each: Sequence[str]) -> list[str]:
        """Return the answers that the one at ``place`` of a group is compared with."""
        mates = (
            [name for other, name in enumerate(each) if other != place] if self.against != "opponents" else []
        )
        return [*mates, *(other.contestant for other in self._opponents(ids[number]))]

    def _opponents(self, instruction_id: str) -> list[Response]:
        """Return the opponents' answers that an answer is compared with, without refused ones."""
        if self.against == "group":
            return []
        recorded = self._inputs.opponents.get(instruction_id, ())
        return [response for response in recorded if response.finish_reason != "refused"]

    def _play(self, pairings: Sequence[Pairing], responses: Mapping[_Place, Response]) -> PlayedGames:
        played = play_games(
            pairings,
            self._instructions,
            responses,
            self.judge,
            self._inputs.store,
            disagree=self._inputs.disagree,
            max_refused=self._inputs.max_refused,
        )
        self.judged += played.judged
        return played


def rank_agreement(ours: Rewards, theirs: Rewards) -> float | None:
    """Return the share of pairs of a group that two judges rank the same, of the pairs that both decide.

    None if there is no such pair.

    Example:
        >>> rank_agreement([[1.0, 2.0, 3.0]], [[5.0, 9.0, 9.0]])
        1.0
    """
    alike = [
        (a - b) * (c - d) > 0
        for one, two in zip(ours, theirs, strict=True)
        for (a, c), (b, d) in combinations(zip(one, two, strict=True), 2)
        if a is not None and b is not None and c is not None and d is not None and a != b and c != d
    ]
    return fmean(alike) if alike else None


def _waves(groups: Sequence[Sequence[Response]]) -> Iterator[list[int]]:
    """Yield the groups' numbers in waves, each instruction at most once in a wave."""
    left = list(range(len(groups)))
    while left:
        taken: dict[str, int] = {}
        for number in left:
            taken.setdefault(groups[number][0].instruction_id, number)
        yield list(taken.values())
        left = [number for number in left if number not in taken.values()]


def _won(own: float | None, other: float | None, margin: float) -> float | None:
    if own is None or other is None:
        return None
    return 0.5 if abs(own - other) <= margin else float(own > other)


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of those that are there."""
    given = [value for value in values if value is not None]
    return fmean(given) if given else None
