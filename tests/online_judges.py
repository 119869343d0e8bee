"""Judges of what the tests sample: plain rules, which say the same in any place and order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from arena_learning.judge.base import Presentation, Verdict


class RuleJudge:
    """Scores each answer by a rule on its text; None is no verdict."""

    batch_size = 16
    pointwise = True

    def __init__(self, rule: Callable[[str], float | None], label: str = "rule v1") -> None:
        self.rule, self.label = rule, label
        self.fingerprint = {"judge": label}
        self.asked = 0

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        self.asked += len(presentations)
        return [self._verdict(p) for p in presentations]

    def close(self) -> None:
        """Nothing to give back."""

    def _verdict(self, presentation: Presentation) -> Verdict:
        one, two = self.rule(presentation.first.text), self.rule(presentation.second.text)
        if one is None or two is None:
            return Verdict(None, None, "", unscored="the rule says nothing of it")
        return Verdict(one, two, "by the rule")


class PairJudge(RuleJudge):
    """Compares two answers: the same rule, but it must be shown both."""

    pointwise = False


class FirstJudge(PairJudge):
    """Prefers whatever it is shown first, by one point: its two orders never agree on a winner but by chance."""

    def _verdict(self, presentation: Presentation) -> Verdict:
        said = super()._verdict(presentation)
        return (
            said if said.score_first is None else said._replace(score_first=min(10.0, said.score_first + 1))
        )
