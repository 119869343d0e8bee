"""Encode rows as token ids for all trainers, so that every dropped or cut row is counted with its reason.

(TRL drops silently: DPO a prompt that fills the length, the reward trainer a pair that exceeds it.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from arena_learning.engines import ChatFormat, Refused
from arena_learning.schema import Instruction, PreferenceRow, SftRow, Turn
from arena_learning.train.report import RowCount

CONTROL = "control token in the text"
MISMATCH = "the chat template does not write the answer behind the prompt"
REFUSED = "the chat template does not take the turns"
PROMPT_FILLS = "prompt fills max_length"
TOO_LONG = "over max_length"
REPEATED = "prompt repeated"
EMPTY = "empty answer"
NOTHING_REJECTED = "a rejected answer that was cut off before it began"


class Encoded(NamedTuple):
    """Rows ready for a trainer, and the counts of kept, cut and dropped rows."""

    rows: list[dict[str, Any]]
    tally: RowCount


class Encoder:
    """Encodes conversations for training: the prompt as it is served, then the answer and its end of turn.

    Args:
        form: the chat format of the model to train.
    """

    def __init__(self, form: ChatFormat) -> None:
        self.form = form

    def prompt(self, turns: Sequence[Turn]) -> list[int] | None:
        """Return the ids of a conversation up to the answer; None if the template does not take its turns.

        What the template writes between prompt and answer (an empty thought) is part of the prompt and carries no loss.
        """
        (prompt,) = self.form.chat.prompts([turns], fitting=False)
        return None if isinstance(prompt, Refused) else [*prompt, *self.form.preamble_ids]

    def answer(self, answer: Sequence[Turn]) -> list[int] | None:
        """Return the ids of an answer with its end of turn; None if the template does not write it."""
        learnt = self.form.learn(answer[-1].content)
        return None if learnt is None else learnt.answer

    def has_control(self, answer: Sequence[Turn], ids: list[int] | None) -> bool:
        """Whether an answer contains a control token (such as an end of turn) or part of one."""
        controls = set(self.form.chat.controls.values())
        return self.form.has_control(answer[-1].content) or any(
            token in controls for token in (ids or [])[:-1]
        )


def encode_sft(encoder: Encoder, rows: Sequence[SftRow], max_length: int) -> Encoded:
    """Encode rows for supervised fine-tuning: ``input_ids``, and ``labels`` with -100 on the prompt."""
    kept: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    cut = 0
    for row in rows:
        prompt, answer = encoder.prompt(row.prompt), encoder.answer(row.completion)
        reason = _refuse(encoder, prompt, [(row.completion, answer)], max_length)
        if reason or prompt is None or answer is None:
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
        encoder: the encoder of the model to train.
        rows: the pairs.
        max_length: the most tokens of prompt and answer together.
        cut_long: cut longer pairs (DPO); else drop them (a reward is read at an answer's end).
    """
    kept: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    cut = 0
    for row in rows:
        prompt = encoder.prompt(row.prompt)
        chosen, rejected = encoder.answer(row.chosen), encoder.answer(row.rejected)
        reason = _refuse(encoder, prompt, [(row.chosen, chosen), (row.rejected, rejected)], max_length)
        if reason or prompt is None or chosen is None or rejected is None:
            dropped[reason] += 1
            continue
        if row.rejected_cut_off:
            rejected = rejected[:-1]  # the answer was cut off: it has no end of turn
            if not "".join(turn.content for turn in row.rejected).strip():
                dropped[NOTHING_REJECTED] += 1
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


def pair_length(row: Mapping[str, Any]) -> int:
    """Return the tokens of an encoded pair's prompt and longer answer."""
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))


def encode_prompts(encoder: Encoder, rows: Sequence[PreferenceRow], max_length: int) -> Encoded:
    """Encode the prompts of preference pairs, each prompt once: ``input_ids`` of at most ``max_length``."""
    return _encode_prompts(encoder, rows, [(row.prompt, {}) for row in rows], max_length)


def encode_instructions(encoder: Encoder, instructions: Sequence[Instruction], max_length: int) -> Encoded:
    """Encode instructions, each prompt once: ``input_ids`` of at most ``max_length``, and ``instruction`` (its id)."""
    prompts = [(one.turns, {"instruction": one.id}) for one in instructions]
    return _encode_prompts(encoder, instructions, prompts, max_length)


def _encode_prompts(
    encoder: Encoder,
    rows: Sequence[object],
    prompts: Sequence[tuple[Sequence[Turn], dict[str, Any]]],
    max_length: int,
) -> Encoded:
    kept: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    seen: set[tuple[int, ...]] = set()
    for turns, more in prompts:
        prompt = encoder.prompt(turns)
        if prompt is None:
            dropped[REFUSED] += 1
        elif len(prompt) > max_length:
            dropped[PROMPT_FILLS] += 1
        elif tuple(prompt) in seen:
            dropped[REPEATED] += 1
        else:
            seen.add(tuple(prompt))
            kept.append({"input_ids": prompt, **more})
    return Encoded(kept, _count(rows, kept, dropped, 0, sum(len(row["input_ids"]) for row in kept), 0))


def _refuse(
    encoder: Encoder,
    prompt: list[int] | None,
    answers: Sequence[tuple[Sequence[Turn], list[int] | None]],
    max_length: int,
) -> str:
    """Return why a row cannot be trained on, or an empty string; the first of ``answers`` is the one to learn."""
    if prompt is None:
        return REFUSED
    if any(encoder.has_control(turns, ids) for turns, ids in answers):
        return CONTROL
    if any(ids is None for _, ids in answers):
        return MISMATCH
    # Only the answer to learn must not be empty: an empty rejected answer is a useful one.
    if any(not turn.content.strip() for turn in answers[0][0]):
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
