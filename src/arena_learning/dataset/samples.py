"""What is learnt from the target's own samples: the best against the worst as a pair, or the best alone.

As in `select`, an instruction gives a choice or the reason why there is none. A sample without a score is never chosen
and never rejected; one that must not be learnt (cut off, empty, too long) may be rejected, and the next best is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from arena_learning.dataset.select import Rules, reason_unfit
from arena_learning.pool import seeded_rank
from arena_learning.schema import Instruction, Provenance, Response, SampleScore

_BELOW, _TIE = "gap below the threshold", "tie"
_TINY = 1e-9  # scores may be means of three: their gap is no less than the threshold for the last bits
Answers = Mapping[int, Response]  # an instruction's samples by their number


class SampleChoice(NamedTuple):
    """What to learn: the best sample, the worst where they are a pair, and the gap that the threshold was held to."""

    best: SampleScore
    worst: SampleScore | None
    gap: float


def choose_sample_pair(scores: Sequence[SampleScore], answers: Answers, rules: Rules) -> SampleChoice | str:
    """Choose the best sample and the worst, where their scores differ by the threshold or more.

    Of equal scores the one that won more of its battles is the better, then the one with the smaller seeded hash.

    Args:
        scores: those of one instruction.
        answers: the samples by their number.
        rules: threshold, longest answer, seed.
    """

    ranked = _ranked(scores, rules)
    if isinstance(ranked, str):
        return ranked
    if _score(ranked[0]) == _score(ranked[-1]):
        return _TIE
    pairs = ((best, _worst_beside(best, ranked, answers)) for best in ranked)
    choices = [SampleChoice(best, worst, _score(best) - _score(worst)) for best, worst in pairs if worst]
    return _first_fit([c for c in choices if c.gap > 0 and c.gap >= rules.threshold - _TINY], answers, rules)


def choose_best_sample(scores: Sequence[SampleScore], answers: Answers, rules: Rules) -> SampleChoice | str:
    """Choose the best sample, where its score is above the samples' mean by the threshold or more (0: by anything).

    Where all score the same, none is the best: nothing says that the answer is worth learning. Arguments as in
    `choose_sample_pair`.
    """
    ranked = _ranked(scores, rules)
    if isinstance(ranked, str):
        return ranked
    if _score(ranked[0]) == _score(ranked[-1]):
        return _TIE
    mean = fmean(map(_score, ranked))
    above = [SampleChoice(one, None, _score(one) - mean) for one in ranked]
    return _first_fit([choice for choice in above if choice.gap >= rules.threshold - _TINY], answers, rules)


def sample_provenance(
    name: str, instruction: Instruction, target: str, choice: SampleChoice, threshold: float
) -> Provenance:
    """Return where a row of samples comes from; the target is winner and loser."""
    best, worst = choice.best, choice.worst
    return Provenance(
        round=name,
        instruction_id=instruction.id,
        category=instruction.category,
        winner=target,
        loser=target if worst else "",
        score_winner=best.score,
        score_loser=worst.score if worst else None,
        gap=choice.gap,
        threshold=threshold,
        judge=best.judge,
        rationales=(*best.rationales, *(worst.rationales if worst else ())),
        winner_sample=best.sample,
        loser_sample=worst.sample if worst else 0,
    )


def _ranked(scores: Sequence[SampleScore], rules: Rules) -> list[SampleScore] | str:
    """Return the samples that have a score, the best first, or why there are not two."""
    if not scores:
        return "no sample"
    scored = [one for one in scores if one.score is not None]
    if len(scored) < 2:
        return "unscored"

    def place(one: SampleScore) -> tuple[float, float, str]:
        share = one.wins / one.battles if one.battles else 0.0
        return -_score(one), -share, seeded_rank(rules.seed, "sample", one.instruction_id, str(one.sample))

    return sorted(scored, key=place)


def _worst_beside(best: SampleScore, ranked: Sequence[SampleScore], answers: Answers) -> SampleScore | None:
    """Return the worst sample that says anything else than ``best``."""
    said = answers[best.sample].text.strip()
    return next((one for one in reversed(ranked) if answers[one.sample].text.strip() != said), None)


def _first_fit(choices: Sequence[SampleChoice], answers: Answers, rules: Rules) -> SampleChoice | str:
    """Return the first choice whose best sample may be learnt, or why there is none."""
    problem = ""
    for choice in choices:
        why = reason_unfit(answers[choice.best.sample], rules.max_words)
        if not why:
            return choice
        problem = problem or why
    return problem.replace("winner's answer", "best sample") or _BELOW


def _score(one: SampleScore) -> float:
    assert one.score is not None
    return one.score
