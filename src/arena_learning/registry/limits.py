"""The checks by monitors: signs of a regression that a rating may hide, each with a limit in `gate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arena_learning.leaderboard import (
    AGREEMENT,
    Document,
    answer_monitors,
    first_judge_first,
    mapping_at,
    number_at,
)
from arena_learning.params import Params
from arena_learning.registry.checks import Check
from arena_learning.schema import AnyBattle

Monitored = Mapping[str, float | None]


def limit_checks(
    candidate: str,
    against: str,
    answers: Document,
    arena: Mapping[str, Sequence[AnyBattle]],
    params: Params,
) -> list[Check]:
    """Return the checks of length, cut-off answers, repetition, refusals and the judges' agreement.

    Args:
        candidate: the round.
        against: the champion's round, or the base.
        answers: the leaderboard's figures of each contestant's answers to the test set.
        arena: the test set's battles by judge.
        params: the limits, and which judge is the first one.
    """
    gate, ordered = params.gate, first_judge_first(arena, params)
    new, old = (answer_monitors(name, answers, ordered) for name in (candidate, against))
    refusals = (refused_share(mapping_at(answers, candidate)), refused_share(mapping_at(answers, against)))
    return [
        _length(new["mean_words"], old["mean_words"], gate.length_growth, against),
        _rise("cut_off", "cut-off answers", (new["cut_off_rate"], old["cut_off_rate"]), gate.cut_off_rise, against),
        _rise("repetition", "repetition", (new["repetition"], old["repetition"]), gate.repetition_rise, against),
        _rise("refusals", "refused instructions", refusals, gate.refusal_rise, against),
        _agreement(new, old, params, against),
    ]  # fmt: skip


def refused_share(own: Document) -> float | None:
    """Return the share of the test set that a contestant's engine refused; None without answers."""
    refused = number_at(own, "refused") or 0.0
    asked = (number_at(own, "answers") or 0.0) + refused
    return refused / asked if asked else None


def _length(new: float | None, old: float | None, limit: float, against: str) -> Check:
    if new is None or old is None:
        return _absent("length", "mean words")
    said = f"mean words of a test answer: {new:.1f}, of {against} {old:.1f}"
    # An answer of no words can grow by any factor: one word is the least.
    passed = new <= limit * max(old, 1.0)
    end = f"within the limit of {limit:g} times" if passed else f"more than {limit:g} times as many"
    return Check("length", passed, f"{said}: {end}", new, old, limit)


def _rise(
    name: str, what: str, figures: tuple[float | None, float | None], limit: float, against: str
) -> Check:
    new, old = figures
    if new is None or old is None:
        return _absent(name, what)
    passed = new - old <= limit + 1e-12
    end = f"a change of {new - old:+z.3f}, {'within' if passed else 'above'} the limit of {limit:g}"
    return Check(name, passed, f"{what}: {new:.3f}, of {against} {old:.3f}: {end}", new, old, limit)


def _agreement(new: Monitored, old: Monitored, params: Params, against: str) -> Check:
    """Return the check of the judge whose agreement with the first one falls most."""
    falls = []
    for key, now in new.items():
        before = old.get(key)
        if key.startswith(AGREEMENT) and now is not None and before is not None:
            falls.append((before - now, key.removeprefix(AGREEMENT), now, before))
    if not falls:
        return _absent("agreement", "agreement of the judges")
    fall, judge, now, before = max(falls)
    limit = params.gate.agreement_fall
    passed = fall <= limit + 1e-12
    end = f"a fall of {fall:z.3f}, {'within' if passed else 'above'} the limit of {limit:g}"
    said = f"{judge} agrees with {params.evaluate.judges[0]} in {now:.3f} of the battles, for {against} in {before:.3f}"
    return Check("agreement", passed, f"{said}: {end}", now, before, limit)


def _absent(name: str, what: str) -> Check:
    return Check(name, None, f"{what}: does not apply, because there are no figures of both models")
