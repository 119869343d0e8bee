"""The rows that stages exchange.

`SCHEMA_VERSION` is part of every store key: raise it when a row changes its meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from arena_learning.schema.votes import VotedWinner

SCHEMA_VERSION = 1

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length"]
Ended = Literal["stop", "length", "refused"]  # of a response; an engine may refuse a single conversation
Winner = Literal["a", "b", "tie", "unscored"]


# Fields of a response that are omitted when they are empty.
_OMITTED = ("thought", "thought_tokens", "refusal", "sample")


class Row(BaseModel):
    """Base of all rows: frozen; unknown fields are errors. ``HINT`` is the hint of the error for a malformed row."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    HINT: ClassVar[str] = ""


class Turn(Row):
    """One message of a conversation.

    Attributes:
        role: who speaks.
        content: text of the message.
    """

    role: Role
    content: str


class Instruction(Row):
    """A conversation that ends with a user turn.

    Attributes:
        id: identifier, unique in the pool.
        turns: the conversation; the last turn is the user's.
        category: any word; test sets are stratified by it.
        source: origin of the instruction.
        difficulty: easy, medium, hard or unknown.
        language: BCP 47 code.
        rubric: criteria that answers are checked against, see `parse_criterion`; may be empty.
        reference: a good answer to compare with, or None.

    Example:
        >>> Instruction(id="cook-007", turns=[Turn(role="user", content="How long do I boil an egg?")]).text
        'How long do I boil an egg?'
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
            raise ValueError("user and assistant turns must alternate, starting with the user's")
        if any(turn.role == "system" for turn in turns[1:]):
            raise ValueError("only the first turn may be a system turn")
        return turns

    @property
    def text(self) -> str:
        """The user's turns, joined by line breaks."""
        return "\n".join(turn.content for turn in self.turns if turn.role == "user")

    @property
    def multi_turn(self) -> bool:
        """Whether the conversation contains an assistant turn."""
        return any(turn.role == "assistant" for turn in self.turns)


