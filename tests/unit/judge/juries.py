"""Juries and their members, which tests share."""

from __future__ import annotations

from scripted import WordCountJudge

from arena_learning.judge.base import Verdict
from arena_learning.judge.jury import Jury, Member


class Fixed(WordCountJudge):
    """Gives the same verdict to everything; ``margin`` is its tie margin."""

    def __init__(self, name, first=None, second=None, margin=0.0, **fields):
        unscored = "it says nothing" if first is None else None
        super().__init__(
            forced=Verdict(first, second, f"says {name}", unscored, tokens=7, seconds=0.5, **fields)
        )
        self.label, self.fingerprint, self.tie_margin = name, {"judge": name}, margin


def jury_of(*judges, combine="mean", quorum=0, margin=0.0):
    jury = Jury([Member(f"m{n}", judge) for n, judge in enumerate(judges, 1)], combine, quorum)
    jury.tie_margin = margin
    return jury


def raw_judges(**judges):
    return {"longer": {"kind": "longer"}, "rubric": {"kind": "rubric"}, **judges}


def panel(*members, **fields):
    return {"kind": "jury", "members": list(members), **fields}
