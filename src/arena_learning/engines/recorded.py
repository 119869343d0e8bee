"""The recorded engine: answers that stand in a file, for opponents whose model is not at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from arena_learning.engines.base import Completion, Conversation, Sampling
from arena_learning.engines.thoughts import Said, split_text
from arena_learning.errors import ArenaError
from arena_learning.rows import Instruction, canonical, describe_invalid
from arena_learning.texts import spaced

_SHOWN = 5  # ids named in an error


class Answer(BaseModel):
    """One line of the file; other keys may stand beside these.

    A thought stands in ``thought``, or before the answer in ``text``, between the marks of its model's family.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    text: str
    thought: str = ""

    @property
    def said(self) -> Said:
        """The thought and the answer."""
        return Said(self.thought, self.text) if self.thought else split_text(self.text)


class Recorded:
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
        answers, digest = _read(file)
        missing = [instruction.id for instruction in instructions if instruction.id not in answers]
        if missing:
            raise ArenaError(
                f"no answer to {len(missing)} of {len(instructions)} instructions ({_some(missing)})",
                where=str(file),
                mend="add the answers, or take this opponent out",
            )
        self.file = file
        self.unused = len(answers.keys() - {instruction.id for instruction in instructions})
        self.fingerprint = {"engine": "recorded", "version": "1", "answers": digest}
        self._answers: dict[str, Answer] = {}
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

    def said(self, text: str) -> Said:
        """Split an answer that was remembered whole; see `base.Versioned`."""
        return split_text(text)

    @staticmethod
    def _completion(conversation: Conversation, answer: Answer) -> Completion:
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


def _read(file: Path) -> tuple[dict[str, Answer], str]:
    """Return the answers by instruction id, and a digest of them."""
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise ArenaError("no such file of recorded answers", where=str(file)) from None
    except UnicodeDecodeError as error:
        raise ArenaError(f"not UTF-8: {error.reason}", where=str(file), mend="save it as UTF-8") from None
    answers: dict[str, Answer] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            answer = Answer.model_validate_json(line)
        except ValidationError as error:
            raise ArenaError(
                describe_invalid(error), where=where, mend='one {"id": ..., "text": ...} a line'
            ) from None
        if answer.id in answers:
            raise ArenaError(f"'{answer.id}' is answered twice", where=where, mend="keep one of the answers")
        answers[answer.id] = answer
    held = {name: [one.text, one.thought] if one.thought else one.text for name, one in answers.items()}
    return answers, hashlib.sha256(canonical(held).encode()).hexdigest()


def _words(text: str) -> int:
    return len(spaced(text).split())


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
