"""A scripted engine and a plain judge: small plug-ins behind the two seams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from arena_learning.core.text import words
from arena_learning.engines.base import Completion, Conversation
from arena_learning.judge.base import Presentation, Verdict
from arena_learning.params.contestants import Sampling


class ScriptedEngine:
    """Answers with ``script(the prompt's text, how often it was asked)``; remembers what it was asked."""

    batch_exact = True

    def __init__(self, script: Callable[[str, int], str], batch_size: int = 4) -> None:
        self._script, self.batch_size = script, batch_size
        self.fingerprint = {"engine": "scripted", "version": "1"}
        self._calls: dict[str, count[int]] = {}
        self.asked: list[tuple[str, Sampling]] = []
        self.closed = False

    def respond(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Completion]:
        """Answer by the script; ten tokens of prompt, five of answer, half a second each."""
        answers = []
        for conversation in conversations:
            text = conversation[-1].content
            self.asked.append((text, sampling))
            number = next(self._calls.setdefault(text, count(1)))
            answers.append(Completion(self._script(text, number), "stop", 10, 5, 0.5))
        return answers

    def close(self) -> None:
        self.closed = True


class WordCountJudge:
    """Scores a response by its words (1 to 10); refuses what says "nonsense"; may be told what to say."""

    batch_size = 3
    label = "word count v1"

    def __init__(self, forced: Verdict | None = None, fail_after: int | None = None) -> None:
        self.fingerprint = {"judge": self.label}
        self.presented: list[Presentation] = []
        self._forced, self._fail_after = forced, fail_after

    def score(self, presentations: Sequence[Presentation]) -> list[Verdict]:
        if self._fail_after is not None and len(self.presented) >= self._fail_after:
            raise KeyboardInterrupt
        self.presented += presentations
        return [self._forced or self._verdict(p) for p in presentations]

    def close(self) -> None:
        """Nothing to give back."""

    def _verdict(self, presentation: Presentation) -> Verdict:
        texts = [presentation.first.text, presentation.second.text]
        if any("nonsense" in text for text in texts):
            return Verdict(None, None, "", unscored="nonsense")
        one, two = (float(min(10, max(1, len(words(text))))) for text in texts)
        return Verdict(one, two, f"{one:g} words against {two:g}", tokens=7, seconds=0.25)
