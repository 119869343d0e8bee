"""What the store's keys and stored answers need of a model's chat, without its tokenizer.

Loading a tokenizer imports transformers and torch. Where all answers are in the store, this is needed instead; it is
saved once for each chat (`lazy_chat`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from arena_learning.core import Marks, SplitAnswer
from arena_learning.engines.answer_reader import split_said
from arena_learning.engines.tokenizer import break_control_tokens
from arena_learning.schema import Turn


class ChatIdentity(NamedTuple):
    """What the store's keys and stored answers need of a `Chat`.

    Attributes:
        digest: digest of the chat template and its settings.
        dated: whether the template prints a date.
        fingerprint: additional entries of the engine's fingerprint (see `Chat.fingerprint`).
        words: words that are broken in every turn's text.
        broken_before: the words that earlier versions broke.
        marks: marks of the model's thoughts.
        harmony: whether the model writes messages in channels.
        opens_thought: whether the prompt ends inside a thought; None if the template refuses the probe.
    """

    digest: str
    dated: bool
    fingerprint: dict[str, str]
    words: tuple[str, ...]
    broken_before: tuple[str, ...]
    marks: tuple[Marks, ...]
    harmony: bool
    opens_thought: bool | None

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ChatIdentity:
        """Return the identity whose `_asdict` was saved as JSON, which knows no tuples."""
        marks = tuple(Marks(*mark) for mark in value["marks"])
        words = {name: tuple(value[name]) for name in ("words", "broken_before")}
        return cls(**{**value, **words, "marks": marks})

    def variant(self, turns: Sequence[Turn]) -> str:
        """Return the store key's mark for turns whose prompt differs from earlier versions, else empty.

        Earlier versions did not break thought marks that are not tokens, broke HTML tags that are tokens ("2"), and
        kept the thoughts of earlier answers in the prompt ("3").

        Args:
            turns: the conversation, with the system prompt.
        """
        if any(spoken(turn, self._split) != turn.content for turn in turns):
            return "3"
        changed = any(
            break_control_tokens(turn.content, self.words)
            != break_control_tokens(turn.content, self.broken_before)
            for turn in turns
        )
        return "2" if changed else ""

    def _split(self, text: str) -> SplitAnswer:
        return split_said(text, opened=False, marks=self.marks, harmony=self.harmony)


def spoken(turn: Turn, split: Callable[[str], SplitAnswer]) -> str:
    """Return a turn's text, without the thought of an assistant turn.

    Templates of reasoning models remove the thoughts of earlier turns, but do not recognise broken marks.

    Args:
        turn: the turn.
        split: splits an answer that is available as text into thought and answer.
    """
    if turn.role != "assistant":
        return turn.content
    said = split(turn.content)
    return said.text if said.thought and said.text else turn.content
