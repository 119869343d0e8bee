"""The recorded engine: answers that stand in a file, for opponents whose model is not at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from arena_learning.core import ArenaError, SplitAnswer, canonical, split_text, with_single_spaces
from arena_learning.engines.base import Completion, Conversation
from arena_learning.params import Sampling
from arena_learning.pool import RecordedAnswer, read_recorded
from arena_learning.schema import Instruction

_SHOWN = 5  # ids named in an error


class RecordedEngine:
    """Gives the answers of a JSON Lines file of ``{"id": instruction id, "text": answer}``.

    Sampling changes nothing, not even ``max_tokens``: the answers are what they are, and all have ended by
    themselves. Tokens are counted as words between white space
    (as characters where a script writes none). A file may answer more than is asked here
    (one serves all splits); `unused` says how many.

    Args:
        file: the answers.
        instructions: what will be asked; every one must be answered in the file.

    Raises:
        ArenaError: the file is missing or malformed, answers an id twice, or leaves instructions unanswered.
    """

    batch_size = 1024
    batch_exact = True

    def __init__(self, file: Path, instructions: Sequence[Instruction]) -> None:
        answers = read_recorded(file)
        held = {name: [one.text, one.thought] if one.thought else one.text for name, one in answers.items()}
        digest = hashlib.sha256(canonical(held).encode()).hexdigest()
        missing = [instruction.id for instruction in instructions if instruction.id not in answers]
        if missing:
            raise ArenaError(
                f"no answer to {len(missing)} of {len(instructions)} instructions ({_some(missing)})",
                where=str(file),
                hint="add the answers, or take this opponent out",
            )
        self.file = file
        self.unused = len(answers.keys() - {instruction.id for instruction in instructions})
        self.fingerprint = {"engine": "recorded", "version": "1", "answers": digest}
        self._answers: dict[str, RecordedAnswer] = {}
        for instruction in instructions:
            key = conversation_key(instruction.turns)
            if self._answers.setdefault(key, answers[instruction.id]) != answers[instruction.id]:
                raise ArenaError(
                    f"'{instruction.id}' asks the same as another instruction, and the answers differ",
                    where=str(file),
                )

    def respond(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Completion]:
        """Give the recorded answer to each conversation, in order; see `base.Engine`."""
        keys = [conversation_key(conversation) for conversation in conversations]
        unknown = [
            c[-1].content[:40] for c, key in zip(conversations, keys, strict=True) if key not in self._answers
        ]
        if unknown:
            raise ArenaError(
                f"{len(unknown)} conversations were not among the instructions ({_some(unknown)})",
                where=str(self.file),
            )
        return [
            self._completion(conversation, self._answers[key])
            for conversation, key in zip(conversations, keys, strict=True)
        ]

    def variant(self, conversation: Conversation) -> str:
        """Nothing is asked; see `base.Versioned`."""
        return ""

    def said(self, text: str) -> SplitAnswer:
        """Split an answer that was remembered whole; see `base.Versioned`."""
        return split_text(text)

    @staticmethod
    def _completion(conversation: Conversation, answer: RecordedAnswer) -> Completion:
        thought, text, ended = answer.said
        counts = [_words(turn.content) for turn in conversation]
        return Completion(
            text,
            "stop" if ended else "length",
            sum(counts),
            _words(thought) + _words(text),
            0.0,
            thought=thought,
            thought_tokens=_words(thought),
        )

    def close(self) -> None:
        """Nothing to give back."""


def conversation_key(conversation: Conversation) -> str:
    """Return a digest of the turns: how an answer is found for a conversation that comes without its id."""
    turns = [[turn.role, turn.content] for turn in conversation]
    return hashlib.sha256(canonical(turns).encode()).hexdigest()


def _words(text: str) -> int:
    return len(with_single_spaces(text).split())


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
