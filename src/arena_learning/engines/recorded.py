"""The recorded engine: reads answers from a file, for opponents whose model is not available."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from arena_learning.core import ArenaError, SplitAnswer, canonical, split_text, with_single_spaces
from arena_learning.engines.base import Completion, Conversation
from arena_learning.params import Sampling
from arena_learning.pool import RecordedAnswer, read_recorded
from arena_learning.schema import Instruction

_SHOWN = 5  # number of ids in an error


class RecordedEngine:
    """Returns the answers of a JSON Lines file of ``{"id": instruction id, "text": answer}``.

    Sampling has no effect, not even ``max_tokens``, and every answer counts as complete. Token counts are numbers of
    words (of characters, in scripts without spaces). The file may answer further instructions, since one file serves
    all splits; `unused` is their number.

    Args:
        file: the file of answers.
        instructions: the instructions that will be asked; the file must answer all of them.

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
            none = len(missing) == len(instructions)
            other = f", and the file answers {_some(list(answers))}" if none and answers else ""
            raise ArenaError(
                f"no answer to {len(missing)} of {len(instructions)} instructions ({_some(missing)}){other}",
                where=str(file),
                hint="give the answers the ids of the instructions (`pool.instructions`)"
                if other
                else "add the answers, or remove this opponent",
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
        """Return the recorded answer to each conversation, in order; see `base.Engine`."""
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
        """Return an empty mark, because there are no prompts; see `base.Versioned`."""
        return ""

    def said(self, text: str) -> SplitAnswer:
        """Split an answer that was stored with its thought; see `base.Versioned`."""
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
        """Do nothing: there is no memory to free."""


def conversation_key(conversation: Conversation) -> str:
    """Return a digest of the turns, by which the answer to a conversation (without its id) is found."""
    turns = [[turn.role, turn.content] for turn in conversation]
    return hashlib.sha256(canonical(turns).encode()).hexdigest()


def _words(text: str) -> int:
    return len(with_single_spaces(text).split())


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
