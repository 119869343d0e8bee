"""Rows to token ids, for all trainers, so that every row that is dropped or cut is counted with its reason.

(TRL does it silently: DPO drops a prompt that fills the length, the reward trainer a pair that exceeds it.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.rows import PreferenceRow, SftRow, Turn
from arena_learning.train.report import RowCount
from arena_learning.train.template import ChatFormat, render

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONTROL = "control token in the text"
MISMATCH = "prompt is not the start of the conversation"
PROMPT_FILLS = "prompt fills max_length"
TOO_LONG = "over max_length"
REPEATED = "prompt repeated"
EMPTY = "empty answer"


class Encoded(NamedTuple):
    """Rows ready for a trainer, and what became of them."""

    rows: list[dict[str, Any]]
    tally: RowCount


class Encoder:
    """Renders conversations with one tokenizer.

    Args:
        tokenizer: as set by `check_template`.
        chat: what `check_template` found.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat: ChatFormat) -> None:
        self.tokenizer, self.chat = tokenizer, chat

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Return the ids of a conversation left open for the assistant."""
        return render(self.tokenizer, [turn.model_dump() for turn in turns], prompt=True)

    def answer(self, turns: Sequence[Turn], answer: Sequence[Turn], prompt: list[int]) -> list[int] | None:
        """Return the ids of the answer with its end-of-turn; None if the prompt does not stand before it."""
        whole = render(self.tokenizer, [turn.model_dump() for turn in (*turns, *answer)])
        if whole[: len(prompt)] != prompt:
            return None
        ids = whole[len(prompt) :]
        # What the template writes after the end of the turn (a line break) is never generated: not learnt.
        return ids[: len(ids) - ids[::-1].index(self.chat.end_of_turn)]

    def has_control(self, *parts: Sequence[Turn]) -> bool:
        """Whether a turn's text would be read as a control token (an end of turn inside an answer, say)."""
        return any(word in turn.content for part in parts for turn in part for word in self.chat.control)


def encode_sft(encoder: Encoder, rows: Sequence[SftRow], max_length: int) -> Encoded:
    """Encode rows for supervised fine-tuning: ``input_ids``, and ``labels`` that are -100 on the prompt."""
    kept: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    cut = 0
    for row in rows:
        prompt = encoder.prompt(row.prompt)
        answer = encoder.answer(row.prompt, row.completion, prompt)
        reason = _refuse(encoder, (row.prompt, row.completion), prompt, (answer,), max_length)
        if reason or answer is None:
            dropped[reason] += 1
            continue
        cut += len(prompt) + len(answer) > max_length
        ids = (prompt + answer)[:max_length]
        kept.append({"input_ids": ids, "labels": [-100] * len(prompt) + ids[len(prompt) :]})
    tokens = sum(len(row["input_ids"]) for row in kept)
    trained = sum(sum(label != -100 for label in row["labels"]) for row in kept)
    return Encoded(kept, _count(rows, kept, dropped, cut, tokens, trained))


def encode_pairs(
    encoder: Encoder, rows: Sequence[PreferenceRow], max_length: int, *, cut_long: bool
) -> Encoded:
    """Encode preference pairs: ``prompt_ids``, ``chosen_ids``, ``rejected_ids``, ``instruction`` (its id).

    Args:
        encoder: of the model that is trained.
        rows: the pairs.
        max_length: longest prompt and answer together.
        cut_long: cut what is longer (DPO); else drop the pair (a reward is read at an answer's end).
    """
    kept: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    cut = 0
    for row in rows:
        prompt = encoder.prompt(row.prompt)
        chosen = encoder.answer(row.prompt, row.chosen, prompt)
        rejected = encoder.answer(row.prompt, row.rejected, prompt)
        reason = _refuse(
            encoder, (row.prompt, row.chosen, row.rejected), prompt, (chosen, rejected), max_length
        )
        if reason or chosen is None or rejected is None:
            dropped[reason] += 1
            continue
        room = max_length - len(prompt)
        if max(len(chosen), len(rejected)) > room:
            if not cut_long:
                dropped[TOO_LONG] += 1
                continue
            cut += 1
            chosen, rejected = chosen[:room], rejected[:room]
        kept.append(
            {
                "prompt_ids": prompt,
                "chosen_ids": chosen,
                "rejected_ids": rejected,
                "instruction": row.provenance.instruction_id,
            }
        )
    trained = sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in kept)
    tokens = trained + 2 * sum(len(row["prompt_ids"]) for row in kept)
    return Encoded(kept, _count(rows, kept, dropped, cut, tokens, trained))


def encode_prompts(encoder: Encoder, rows: Sequence[PreferenceRow], max_length: int) -> Encoded:
    """Encode the prompts of preference pairs, each once: ``input_ids`` of at most ``max_length``."""
    kept: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    seen: set[tuple[int, ...]] = set()
    for row in rows:
        prompt = encoder.prompt(row.prompt)
        if encoder.has_control(row.prompt):
            dropped[CONTROL] += 1
        elif len(prompt) > max_length:
            dropped[PROMPT_FILLS] += 1
        elif tuple(prompt) in seen:
            dropped[REPEATED] += 1
        else:
            seen.add(tuple(prompt))
            kept.append({"input_ids": prompt})
    return Encoded(kept, _count(rows, kept, dropped, 0, sum(len(row["input_ids"]) for row in kept), 0))


def _refuse(
    encoder: Encoder,
    parts: Sequence[Sequence[Turn]],
    prompt: list[int],
    answers: Sequence[list[int] | None],
    max_length: int,
) -> str:
    """Return why a row cannot be trained on, or an empty string."""
    if encoder.has_control(*parts):
        return CONTROL
    if any(answer is None for answer in answers):
        return MISMATCH
    # Only what is learnt must say something: an empty rejected answer is a real one, and worth unlearning.
    if any(not turn.content.strip() for turn in parts[1]):
        return EMPTY
    return PROMPT_FILLS if len(prompt) >= max_length else ""


def _count(
    rows: Sequence[object], kept: Sequence[object], dropped: Counter[str], cut: int, tokens: int, trained: int
) -> RowCount:
    return RowCount(
        given=len(rows),
        kept=len(kept),
        dropped=dict(sorted(dropped.items())),
        cut={TOO_LONG: cut} if cut else {},
        tokens=tokens,
        trained_tokens=trained,
    )
