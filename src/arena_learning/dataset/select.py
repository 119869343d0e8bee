"""The paper's selection rules: lost battles become SFT rows, the widest gaps become preference pairs.

Each rule looks at one instruction and returns the battle to learn from, or the reason why there is none. Ties are
broken by a seeded hash, so that the order of the files has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from arena_learning.core import words
from arena_learning.params import WINNER, Strategy
from arena_learning.pool import seeded_rank
from arena_learning.schema import AnyBattle, Response


class Choice(NamedTuple):
    """A battle to learn from, with its winner and loser."""

    winner: str
    loser: str
    battle: AnyBattle

    @property
    def score(self) -> float:
        """The winner's mean score."""
        value = self.battle.score_a if self.winner == self.battle.a else self.battle.score_b
        return value if value is not None else 0.0

    @property
    def margin(self) -> float:
        """The winner's mean score less the loser's; below 0 where an answer is learnt that lost its battle."""
        better = self.battle.a if self.battle.winner == "a" else self.battle.b
        lost = self.battle.winner != "tie" and better == self.loser
        return (self.battle.gap or 0.0) * (-1 if lost else 1)


class Rules(NamedTuple):
    """The parameters of selection; see `params.Dataset` and `params.Round`."""

    threshold: float
    pairs: str
    max_words: int
    seed: int
    max_rows: int = 0
    opponents: tuple[str, ...] = ()
    strategy: Strategy = "battles"
    answers: str = WINNER
    budget: int = 0

    def admits(self, battle: AnyBattle, target: str | None) -> bool:
        """Whether both contestants of a battle may give rows; without ``opponents`` any may."""
        return not self.opponents or {battle.a, battle.b} <= {target, *self.opponents}


def choose_label(
    battles: Sequence[AnyBattle], target: str, responses: Mapping[str, Response], rules: Rules
) -> Choice | str:
    """Choose the answer that the target should have given (paper, section 4.2, SFT).

    The label is the answer with the highest score among the contestants that beat the target by the threshold or more
    and whose answer may be trained on. With a threshold of 0, an equal score is enough.

    Args:
        battles: the battles of one instruction.
        target: the contestant being trained.
        responses: the instruction's responses by contestant.
        rules: threshold, longest answer, seed.

    Returns:
        The battle to learn from, or the reason why there is none.

    Example:
        >>> from arena_learning.schema import Battle
        >>> sides = {"instruction_id": "q", "judge": "j", "category": "chat", "a": "base", "b": "large"}
        >>> lost = Battle(**sides, winner="b", score_a=4, score_b=8, gap=4, games=2)
        >>> said = {"instruction_id": "q", "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}
        >>> answers = {name: Response(**said, contestant=name, text="Paris") for name in ("base", "large")}
        >>> choose_label([lost], "base", answers, Rules(threshold=1, pairs="all", max_words=0, seed=0)).winner
        'large'
        >>> choose_label([lost], "base", answers, Rules(threshold=5, pairs="all", max_words=0, seed=0))
        'gap below the threshold'
    """
    own = [b for b in battles if target in (b.a, b.b)]
    scored = [b for b in own if b.winner != "unscored"]
    if not scored:
        return "unscored" if own else "no battle"
    losses = [c for b in scored if (c := _against(b, target)) is not None]
    if not losses:
        return "the target won"
    wide = [c for c in losses if (c.battle.gap or 0.0) >= rules.threshold]
    if not wide:
        return "gap below the threshold"
    return _best(wide, responses, rules, key=lambda c: -c.score)


def choose_opponent(
    battles: Sequence[AnyBattle], target: str, responses: Mapping[str, Response], rules: Rules
) -> Choice | str:
    """Choose the opponent with the highest score in its battle with the target, whoever won: for other strategies.

    Where the target lost by the threshold or more, this is the opponent that `choose_label` chooses. Arguments and
    result are those of `choose_label`; the threshold counts for nothing.
    """
    own = [b for b in battles if target in (b.a, b.b)]
    scored = [b for b in own if b.winner != "unscored"]
    if not scored:
        return "unscored" if own else "no battle"
    choices = [Choice(b.b if b.a == target else b.a, target, b) for b in scored]
    return _best(choices, responses, rules, key=lambda c: -c.score)


def choose_pair(
    battles: Sequence[AnyBattle], target: str | None, responses: Mapping[str, Response], rules: Rules
) -> Choice | str:
    """Choose the battle with the widest gap of at least the threshold (paper, section 4.2, DPO and PPO).

    The chosen answer may be the target's own. With ``rules.pairs`` ``target``, only the target's battles count.
    Arguments, result and usage are those of `choose_label`.
    """
    own = [b for b in battles if rules.pairs == "all" or target in (b.a, b.b)]
    scored = [b for b in own if b.winner != "unscored"]
    if not scored:
        return "unscored" if own else "no battle"
    decided = [
        Choice(*((b.a, b.b) if b.winner == "a" else (b.b, b.a)), b) for b in scored if b.winner != "tie"
    ]
    if not decided:
        return "tie"
    wide = [c for c in decided if (c.battle.gap or 0.0) >= rules.threshold]
    if not wide:
        return "gap below the threshold"
    return _best(wide, responses, rules, key=lambda c: -(c.battle.gap or 0.0))


def _against(battle: AnyBattle, target: str) -> Choice | None:
    """Return the battle as the target's loss, or None if the target won. A tie is a loss by 0."""
    other = battle.b if battle.a == target else battle.a
    won = battle.winner == ("a" if battle.a == target else "b")
    return None if won else Choice(other, target, battle)


def _best(
    choices: Sequence[Choice],
    responses: Mapping[str, Response],
    rules: Rules,
    key: Callable[[Choice], float],
) -> Choice | str:
    usable, reason = [], ""
    for choice in choices:
        problem = reason_unfit(responses[choice.winner], rules.max_words)
        if problem:
            reason = problem
        else:
            usable.append(choice)
    if not usable:
        return reason
    return min(
        usable,
        key=lambda c: (key(c), seeded_rank(rules.seed, c.battle.instruction_id, c.winner, c.loser)),
    )


def reason_unfit(response: Response, max_words: int) -> str:
    """Return why an answer must not be trained on, or an empty string."""
    if response.finish_reason == "refused":
        return "the winner's answer was refused"
    if not response.text.strip():
        return "the winner's answer is empty"
    if response.finish_reason == "length":
        return "the winner's answer is cut off"
    if max_words and len(words(response.text)) > max_words:
        return "the winner's answer is too long"
    return ""
