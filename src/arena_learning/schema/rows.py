"""The rows that flow between stages, and how they are read and written.

Every file is JSON Lines in UTF-8, one row a line, written once, atomically, in a canonical order with sorted keys, so
that equal content is equal bytes. `SCHEMA_VERSION` is part of every store key: raise it when a row changes meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from arena_learning.core import ArenaError, canonical, new_text_file

SCHEMA_VERSION = 1

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length"]
Ended = Literal[
    "stop", "length", "refused"
]  # of a response: an engine may refuse one item, and answer others
Winner = Literal["a", "b", "tie", "unscored"]


_SAYS_NOTHING = ("thought", "thought_tokens", "refusal", "sample")  # of a response, where they are empty


class Row(BaseModel):
    """Base of all rows: frozen, and unknown fields are refused. ``HINT`` is said of a malformed one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    HINT: ClassVar[str] = ""


class Turn(Row):
    """One message of a conversation.

    Attributes:
        role: who speaks.
        content: what is said.
    """

    role: Role
    content: str


class Instruction(Row):
    """A conversation that ends in a user turn.

    Attributes:
        id: unique in the pool.
        turns: the conversation so far; the last turn is the user's.
        category: free word; test sets are stratified by it.
        source: where the instruction comes from.
        difficulty: easy, medium, hard or unknown.
        language: BCP 47 code.
        rubric: checkable criteria as in `rubric.parse_criterion`; empty where there is none.
        reference: a good answer to compare with, or None.
    """

    id: str = Field(min_length=1, pattern=r"^[\w.:-]+$")
    turns: tuple[Turn, ...] = Field(min_length=1)
    category: str = "other"
    source: str = "unknown"
    difficulty: Literal["easy", "medium", "hard", "unknown"] = "unknown"
    language: str = "en"
    rubric: tuple[dict[str, Any], ...] = ()
    reference: str | None = None

    @field_validator("turns")
    @classmethod
    def _conversation(cls, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
        for number, turn in enumerate(turns, 1):
            if not turn.content.strip():
                raise ValueError(f"turn {number} is empty")
        if turns[-1].role != "user":
            raise ValueError("the last turn must be the user's")
        spoken = [turn.role for turn in turns if turn.role != "system"]
        if spoken != [("user", "assistant")[i % 2] for i in range(len(spoken))]:
            raise ValueError("user and assistant turns must alternate, from the user's")
        if any(turn.role == "system" for turn in turns[1:]):
            raise ValueError("a system turn may only stand first")
        return turns

    @property
    def text(self) -> str:
        """The user's turns, joined: what filters and embeddings look at."""
        return "\n".join(turn.content for turn in self.turns if turn.role == "user")

    @property
    def multi_turn(self) -> bool:
        """Whether an assistant has spoken before the last user turn."""
        return any(turn.role == "assistant" for turn in self.turns)


class Response(Row):
    """One contestant's answer to one instruction (seconds stay in the store: they are not data).

    Attributes:
        instruction_id: what was asked.
        contestant: who answered.
        text: the answer alone; empty where it was refused, or where a thought never ended.
        finish_reason: ``stop``, ``length`` (cut off) or ``refused``.
        prompt_tokens: length of the prompt.
        completion_tokens: all that was generated, thought included.
        thought: what the model thought before it answered: never judged, compared, counted in words or learnt.
        thought_tokens: how many of ``completion_tokens`` went into the thought.
        refusal: why there is no answer, where it was refused.
        sample: which of the contestant's samples it is, from 1; 0 is the answer that battles.

    The last four are left out of a file where they say nothing.
    """

    instruction_id: str
    contestant: str
    text: str
    finish_reason: Ended
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    thought: str = ""
    thought_tokens: int = Field(default=0, ge=0)
    refusal: str = ""
    sample: int = Field(default=0, ge=0)

    @model_serializer(mode="wrap")
    def _without_nothing(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        row: dict[str, Any] = write(self)
        return {key: value for key, value in row.items() if value or key not in _SAYS_NOTHING}


class Game(Row):
    """One judged presentation of two responses in one order.

    Attributes:
        instruction_id: what was asked.
        judge: the judge and the version of its prompt or rubric.
        first: the contestant whose answer was shown first.
        second: the other contestant.
        score_first: its score; None where the game is unscored.
        score_second: the other's.
        rationale: what the judge said.
        unscored: why there are no scores.
        attempts: how often the judge was asked.
        tokens: of all its prompts and replies.
    """

    instruction_id: str
    judge: str
    first: str
    second: str
    score_first: float | None = Field(default=None, ge=1, le=10)
    score_second: float | None = Field(default=None, ge=1, le=10)
    rationale: str = ""
    unscored: str | None = None
    attempts: int = 1
    tokens: int = 0

    @field_validator("unscored")
    @classmethod
    def _reason(cls, unscored: str | None) -> str | None:
        if unscored is not None and not unscored.strip():
            raise ValueError("an unscored game needs its reason")
        return unscored


class Battle(Row):
    """The games of one pair on one instruction, merged (contestants in alphabetical order).

    Attributes:
        instruction_id: what was asked.
        category: the instruction's.
        judge: as in the games.
        a: the contestant who comes first in the alphabet.
        b: the other contestant.
        score_a: mean of its scores; None where the battle is unscored.
        score_b: the other's.
        winner: ``a``, ``b``, ``tie`` or ``unscored``.
        gap: the winner's mean score less the loser's, 0 for a tie.
        orders_agree: whether both games name the same outcome; None where fewer than two were scored.
        games: how many were scored.
        unscored: why there is no winner.
        rationales: of the scored games.
    """

    instruction_id: str
    category: str
    judge: str
    a: str
    b: str
    score_a: float | None = None
    score_b: float | None = None
    winner: Winner
    gap: float | None = None
    orders_agree: bool | None = None
    games: int = Field(ge=0)
    unscored: str | None = None
    rationales: tuple[str, ...] = ()


class SampleScore(Row):
    """What the round's judge says of one of the target's samples (see `Response.sample`).

    Attributes:
        instruction_id: what was asked.
        sample: which sample, from 1.
        judge: the judge and the version of its prompt or rubric.
        score: 1 to 10: its own, where the judge scores one answer by itself, else the mean of its scores in its
            battles with other samples; None where it has none.
        battles: its scored battles with other samples; 0 where the judge scores one answer by itself.
        wins: how many of them it won, a tie as half.
        unscored: why there is no score.
        rationales: what the judge said in the games that count.
    """

    instruction_id: str
    sample: int = Field(ge=1)
    judge: str
    score: float | None = Field(default=None, ge=1, le=10)
    battles: int = Field(default=0, ge=0)
    wins: float = Field(default=0.0, ge=0)
    unscored: str | None = None
    rationales: tuple[str, ...] = ()


class RecordedVerdict(Row):
    """What another judge said once of two contestants: a row of a file that the judge `replay` reads.

    A bare winner is recorded as 10 and 1, a tie as 5.5 each, a preference p from 0 to 1 for the second as 10 - 9p and
    1 + 9p.

    Attributes:
        instruction_id: what was asked.
        first: the contestant who was presented first, or either where the order is not known.
        second: the other contestant.
        score_first: its score.
        score_second: the other's.
        order_known: whether ``first`` was presented first.
        rationale: what the judge said.
    """

    instruction_id: str = Field(min_length=1)
    first: str
    second: str
    score_first: float = Field(ge=1, le=10)
    score_second: float = Field(ge=1, le=10)
    order_known: bool = True
    rationale: str = ""


class Provenance(Row):
    """Where a training row comes from.

    Attributes:
        round: the round that made it.
        instruction_id: what was asked.
        category: the instruction's.
        winner: whose answer is learnt.
        loser: whose answer lost; empty for a label without a battle.
        score_winner: the winner's mean score.
        score_loser: the loser's.
        gap: the difference of the two.
        threshold: the round's K.
        orders_agree: as in the battle.
        judge: as in the battle.
        rationales: as in the battle.
        winner_sample: which of the target's samples is learnt, in a row of samples: its winner is the target, and so is
            its loser where samples are a pair. Of a sample learnt alone, ``gap`` is its score less the samples' mean.
        loser_sample: which of its samples lost; 0 where it is learnt alone.

    The last two are left out of a file where they are 0.
    """

    round: str
    instruction_id: str
    category: str
    winner: str
    loser: str
    score_winner: float | None = None
    score_loser: float | None = None
    gap: float | None = None
    threshold: float
    orders_agree: bool | None = None
    judge: str = ""
    rationales: tuple[str, ...] = ()
    winner_sample: int = Field(default=0, ge=0)
    loser_sample: int = Field(default=0, ge=0)

    @model_serializer(mode="wrap")
    def _without_nothing(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        row: dict[str, Any] = write(self)
        return {key: value for key, value in row.items() if value or not key.endswith("_sample")}


class SftRow(Row):
    """A row for supervised fine-tuning, in TRL's conversational prompt/completion format.

    Attributes:
        prompt: the instruction's turns.
        completion: the answer that is learnt, one turn.
        provenance: where it comes from.
    """

    prompt: tuple[Turn, ...]
    completion: tuple[Turn, ...]
    provenance: Provenance


class PreferenceRow(Row):
    """A winner/loser pair, in TRL's conversational preference format.

    Attributes:
        prompt: the instruction's turns.
        chosen: the winner's answer, one turn.
        rejected: the loser's answer, one turn.
        provenance: where it comes from.
        rejected_cut_off: the rejected answer ran out of tokens: its end is not learnt either. Left out of a file where
            it ended.
    """

    prompt: tuple[Turn, ...]
    chosen: tuple[Turn, ...]
    rejected: tuple[Turn, ...]
    provenance: Provenance
    rejected_cut_off: bool = False

    @model_serializer(mode="wrap")
    def _without_nothing(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        row: dict[str, Any] = write(self)
        return {key: value for key, value in row.items() if value or key != "rejected_cut_off"}


R = TypeVar("R", bound=Row)


def read_rows(path: Path, kind: type[R]) -> list[R]:
    """Read a JSON Lines file of ``kind`` rows.

    Raises:
        ArenaError: the file is missing, a folder or not UTF-8, or a line is malformed; names file and line.
    """
    return list(iter_rows(path, kind))


def iter_rows(path: Path, kind: type[R]) -> Iterator[R]:
    """Yield the rows of a JSON Lines file; see `read_rows`."""
    return (row for _, row in numbered_rows(path, kind))


def numbered_rows(path: Path, kind: type[R]) -> Iterator[tuple[int, R]]:
    """Yield line numbers and rows of a JSON Lines file (blank lines are passed over); see `read_rows`."""
    try:
        # Some editors begin a file with a mark of its encoding. A row ends at "\n" alone: not at "\r" either.
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _parse(line, kind, f"{path}, line {number}")
    except FileNotFoundError:
        raise ArenaError("no such file", where=str(path), hint="run the stage that makes it") from None
    except UnicodeDecodeError as error:
        raise ArenaError(f"not UTF-8: {error.reason}", where=str(path), hint="save it as UTF-8") from None
    except OSError as error:
        raise ArenaError(f"cannot be read: {error.strerror}", where=str(path)) from None


def write_rows(path: Path, rows: Iterable[R]) -> None:
    """Write ``rows`` to ``path`` as JSON Lines, atomically, creating its folder."""
    with rows_file(path) as write:
        write(rows)


@contextmanager
def rows_file(path: Path) -> Iterator[Callable[[Iterable[Row]], None]]:
    """Give a function that appends rows to a new file; at the end it stands at ``path``, after an error nowhere.

    What is written is not kept in memory.
    """
    with new_text_file(path) as file:
        yield lambda rows: file.writelines(f"{canonical(row.model_dump(mode='json'))}\n" for row in rows)


def by_id(instructions: Sequence[Instruction]) -> dict[str, Instruction]:
    """Return the instructions by their id."""
    return {instruction.id: instruction for instruction in instructions}


def _parse(line: str, kind: type[R], where: str) -> R:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise ArenaError(
            describe_invalid(error),
            where=where,
            hint=kind.HINT or f"see {kind.__name__} in docs/reference/rows.md",
        ) from None


def describe_invalid(error: ValidationError) -> str:
    """Return what is wrong with a row or a parameter file in one line, without echoing long values."""
    parts = []
    for problem in error.errors(include_url=False):
        place = ".".join(str(p) for p in problem["loc"]) or "the row"
        parts.append(f"{place}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(parts[:5]) + ("; ..." if len(parts) > 5 else "")
