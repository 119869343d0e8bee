"""Control tokens in text for an endpoint, whose tokenizer is not at hand.

A server renders the chat template itself, and many then read ``<|im_end|>`` inside a message as the end of the turn.
What looks like a control token of a common family gets a space after its first character, as `engines.chat` does for
the tokens of a tokenizer that is at hand.
"""

from __future__ import annotations

import re

# ChatML and Llama 3 <|...|>, DeepSeek <｜...｜>, Llama 2 and Mistral [INST] <s> <<SYS>>, Gemma <start_of_turn>,
# T5 and BERT families </s> [CLS]; names that a word of prose or a tag of HTML would not have.
_CONTROL = re.compile(
    r"<(?=[|｜][^|｜<>\n]{1,60}[|｜]>"
    r"|/?s>|<?/?SYS>>?|(?:start|end)_of_(?:turn|image)>|(?:bos|eos|pad|unk|mask)>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|gMASK|CLS|SEP|MASK)\])"
)
VERSION = "1"


def neutralise_common(text: str) -> str:
    """Return ``text`` with a space inside everything that looks like a control token."""
    return _CONTROL.sub(lambda found: f"{found[0]} ", text)
