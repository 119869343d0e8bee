"""Separate a judge's verdict from its thought: the verdict follows the last thought.

A thinking model drafts verdicts and rejects some of them. Where an engine knows the model's marks, it returns the
thought separately (`Completion.thought`). Here the marks are found in text, more strictly than in a contestant's
answer: the last mark counts wherever it is, unless a sentence is about the mark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from arena_learning.core import CHANNEL, MARKS, split_text, unwrap

_CLOSES = {mark.close: mark.open for mark in MARKS}
_MARK = re.compile(
    "|".join(sorted((re.escape(word) for mark in MARKS for word in mark), key=len, reverse=True))
)
# A judge that was told in words to use marks may write them in another case.
_IN_ONE_CASE = {word.lower(): word for mark in MARKS for word in mark if not word[0].isalpha()}
_IN_ANY_CASE = re.compile("|".join(map(re.escape, _IN_ONE_CASE)), re.I)
# gpt-oss names a channel at the start, after the end of a message, or on a line of its own.
_CHANNEL = re.compile(
    r"(?:\A|<\|end\|>|<\|start\|>\w*|\n)\s*" + re.escape(CHANNEL) + r"[ \t]*\w+[^<\n]*(?:<\|message\|>|\Z)"
)
_NEAR = 200  # characters around a mark that decide whether a sentence is about it
_QUOTES = frozenset("`'\"“”‘’«»\\")
_BRACKETS = {"(": ")", "[": "]"}


class SplitVerdict(NamedTuple):
    """The text after the last thought.

    Attributes:
        text: the text as written; the whole reply if there is no thought.
        readable: the text with thoughts inside a line replaced by blanks; same length.
        begin: index of ``text`` in the whole reply.
        ended: false if a thought was opened and never closed.
        thought: whether there was a thought.
    """

    text: str
    readable: str
    begin: int = 0
    ended: bool = True
    thought: bool = False


def split_verdict(whole: str, *, cut_off: bool = False) -> SplitVerdict:
    """Return the part of a judge's reply after its last thought.

    Some model families mark a thought by ordinary words (``Here is my thought process:``). Such words open a thought if
    their closing words follow or the text was ``cut_off``; closing words count after opening ones or at a line's start.

    Example:
        >>> split_verdict("<think>Score-A: 2</think>Score-A: 8").text
        'Score-A: 8'
        >>> split_verdict("A closes a tag `</think>` that it never opened.").thought
        False
    """
    if _CHANNEL.search(whole):
        said = split_text(whole)
        return SplitVerdict(said.text, said.text, max(0, whole.rfind(said.text)), said.ended, thought=True)
    marked = _IN_ANY_CASE.sub(lambda mark: _IN_ONE_CASE.get(mark[0].lower(), mark[0]), whole)
    readable, last = _scan(marked, cut_off)
    if last is None:
        return SplitVerdict(whole, readable)
    if last[0] not in _CLOSES:
        return SplitVerdict("", "", len(whole), ended=False, thought=True)
    text = unwrap(whole[last.end() :])
    begin = whole.rindex(text, last.end())
    return SplitVerdict(text, readable[begin : begin + len(text)], begin, thought=True)


def _scan(whole: str, cut_off: bool) -> tuple[str, re.Match[str] | None]:
    """Return the text with thoughts inside a line blanked, and the last mark that no sentence is about."""
    marks = list(_MARK.finditer(whole))
    parts: list[str] = []
    copied = behind = number = 0
    last = None
    while number < len(marks):
        mark = marks[number]
        line = whole.rfind("\n", 0, mark.start()) + 1
        within = bool(whole[max(line, behind, mark.start() - _NEAR) : mark.start()].strip(" \t*_>#-"))
        following = marks[number + 1] if number + 1 < len(marks) else None
        if within and following and _is_pair(whole, mark, following):
            parts += [whole[copied : mark.start()], " " * (following.end() - mark.start())]
            copied = behind = following.end()
            number += 2
            continue
        if not (_is_prose(whole, mark, within) or _is_words(marks, number, within, cut_off)):
            last = mark
            behind = mark.end()
        number += 1
    return "".join([*parts, whole[copied:]]), last


def _is_words(marks: Sequence[re.Match[str]], number: int, within: bool, cut_off: bool) -> bool:
    """Whether a mark is ordinary words: opening words without closing ones, or closing words alone inside a line."""
    word = marks[number][0]
    if not word[0].isalpha():
        return False
    if word in _CLOSES:
        return within and all(other[0] != _CLOSES[word] for other in marks[:number])
    return not cut_off and all(_CLOSES.get(other[0]) != word for other in marks[number:])


def _is_pair(whole: str, one: re.Match[str], two: re.Match[str]) -> bool:
    """Whether two marks open and close a thought in one line."""
    return _CLOSES.get(two[0]) == one[0] and "\n" not in whole[one.end() : two.start()]


def _is_prose(whole: str, mark: re.Match[str], within: bool) -> bool:
    """Whether a sentence is about the mark: it is in quotes, or inside a line whose sentence goes on after it."""
    before, after = whole[mark.start() - 1 : mark.start()], whole[mark.end() : mark.end() + 1]
    if before and after and ((before in _QUOTES and after in _QUOTES) or _BRACKETS.get(before) == after):
        return True
    if not within:
        return False
    follows = whole[mark.end() : mark.end() + _NEAR].partition("\n")[0]
    word = follows.lstrip(" \t")
    goes_on = follows[:1] in tuple(".,;:!?)\"'`”’") or (
        word != follows and (word[:1].islower() or word[:1] == "(")
    )
    if mark[0] in _CLOSES:
        return before in (" ", "\t") and goes_on
    return goes_on or mark.end() >= len(whole.rstrip())
