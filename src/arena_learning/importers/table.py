"""Reads any table of instructions, answers, votes, conversations, or chosen and rejected answers.

The columns determine the type of a row: ``chosen`` and ``rejected`` are a preference; ``model_a`` and ``model_b``, or
two answers, are a vote (Kaggle's and LMSYS's files of Chatbot Arena); a conversation is one (ShareGPT, LMSYS,
WildChat); all other rows are an instruction, an answer, or both.
"""

from __future__ import annotations

import hashlib
import math

from arena_learning.core import ArenaError, canonical
from arena_learning.importers.collect import Collected, Vote
from arena_learning.importers.conversations import OddError, read_conversation
from arena_learning.importers.instructions import EXTRA, ID, is_derived, row_extra, row_id
from arena_learning.importers.pairs import (
    CONVERSATION,
    INSTRUCTION,
    SIDES,
    SYSTEM,
    WINNER,
    Exchange,
    conversation_name,
    exchange_of,
    has_winner,
    instruction_of,
    preference_of,
    winner_of,
)
from arena_learning.importers.source import Record
from arena_learning.schema import NO_WINNER, ONE_HOT, VotedWinner

ANSWER = ("text", "response", "output", "answer", "completion", "targets")
COMPLETIONS = "completions"
_NOBODY = "an answer of nobody named (--contestant names one)"
CONTESTANT = ("contestant", "model", "generator", "model_id")
JUDGE = ("judge", "annotator")
_ANOTHER = "another {} in the same row"
_PREFERENCE_SIDES = ("chosen", "rejected")
_SCORES = ("score_{}", "{}_score", "{}-score", "rating_{}", "{}_rating", "{}-rating", "{}.score", "{}.rating")
_MODELS = ("{}_model", "{}-model", "model_{}", "{}_model_name", "{}.model")
_BOTH = [form.format(side) for form in (*_SCORES, *_MODELS) for side in _PREFERENCE_SIDES]
_SAID = (INSTRUCTION, CONVERSATION, SIDES, WINNER, ANSWER, ONE_HOT, _BOTH, _PREFERENCE_SIDES)
_SIDES = frozenset(SIDES)
READ = frozenset(
    {*SYSTEM, COMPLETIONS, "model_a", "model_b", "count", "weight"}.union(
        *_SAID, CONTESTANT, ID, JUDGE, EXTRA
    )
)


def take(record: Record, found: Collected, contestant: str = "", judge: str = "") -> None:
    """Add the contents of a record.

    ``contestant`` is the author of answers in tables without such a column. If ``judge`` is given, votes of other
    judges are skipped.
    """
    fields = record.fields
    try:
        if all(side in fields for side in _PREFERENCE_SIDES):
            _take_preference(record, found, judge)
        elif ("model_a" in fields and "model_b" in fields) or not _SIDES.isdisjoint(fields):
            _take_vote(record, found, judge)
        elif (name := conversation_name(record)) is not None:
            _take_conversation(record, name, found, contestant)
        else:
            _take_plain(record, found, contestant)
    except OddError as odd:
        found.passed[odd.reason] += 1


def _take_plain(record: Record, found: Collected, contestant: str) -> None:
    used = False
    for names, what in ((INSTRUCTION[:3], "instruction"), (ANSWER, "answer")):
        texts = {record.fields[n] for n in names if isinstance(record.fields.get(n), str) and record.has(n)}
        found.passed[_ANOTHER.format(what)] += max(len(texts) - 1, 0)
    turns = instruction_of(record)
    if turns is not None:
        _add_instruction(record, found, turns)
        used = True
    if isinstance(record.fields.get(COMPLETIONS), list):
        _take_completions(record, found, turns)
    elif any(isinstance(record.fields.get(n), str) for n in ANSWER):
        if used and not contestant and record.fields.keys().isdisjoint(CONTESTANT):
            found.passed[_NOBODY] += 1  # Alpaca, OpenOrca and FLAN name no author
            return
        text = record.text(*ANSWER)
        found.add_answer(
            record, row_id(record, turns), _contestant(record, contestant), text, soft=is_derived(record)
        )
        used = True
    found.passed["no instruction, answer or vote"] += not used


