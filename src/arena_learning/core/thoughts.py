"""Thoughts: what a model writes for itself before it answers.

An answer is what stands behind the last thought. Where a model's tokenizer has the marks of a thought as tokens, they
are found by token (`engines.chat`); here they are found in text: in what an endpoint sends, in what a judge wrote, and
in answers that were remembered before thoughts were told apart.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import NamedTuple


class Marks(NamedTuple):
    """What a thought begins and ends with."""

    open: str
    close: str


# By how common they are. `<|channel>` is Gemma's and names what follows it (`<|channel>thought`).
MARKS = (
    Marks(
        "<think>", "</think>"
    ),  # Qwen, DeepSeek, GLM, Kimi, SmolLM, Nemotron, Phi-4-reasoning, OLMo, MiniMax, ...
    Marks("[THINK]", "[/THINK]"),  # Mistral
    Marks("<|channel>", "<channel|>"),  # Gemma 4
    Marks("<thought>", "</thought>"),  # EXAONE Deep
    Marks("<thinking>", "</thinking>"),
    Marks("<reasoning>", "</reasoning>"),
    Marks("<scratchpad>", "</scratchpad>"),  # prompts that ask for one
    Marks("<reflection>", "</reflection>"),
    Marks("<seed:think>", "</seed:think>"),  # Seed-OSS
    Marks("<|START_THINKING|>", "<|END_THINKING|>"),  # Command
    Marks("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    Marks("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThinker, Sky-T1
    Marks("◁think▷", "◁/think▷"),  # Kimi-VL
    Marks("<mm:think>", "</mm:think>"),  # MiniMax M3
    Marks("<think:opensource>", "</think:opensource>"),  # Hunyuan 3
    Marks("<unused94>", "<unused95>"),  # MedGemma
    Marks("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),  # Apriel
    Marks("Here is my thought process:", "Here is my response:"),  # Granite 3
)
# gpt-oss: a message for each channel; only the one that says `final` is for the reader.
CHANNEL, MESSAGE, END_OF_MESSAGE = "<|channel|>", "<|message|>", "<|end|>"
FINAL = "final"
_HARMONY = re.compile(
    r"<\|channel\|>\s*final\b[^<]*<\|message\|>(.*?)(?:<\|(?:end|return|call)\|>|\Z)", re.DOTALL
)
_NAME_OF_CHANNEL = re.compile(r"\A\s*(?:thought|analysis)\s*\n")
# What some models put around an answer behind a thought.
_WRAPPED = re.compile(
    r"\A\s*(?:<(?P<tag>answer|response)>(?P<a>.*)</(?P=tag)>|<\|begin_of_solution\|>(?P<b>.*)<\|end_of_solution\|>"
    r"|<\|START_(?:RESPONSE|TEXT)\|>(?P<c>.*?)(?:<\|END_(?:RESPONSE|TEXT)\|>)?"  # the end may have stopped it
    r"|(?P<d>.*)\[END FINAL RESPONSE\])\s*\Z",
    re.DOTALL,
)


_BLANK = f"{string.whitespace}\ufeff\u200b\u2060"  # what may stand before a thought, unseen marks among it


class SplitAnswer(NamedTuple):
    """A thought and the answer behind it; ``ended`` is false where a thought was opened and never closed."""

    thought: str
    text: str
    ended: bool = True


def split_text(
    text: str, *, opened: bool = False, anywhere: bool = False, marks: Sequence[Marks] | None = None
) -> SplitAnswer:
    """Split what a model wrote into its thought and its answer.

    A mark in the midst of a sentence is prose about marks and no thought. A thought is closed without having been
    opened where the prompt had opened it.

    Args:
        text: as the model wrote it, marks included.
        opened: the prompt ends inside of a thought.
        anywhere: a thought may begin on any line (a judge drafts, says something, and thinks again), not only at the
            start or behind another thought.
        marks: of the model's family; None where that is not known. Words that open a thought in one family (Granite's
            "Here is my response:") are prose in every other: then they count where the text begins with their partner.

    Returns:
        The thought without its marks, and what stands behind the last one. Without a thought the text is unchanged.

    Example:
        >>> split_text("<think>Sky, sea.</think>\\n\\nBlue.")
        SplitAnswer(thought='Sky, sea.', text='Blue.', ended=True)
        >>> split_text("<think>Sky, sea")
        SplitAnswer(thought='Sky, sea', text='', ended=False)
        >>> split_text("Put <think> before it.")
        SplitAnswer(thought='', text='Put <think> before it.', ended=True)
    """
    if CHANNEL in text:
        return _by_channels(text)
    if marks is None:
        marks = [mark for mark in MARKS if not mark.open[0].isalpha() or text.lstrip().startswith(mark.open)]
    lower = text.lower()
    found = [mark for mark in marks if mark.open.lower() in lower or mark.close.lower() in lower]
    if not found:
        return SplitAnswer(text.strip(), "", ended=False) if opened else SplitAnswer("", text)
    begin, end = _last_thought(text, found, opened=opened, anywhere=anywhere)
    if end is None:
        return SplitAnswer("", text) if begin is None else SplitAnswer(_bare(text, found), "", ended=False)
    return SplitAnswer(_bare(text[:end], found), unwrap(text[end:]))


def _last_thought(
    text: str, marks: Sequence[Marks], *, opened: bool, anywhere: bool
) -> tuple[int | None, int | None]:
    """Return where the last thought begins and where it ends: (None, None) without one, (n, None) if it is open."""
    words = {mark.open.lower(): True for mark in marks} | {mark.close.lower(): False for mark in marks}
    pattern = re.compile("|".join(sorted(map(re.escape, words), key=len, reverse=True)), re.IGNORECASE)
    begin: int | None = 0 if opened else None
    end: int | None = None
    literal = 0  # marks in prose whose partners are prose too
    for found in pattern.finditer(text):
        before = text[end or 0 : found.start()]
        if words[found[0].lower()]:
            starts = not before.strip(_BLANK) or (anywhere and not before.rpartition("\n")[2].strip(_BLANK))
            if begin is None or end is not None:
                if starts:
                    begin, end = found.start(), None
                else:
                    literal += 1
        elif begin is not None and end is None:
            end = found.end()
        elif literal:
            literal -= 1
        elif begin is None:
            begin, end = 0, found.end()  # opened in the prompt
    return begin, end


def _by_channels(text: str) -> SplitAnswer:
    finals = list(_HARMONY.finditer(text))
    words = re.compile(
        r"<\|channel\|>\s*(\w*)[^<]*<\|message\|>|<\|(?:start|end|return|call)\|>(?:assistant)?"
    )
    if not finals:
        return SplitAnswer(words.sub("", text).strip(), "", ended=False)
    return SplitAnswer(words.sub("", text[: finals[-1].start()]).strip(), finals[-1][1].strip())


def _bare(text: str, marks: Sequence[Marks]) -> str:
    words = "|".join(re.escape(word) for mark in marks for word in mark)
    return bare_channel(re.sub(words, "\n", text, flags=re.IGNORECASE))


def bare_channel(thought: str) -> str:
    """Return a thought without the name of the channel it came through."""
    return _NAME_OF_CHANNEL.sub("", f"{thought.strip(_BLANK)}\n").strip()


def unwrap(answer: str) -> str:
    """Return an answer that stood behind a thought, without the words that some models put around it."""
    found = _WRAPPED.match(answer)
    inner = next((found[name] for name in "abcd" if found[name] is not None), "") if found else answer
    return inner.strip()
