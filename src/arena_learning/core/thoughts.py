"""Separates a model's thought (its reasoning before the answer) from the answer, in text.

The answer is the text after the last thought. If the tokenizer has the thought's marks as tokens, `engines.chat` finds
them by token. This module finds them in text: in replies of endpoints, in judges' verdicts, and in answers that an
older version stored together with their thought.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import NamedTuple


class Marks(NamedTuple):
    """The marks at the start and end of a thought."""

    open: str
    close: str


# Sorted by how common they are. Gemma's `<|channel>` is followed by the channel's name (`<|channel>thought`).
MARKS = (
    Marks(
        "<think>", "</think>"
    ),  # Qwen, DeepSeek, GLM, Kimi, SmolLM, Nemotron, Phi-4-reasoning, OLMo, MiniMax, ...
    Marks("[THINK]", "[/THINK]"),  # Mistral
    Marks("<|channel>", "<channel|>"),  # Gemma 4
    Marks("<thought>", "</thought>"),  # EXAONE Deep
    Marks("<thinking>", "</thinking>"),
    Marks("<reasoning>", "</reasoning>"),
    Marks("<scratchpad>", "</scratchpad>"),  # in prompts that ask for one
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
# gpt-oss writes a message per channel; only the channel `final` is the answer.
CHANNEL, MESSAGE, END_OF_MESSAGE = "<|channel|>", "<|message|>", "<|end|>"
FINAL = "final"
_HARMONY = re.compile(
    r"<\|channel\|>\s*final\b[^<]*<\|message\|>(.*?)(?:<\|(?:end|return|call)\|>|\Z)", re.DOTALL
)
_NAME_OF_CHANNEL = re.compile(r"\A\s*(?:thought|analysis)\s*\n")
# Words that some models put around the answer after a thought.
_WRAPPED = re.compile(
    r"\A\s*(?:<(?P<tag>answer|response)>(?P<a>.*)</(?P=tag)>|<\|begin_of_solution\|>(?P<b>.*)<\|end_of_solution\|>"
    r"|<\|START_(?:RESPONSE|TEXT)\|>(?P<c>.*?)(?:<\|END_(?:RESPONSE|TEXT)\|>)?"  # the end mark may be a stop token
    r"|(?P<d>.*)\[END FINAL RESPONSE\])\s*\Z",
    re.DOTALL,
)


_BLANK = f"{string.whitespace}\ufeff\u200b\u2060"  # may precede a thought; includes invisible characters


class SplitAnswer(NamedTuple):
    """A thought and the answer after it; ``ended`` is false if the thought was never closed."""

    thought: str
    text: str
    ended: bool = True


def split_text(
    text: str, *, opened: bool = False, anywhere: bool = False, marks: Sequence[Marks] | None = None
) -> SplitAnswer:
    """Split a model's output into thought and answer.

    A mark in the middle of a sentence is part of the prose and starts no thought. A closing mark without an opening
    one ends a thought that the prompt has opened.

    Args:
        text: the model's output, marks included.
        opened: whether the prompt ends inside a thought.
        anywhere: whether a thought may begin on any line (a judge may think again after a draft), not only at the
            start or after another thought.
        marks: marks of the model's family; None if unknown. Then marks that are ordinary words (Granite's "Here is my
            response:") only count if the text begins with the opening one.

    Returns:
        The thought without its marks, and the text after the last thought. Without a thought the text is unchanged.

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
    """Return where the last thought begins and ends: (None, None) without a thought, (n, None) if it is not closed."""
    words = {mark.open.lower(): True for mark in marks} | {mark.close.lower(): False for mark in marks}
    pattern = re.compile("|".join(sorted(map(re.escape, words), key=len, reverse=True)), re.IGNORECASE)
    begin: int | None = 0 if opened else None
    end: int | None = None
    literal = 0  # opening marks in prose, whose closing marks are prose too
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
    """Return a thought without the channel name at its start."""
    return _NAME_OF_CHANNEL.sub("", f"{thought.strip(_BLANK)}\n").strip()


def unwrap(answer: str) -> str:
    """Return the answer after a thought without the words that some models put around it."""
    found = _WRAPPED.match(answer)
    inner = next((found[name] for name in "abcd" if found[name] is not None), "") if found else answer
    return inner.strip()