def _take_completions(record: Record, found: Collected, turns: list[dict[str, str]] | None) -> None:
    """Add the answers in a list of completions, each with its model and response (UltraFeedback)."""
    for number, item in enumerate(record.fields[COMPLETIONS], 1):
        if not isinstance(item, dict):
            raise ArenaError(f"completion {number} is no JSON object", where=record.where)
        one = Record(record.where, item)
        if one.first(*ANSWER) is None or one.first(*CONTESTANT) is None:
            found.passed["a completion without a model or a response"] += 1
            continue
        key = row_id(record, turns)
        found.add_answer(record, key, _contestant(one, ""), one.text(*ANSWER), soft=is_derived(record))


def _take_conversation(record: Record, name: str, found: Collected, contestant: str) -> None:
    """Add a conversation up to its last user turn, and the model's answer to it."""
    turns, answer = read_conversation(record.fields[name], record.where)
    text = next((record.text(n) for n in ANSWER if isinstance(record.fields.get(n), str)), answer)
    found.passed[_ANOTHER.format("answer")] += text is not None and answer is not None and text != answer
    asked = [
        record.fields[n] for n in INSTRUCTION[:3] if isinstance(record.fields.get(n), str) and record.has(n)
    ]
    found.passed[_ANOTHER.format("instruction")] += any(
        t not in [turn["content"] for turn in turns] for t in asked
    )
    _add_instruction(record, found, turns)
    if text is None:
        return
    if not text.strip():
        found.passed["an empty answer"] += 1
    elif not contestant and record.first(*CONTESTANT) is None:
        found.passed[_NOBODY] += 1
    else:
        who = _contestant(record, contestant)
        found.add_answer(record, row_id(record, turns), who, text, soft=is_derived(record))


def _take_vote(record: Record, found: Collected, judge: str) -> None:
    """Add a vote on two contestants, their answers, and their labelled pair."""
    names = [record.text(n).strip() for n in ("model_a", "model_b") if n in record.fields]
    for column, name in zip(("model_a", "model_b"), names, strict=False):
        if not name:
            raise ArenaError(f"{column} is empty", where=record.where)
    winner = _voted(record, found, judge) if has_winner(record.fields) else None
    if not has_winner(record.fields):
        found.passed[NO_WINNER] += 1
    exchange, turns, odd = None, None, None
    try:
        exchange = None if _SIDES.isdisjoint(record.fields) else exchange_of(record)
        turns = exchange.turns if exchange else instruction_of(record)
    except OddError as error:  # the vote is still added
        odd = error
    known = turns is not None or any(record.has(n) for n in ID)
    if len(names) == 2 and winner is not None:
        prompt = row_id(record, turns) if known else ""
        found.add_vote(Vote(names[0], names[1], winner, prompt, *_repeats(record)))
    if odd:
        raise odd
    if turns is not None:
        _add_instruction(record, found, turns)
    if exchange is not None:
        _add_exchange(record, found, exchange, names, winner)


def _repeats(record: Record) -> tuple[float, float]:
    """Return how many identical votes a row stands for, and the weight of each."""
    count, weight = (record.number(n) if record.has(n) else 1.0 for n in ("count", "weight"))
    if not (count >= 0 and count.is_integer() and 0 <= weight < math.inf):
        what = f"a count of {count:g} with a weight of {weight:g} is invalid"
        raise ArenaError(
            what, where=record.where, hint="both must be at least 0, and the count a whole number"
        )
    return count, weight


def _add_exchange(
    record: Record, found: Collected, exchange: Exchange, names: list[str], winner: VotedWinner | None
) -> None:
    missing = sum(answer is None for answer in exchange.answers)
    found.passed["an empty answer"] += missing
    found.passed["a later turn of two conversations"] += exchange.later
    if len(names) == 2:
        for name, answer in zip(names, exchange.answers, strict=True):
            if answer is not None:
                found.add_answer(record, row_id(record, exchange.turns), name, answer, soft=True)
    else:
        found.passed["an answer of nobody named"] += 2 - missing
    if winner is None or missing:
        return
    if exchange.later:
        found.passed["a vote on several turns, which is no label of the first"] += 1
        return
    _add_pair(record, found, exchange, winner)


