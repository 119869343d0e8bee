"""What a message of an endpoint says: the answer, and apart from it the thought, in all the forms that servers use.

A thought comes in a field of its own, as a part of the content, or in the midst of the text. Only words count: a part
of a kind that is not known (an image, a call of a tool, something encrypted) is no text.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from arena_learning.core import CHANNEL, MARKS, split_text, unwrap
from arena_learning.schema import FinishReason

# The fields of a message that hold its thought: of vLLM, SGLang and DeepSeek; of OpenRouter, Ollama and newer vLLM; of
# Ollama's own protocol; OpenRouter's parts; LiteLLM's parts. Those that stand side by side repeat each other.
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")
_TEXT_PARTS = frozenset({"text", "output_text", "refusal"})
_THOUGHT_PARTS = frozenset(
    {
        *("thinking", "thought", "reasoning", "reasoning_content", "reasoning_text", "summary_text"),
        *("reasoning.text", "reasoning.summary"),
    }
)
_WORDS = ("text", "thinking", "thought", "reasoning", "summary", "content", "refusal", "value")
_DEPTH = 8  # of parts inside of parts; deeper is nobody's protocol
_HALF = re.compile("[\ud800-\udfff]")  # half a character: JSON can hold one, and no store or file in UTF-8

Ending = Literal["stop", "length", "tool", "filter", "broken", "unknown"]


def _spelt(kind: Ending, words: str) -> dict[str, Ending]:
    return dict.fromkeys(words.split(), kind)


# By their letters alone, for each server spells them in its own way (MAX_TOKENS, max-tokens, maxTokens). "broken" is an
# answer that the server itself did not finish.
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
    """The answer of a message, its thought, and whether the thought ended."""

    text: str
    thought: str = ""
    ended: bool = True


def ending(finish: Any) -> Ending:
    """Return what a ``finish_reason`` means, in whatever spelling; nothing, and what is not known, is ``unknown``."""
    letters = re.sub("[^a-z]", "", finish.lower()) if isinstance(finish, str) else ""
    return _ENDINGS.get(letters.removeprefix("finishreason"), "unknown")


def finished(found: Ending, tokens: int, limit: int) -> FinishReason:
    """Return how an answer with text ended.

    Args:
        found: what its reason means; one that is not known, or missing, is taken for ``length`` where as many tokens
            were generated as were allowed, else for ``stop``.
        tokens: generated, by the server's count; 0 where it counts none.
        limit: how many were allowed.
    """
    if found == "length" or (found == "unknown" and tokens >= limit > 0):
        return "length"
    return "stop"


def read_message(message: dict[str, Any]) -> Message | None:
    """Return what a message says, or None where its content is neither text nor parts.

    Parts of text, joined, are the answer. A thought inside of the text is split off; where the server has split it off
    already, only one that the text begins with. A refusal is text: the model's own words.
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
    """Whether a message calls a tool."""
    return bool(message.get("tool_calls") or message.get("function_call"))


def _begins_with_a_thought(text: str) -> bool:
    return text.lstrip().startswith((CHANNEL, *(mark.open for mark in MARKS)))


def _parts(content: Any) -> tuple[str, str]:
    """Return the text and the thought of a content: text, parts, or one part."""
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
    """Return the words in a part, however deep they lie: ``{"thinking": [{"type": "text", "text": ...}]}``."""
    if isinstance(value, str):
        return value
    if depth > _DEPTH:
        return ""
    if isinstance(value, list):
        return "".join([_words(item, depth + 1) for item in value])
    if isinstance(value, dict):
        return next((words for key in _WORDS if (words := _words(value.get(key), depth + 1))), "")
    return ""
