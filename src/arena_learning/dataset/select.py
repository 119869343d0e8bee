"""The paper's selection rules: lost battles become SFT rows, the widest gaps become preference pairs.

Both look at one instruction at a time and return the battle to learn from, or the reason why there is none.
Where two are equally good, the smaller seeded hash wins, so that the order of the files changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from arena_learning.core import words
from arena_learning.pool import seeded_rank
from arena_learning.schema import Battle, Response


class Choice(NamedTuple):
    """A battle to learn from: who won, who lost, and the battle."""

    winner: str
    loser: str
    battle: Battle

    @property
    def score(self) -> float:
        """The winner's mean score."""
        value = self.battle.score_a if self.winner == self.battle.a else self.battle.score_b
        return value if value is not None else 0.0


class Rules(NamedTuple):
    """What selection depends on; see `params.Dataset` and `params.Round`."""

    threshold: float
    pairs: str
    max_words: int
    seed: int
    max_rows: int = 0
    opponents: tuple[str, ...] = ()

    def admits(self, battle: Battle, target: str | None) -> bool:
        """Whether a battle may become a row, by who plays it."""
        return not self.opponents or {battle.a, battle.b} <= {target, *self.opponents}


def choose_label(
    battles: Sequence[Battle], target: str, responses: Mapping[str, Response], rules: Rules
) -> Choice | str:
    """Choose the answer that the target should have given (paper, section 4.2, SFT).

    Of the contestants that beat the target by the threshold or more, the highest-scoring one whose answer may be
    trained on. With a threshold of 0 an equal score is enough.

    Args:
        battles: those of one instruction.
        target: the contestant being trained.
        responses: the instruction's responses by contestant.
        rules: threshold, longest answer, seed.
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


def choose_pair(
    battles: Sequence[Battle], target: str | None, responses: Mapping[str, Response], rules: Rules
) -> Choice | str:
    """Choose the battle with the widest gap of at least the threshold (paper, section 4.2, DPO and PPO).

    The chosen answer may be the target's own. Arguments as in `choose_label`; ``rules.pairs`` ``target`` looks at the
    target's battles only.
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


def _against(battle: Battle, target: str) -> Choice | None:
    """Return the battle as a loss of the target, or None if it won. A tie is a loss by 0."""
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
    """Return why an answer must not be learnt, or an empty string."""
    if response.finish_reason == "refused":
        return "the winner's answer was refused"
    if not response.text.strip():
        return "the winner's answer is empty"
    if response.finish_reason == "length":
        return "the winner's answer is cut off"
    if max_words and len(words(response.text)) > max_words:
        return "the winner's answer is too long"
    return ""
