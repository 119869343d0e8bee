"""How to add a judge: one that likes short sentences.

Run the suite on it: ``pytest examples/add_a_judge.py``. In the project, the class stands in a file of its own,
``src/arena_learning/judge/short_sentences.py``, and two places learn its name: ``JudgeParams.kind`` in
``params/judging.py``, and `_open` in ``judge/build.py``, which opens it::

    if judge.kind == "short-sentences":
        from arena_learning.judge.short_sentences import ShortSentencesJudge

        return ShortSentencesJudge()
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from arena_learning.core import TEXT_VERSION, sentences, words
from arena_learning.judge import Presentation, Verdict
from arena_learning.testing import JudgeConformance, present

EASY, HARD = 10, 40  # words a sentence that score 10 and 1


class ShortSentencesJudge:
    """Scores an answer by its mean length of a sentence: from 10 (at most 10 words) down to 1 (40 or more)."""

    batch_size = 1024  # presentations that the caller hands over at once
    label = "short sentences v1"  # stands in each game; a judge that scores otherwise is a v2

    def __init__(self) -> None:
        # All that could change a verdict besides the presentation: the store's key.
        self.fingerprint = {"judge": self.label, "text": TEXT_VERSION}

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        """Score each presentation, in order; what cannot be scored is a verdict with a reason."""
        return [self._verdict(presentation) for presentation in presentations]

    def close(self) -> None:
        """Give back the memory: this judge holds none."""

    def _verdict(self, presentation: Presentation) -> Verdict:
        lengths = [_mean_length(one.text) for one in (presentation.first, presentation.second)]
        if not any(lengths):
            return Verdict(None, None, "", unscored="neither answer has a word")
        # An answer without a word is no answer: it scores 1.
        first, second = (_score(length) if length else 1.0 for length in lengths)
        return Verdict(first, second, f"{lengths[0]:.1f} against {lengths[1]:.1f} words a sentence")


def _mean_length(text: str) -> float:
    return len(words(text)) / max(1, len(sentences(text)))


def _score(length: float) -> float:
    share = (min(max(length, EASY), HARD) - EASY) / (HARD - EASY)
    return 10 - 9 * share


class TestShortSentencesJudge(JudgeConformance):
    """The suite, on this judge."""

    @pytest.fixture
    def judge(self) -> ShortSentencesJudge:
        """Return the judge that the suite asks."""
        return ShortSentencesJudge()


def test_a_sentence_of_25_words_scores_half_way_and_none_is_said_to_be_none() -> None:
    """25 words lie half way from 10 to 40, and 5.5 half way from 10 to 1."""
    long, nothing = ShortSentencesJudge().score([present("word " * 25, "Yes."), present("", "")])
    assert long[:2] == (5.5, 10)
    assert nothing.unscored == "neither answer has a word"