def _take_preference(record: Record, found: Collected, judge: str) -> None:
    """Add a chosen and a rejected answer; contestants without a name are called ``chosen`` and ``rejected``."""
    exchange = preference_of(record)
    if exchange is None:
        found.passed[NO_WINNER] += 1
        if (turns := instruction_of(record)) is not None:
            _add_instruction(record, found, turns)
        return
    _add_instruction(record, found, exchange.turns)
    if not all(exchange.answers):
        found.passed["an empty answer"] += sum(answer is None for answer in exchange.answers)
        return
    names = [_side(record, _MODELS, side) for side in _PREFERENCE_SIDES]
    one, two = (record.text(n) if n else side for n, side in zip(names, _PREFERENCE_SIDES, strict=True))
    if one == two:
        one, two = _PREFERENCE_SIDES  # both answers are of one model: its name does not distinguish them
    scores = _scores(record)
    key = row_id(record, exchange.turns)
    for name, answer in zip((one, two), exchange.answers, strict=True):
        assert answer is not None
        found.add_answer(record, key, name, answer, soft=True)
    if not _by(record, judge, found):
        return
    if scores and scores[0] < scores[1]:
        found.passed["the rejected answer's score is the higher one"] += 1
        return
    tie = scores is not None and scores[0] == scores[1]
    if scores and not all(1 <= score <= 10 for score in scores):
        found.passed["scores outside 1 to 10: kept is who won"] += 1
        scores = None
    share = 0.5 if tie else 0.0
    found.add_verdict(record, key, (one, two), share, known=False, scores=scores, soft=True)
    first = int(hashlib.sha256(canonical([key, *exchange.answers]).encode()).hexdigest(), 16) % 2 == 0
    shown = exchange if first else exchange._replace(answers=(exchange.answers[1], exchange.answers[0]))
    # The winner is not always first: if all labels were the same, agreement beyond chance would be meaningless.
    _add_pair(record, found, shown, "tie" if tie else "model_a" if first else "model_b")


def _scores(record: Record) -> tuple[float, float] | None:
    names = [_side(record, _SCORES, side) for side in _PREFERENCE_SIDES]
    return (record.number(names[0]), record.number(names[1])) if names[0] and names[1] else None


def _side(record: Record, forms: tuple[str, ...], side: str) -> str | None:
    return record.first(*(form.format(side) for form in forms))


def _add_pair(record: Record, found: Collected, exchange: Exchange, winner: VotedWinner) -> None:
    (one, two), turns = exchange.answers, exchange.turns
    assert one is not None
    assert two is not None
    alone = len(turns) == 1
    extra = row_extra(record, found.passed)
    found.add_pair(
        record,
        id=row_id(record, turns),
        instruction=turns[0]["content"] if alone else "",
        turns=() if alone else turns,
        response_a=one,
        response_b=two,
        label=winner,
        **{name: extra[name] for name in ("source", "category", "reference") if name in extra},
    )


def _voted(record: Record, found: Collected, judge: str) -> VotedWinner | None:
    winner = winner_of(record)
    if winner is None:
        found.passed[NO_WINNER] += 1
    return winner if winner and _by(record, judge, found) else None


def _by(record: Record, judge: str, found: Collected) -> bool:
    said = str(record.fields.get(record.first(*JUDGE) or "") or "")
    if judge and said != judge:
        found.passed[f"a verdict of {said or 'an unnamed judge'}"] += 1
        return False
    return True


def _add_instruction(record: Record, found: Collected, turns: list[dict[str, str]]) -> None:
    found.add_instruction(record, id=row_id(record, turns), turns=turns, **row_extra(record, found.passed))


def _contestant(record: Record, contestant: str) -> str:
    name = record.first(*CONTESTANT)
    return contestant if contestant and name is None else record.text(*([name] if name else CONTESTANT))