class Response(Row):
    """One contestant's answer to one instruction. Its generation time is kept in the store only.

    Attributes:
        instruction_id: the instruction.
        contestant: name of the contestant.
        text: the answer without its thought; empty if refused or if the thought never ended.
        finish_reason: ``stop``, ``length`` (truncated) or ``refused``.
        prompt_tokens: length of the prompt in tokens.
        completion_tokens: number of generated tokens, thought included.
        thought: the model's reasoning before the answer; never judged or trained on. Omitted from files when empty.
        thought_tokens: number of ``completion_tokens`` in the thought. Omitted from files when 0.
        refusal: reason why there is no answer. Omitted from files when empty.
        sample: number of the sample, from 1; 0 is the answer that battles. Omitted from files when 0.
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
        return {key: value for key, value in row.items() if value or key not in _OMITTED}


class JuryCount(Row):
    """How the members of a jury voted in a game.

    Attributes:
        scored: number of members that gave scores.
        missing: number of members without scores.
        against: number of members whose own outcome (first, second or tie) is not the jury's.
        spread: highest less lowest score among the members, as the mean of the two responses.
    """

    scored: int = Field(ge=0)
    missing: int = Field(ge=0)
    against: int = Field(default=0, ge=0)
    spread: float = Field(default=0.0, ge=0, le=9)


class Game(Row):
    """A judge's verdict on two responses, presented in one order.

    Attributes:
        instruction_id: the instruction.
        judge: name of the judge, with the version of its prompt or rubric.
        first: contestant whose response was presented first.
        second: contestant whose response was presented second.
        score_first: score of the first response, 1 to 10; None if unscored.
        score_second: score of the second response, 1 to 10; None if unscored.
        rationale: the judge's reasons.
        unscored: reason why there are no scores; None if there are.
        attempts: how often the judge was asked.
        tokens: number of tokens in all prompts and replies.
        jury: how the members of a jury voted. Omitted from files for other judges.
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
    jury: JuryCount | None = None

    @model_serializer(mode="wrap")
    def _without_nothing(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        row: dict[str, Any] = write(self)
        return {key: value for key, value in row.items() if value is not None or key != "jury"}

    @field_validator("unscored")
    @classmethod
    def _reason(cls, unscored: str | None) -> str | None:
        if unscored is not None and not unscored.strip():
            raise ValueError("an unscored game needs a reason")
        return unscored


class Battle(Row):
    """The merged games of one pair of contestants on one instruction.

    Attributes:
        instruction_id: the instruction.
        category: category of the instruction.
        judge: as in the games.
        a: the contestant that comes first in alphabetical order.
        b: the other contestant.
        score_a: mean score of ``a`` over the games; None if unscored.
        score_b: mean score of ``b`` over the games; None if unscored.
        winner: ``a``, ``b``, ``tie`` or ``unscored``.
        gap: the winner's mean score minus the loser's; 0 for a tie, None if unscored.
        orders_agree: whether both games have the same outcome; None if fewer than two were scored.
        games: number of scored games.
        unscored: reason why there is no winner; None if there is one.
        rationales: rationales of the scored games.
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
    """A recorded verdict of another judge: a row of a file that the judge ``replay`` reads.

    A verdict without scores is recorded as 10 to 1, a tie as 5.5 each, and a preference p (0 to 1) for the second
    contestant as 10 - 9p to 1 + 9p.

    Attributes:
        instruction_id: the instruction.
        first: contestant whose response was presented first (either one, if the order is not known).
        second: the other contestant.
        score_first: score of the first contestant, 1 to 10.
        score_second: score of the second contestant, 1 to 10.
        order_known: whether ``first`` is known to have been presented first.
        rationale: the judge's reasons.
    """

    instruction_id: str = Field(min_length=1)
    first: str
    second: str
    score_first: float = Field(ge=1, le=10)
    score_second: float = Field(ge=1, le=10)
    order_known: bool = True
    rationale: str = ""


class HumanVerdict(Row):
    """A person's verdict on a battle of the test set: a row of the file ``evaluate.human_verdicts``.

    Other columns are ignored, except those of a `Review` that say whether it counts here: ``sampling``, ``replaces``,
    ``response_a`` and ``response_b``.

    Attributes:
        instruction_id: the instruction; ``prompt_id`` is read too.
        model_a: one contestant.
        model_b: the other one.
        winner: ``model_a``, ``model_b`` or ``tie``; ``label`` and other spellings are read too.
    """

    instruction_id: str = Field(min_length=1)
    model_a: str
    model_b: str
    winner: VotedWinner


class Provenance(Row):
    """The origin of a training row.

    Attributes:
        round: round that made the row.
        instruction_id: the instruction.
        category: category of the instruction.
        winner: contestant whose answer is trained on.
        loser: contestant that lost; empty for a label without a battle.
        score_winner: mean score of the winner.
        score_loser: mean score of the loser.
        gap: difference of the two scores; below 0 where the answer learnt lost its battle (strategies other than
            ``battles``, and named answers).
        threshold: the round's threshold K.
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
        prompt: turns of the instruction.
        completion: the answer that is trained on, as one turn.
        provenance: origin of the row.
    """

    prompt: tuple[Turn, ...]
    completion: tuple[Turn, ...]
    provenance: Provenance


class PreferenceRow(Row):
    """A preference pair, in TRL's conversational preference format.

    Attributes:
        prompt: turns of the instruction.
        chosen: the winner's answer, as one turn.
        rejected: the loser's answer, as one turn.
        provenance: origin of the row.
        rejected_cut_off: whether the rejected answer was truncated; then no end of turn is trained on for it. Omitted
            from files when false.
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


def by_id(instructions: Sequence[Instruction]) -> dict[str, Instruction]:
    """Return the instructions by id."""
    return {instruction.id: instruction for instruction in instructions}
