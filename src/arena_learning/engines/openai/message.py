"""Reads an endpoint's message: separates the answer from the thought, in all formats that servers use.

A thought may be in its own field, in a part of the content, or inside the text. Parts of an unknown kind (an image, a
tool call, encrypted data) are ignored.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from arena_learning.core import CHANNEL, MARKS, split_text, unwrap
from arena_learning.schema import FinishReason

# The fields of a message with its thought: of vLLM, SGLang and DeepSeek; of OpenRouter, Ollama and newer vLLM; of
# Ollama's own protocol; OpenRouter's parts; LiteLLM's parts. If several are given, they repeat each other.
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")
_TEXT_PARTS = frozenset({"text", "output_text", "refusal"})
_THOUGHT_PARTS = frozenset(
    {
        *("thinking", "thought", "reasoning", "reasoning_content", "reasoning_text", "summary_text"),
        *("reasoning.text", "reasoning.summary"),
    }
)
_WORDS = ("text", "thinking", "thought", "reasoning", "summary", "content", "refusal", "value")
_DEPTH = 8  # maximum nesting of parts; no protocol nests deeper
_HALF = re.compile(
    "[\ud800-\udfff]"
)  # unpaired surrogates: possible in JSON, but not in UTF-8 files or the store

Ending = Literal["stop", "length", "tool", "filter", "broken", "unknown"]


def _spelt(kind: Ending, words: str) -> dict[str, Ending]:
    return dict.fromkeys(words.split(), kind)


# Compared by letters only, because spellings differ (MAX_TOKENS, max-tokens, maxTokens). "broken" means that the server
# did not finish the answer.
_ENDINGS: dict[str, Ending] = {
    **_spelt("stop", "stop stopped stopsequence stopstring stoptoken stopword endturn endofturn turnend eos"),
    **_spelt(
        "stop", "eostoken eot endoftext endofsequence end complete completed finish finished done normal"
    ),
    **_spelt("length", "length maxlength modellength outputlength maxtokens maxnewtokens maxoutputtokens"),
    **_spelt(
        "length", "maxcompletiontokens maxtokensreached tokenlimit tokenlimitreached outputlimit truncated"
    ),
    **_spelt("length", "incomplete modelcontextwindowexceeded contextwindowexceeded contextlengthexceeded"),
    **_spelt("length", "contextlength maxcontextlength"),
    **_spelt("tool", "toolcalls toolcall tooluse functioncall functioncalls malformedfunctioncall"),
    **_spelt("tool", "unexpectedtoolcall"),
    **_spelt("filter", "contentfilter contentfiltered contentpolicy contentpolicyviolation policyviolation"),
    **_spelt(
        "filter", "sensitive safety imagesafety recitation prohibitedcontent blocklist blocked spii language"
    ),
    **_spelt("filter", "guardrail guardrailintervened refusal refused moderation moderated flagged unsafe"),
    **_spelt("filter", "modelarmor errortoxic toxic toxicity risk violation"),
    **_spelt("broken", "abort aborted error errored cancel cancelled canceled timeout failed failure fail"),
    **_spelt("broken", "interrupted preempted overloaded networkerror engineerror servererror unavailable"),
    **_spelt("broken", "insufficientsystemresource malformedresponse"),
}


class Message(NamedTuple):
    """A message's answer, its thought, and whether the thought ended."""

    text: str
    thought: str = ""
    ended: bool = True


def ending(finish: Any) -> Ending:
    """Return the meaning of a ``finish_reason`` in any spelling; a missing or unknown one is ``unknown``.

    Example:
        >>> ending("MAX_TOKENS"), ending("end-turn"), ending(None)
        ('length', 'stop', 'unknown')
    """
    letters = re.sub("[^a-z]", "", finish.lower()) if isinstance(finish, str) else ""
    return _ENDINGS.get(letters.removeprefix("finishreason"), "unknown")


def finished(found: Ending, tokens: int, limit: int) -> FinishReason:
    """Return how an answer with text ended.

    Args:
        found: meaning of its finish reason; ``unknown`` counts as ``length`` if the limit of tokens was reached, else
            as ``stop``.
        tokens: number of generated tokens as counted by the server; 0 if it does not count.
        limit: limit of generated tokens.
    """
    if found == "length" or (found == "unknown" and tokens >= limit > 0):
        return "length"
    return "stop"


def read_message(message: dict[str, Any]) -> Message | None:
    """Return the answer and thought of a message, or None if its content is neither text nor parts.

    The joined text parts are the answer. A thought inside the text is split off; if the server has already separated a
    thought, only one at the start of the text is. A refusal field counts as text, because the model wrote it.
    """
    content = message.get("content")
    if content is not None and not isinstance(content, str | list | dict):
        return None
    text, within = _parts(content)
    apart = next((words for field in _THOUGHTS if (words := _words(message.get(field)).strip())), "")
    text = text or _words(message.get("refusal"))
    thought = "\n\n".join(dict.fromkeys(part for part in (apart, within) if part))
    text, thought = _HALF.sub("\ufffd", text), _HALF.sub("\ufffd", thought)
    if thought and not _begins_with_a_thought(text):
        return Message(unwrap(text), thought)
    said = split_text(text)
    both = "\n\n".join(dict.fromkeys(part for part in (thought, said.thought) if part))
    return Message(said.text, both, said.ended)


def calls_a_tool(message: dict[str, Any]) -> bool:
    """Whether a message contains a tool call."""
    return bool(message.get("tool_calls") or message.get("function_call"))


def _begins_with_a_thought(text: str) -> bool:
    return text.lstrip().startswith((CHANNEL, *(mark.open for mark in MARKS)))


def _parts(content: Any) -> tuple[str, str]:
    """Return the text and the thought of content, which is text, a list of parts, or one part."""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            kind = str(part.get("type") or "text").lower()
            if kind in _THOUGHT_PARTS or part.get("thought") is True:
                thoughts.append(_words(part).strip())
            elif kind in _TEXT_PARTS:
                texts.append(_words(part))
    return "".join(texts), "\n\n".join(filter(None, thoughts))


def _words(value: Any, depth: int = 0) -> str:
    """Return the text in a part, also if nested: ``{"thinking": [{"type": "text", "text": ...}]}``."""
    if isinstance(value, str):
        return value
    if depth > _DEPTH:
        return ""
    if isinstance(value, list):
        return "".join([_words(item, depth + 1) for item in value])
    if isinstance(value, dict):
        return next((words for key in _WORDS if (words := _words(value.get(key), depth + 1))), "")
    return ""
