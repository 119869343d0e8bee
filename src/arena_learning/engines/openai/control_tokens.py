"""Breaks control tokens in text for an endpoint, whose tokenizer is not available.

A server renders the chat template itself, and many read ``<|im_end|>`` inside a message as the end of the turn. So
text that looks like a control token of a known model family gets a space after its first character, as `engines.chat`
does with a tokenizer. Names that also occur in prose, HTML or programs (``<user>``, ``[ARGS]`` in a usage line) are not
changed, although some families use them.
"""

from __future__ import annotations

import re

# ChatML and Llama 3 <|...|>, DeepSeek <｜...｜>, Llama 2 and Mistral [INST] <s> <<SYS>>, Gemma <start_of_turn>,
# T5 and BERT families </s> [CLS]; only names that do not occur in prose or HTML.
_FIRST = re.compile(
    r"<(?=[|｜][^|｜<>\n]{1,60}[|｜]>"
    r"|/?s>|<?/?SYS>>?|(?:start|end)_of_(?:turn|image)>|(?:bos|eos|pad|unk|mask)>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|gMASK|CLS|SEP|MASK)\])"
)
_ANGLES = (  # after a "<"
    r"\|[A-Za-z_]{3,30}>|[A-Za-z_]{3,30}\|>",  # Gemma 4: <|turn> <turn|> <|channel> <tool_call|>
    r"/?[|｜]DSML[|｜]",  # DeepSeek V3.2 and V4
    r"/?(?:think|thought)(?::\w{1,20})?>",  # most reasoning models; Hunyuan 3 <think:...>; EXAONE Deep
    r"/?(?:seed|minimax|mm|atem):[a-z_]{2,30}>",  # Seed-OSS, MiniMax, Muse
    r"/?tool_(?:call|response|result|output|sep|def_sep)s?(?::\w{1,20})?>",  # Qwen, Hermes, Hunyuan, MiniCPM
    r"/?arg_(?:key|value)(?::\w{1,20})?>",  # GLM
    r"/?(?:TOOLCALL|TOOL_RESPONSE|AVAILABLE_TOOLS)>",  # Nemotron Nano 2
    r"(?:BOS|EOS|PAD|UNK|MASK|SEP|CLS|EOP|EOD)(?:_TOKEN)?>|REKA_IMG_TOKEN>|sep>",  # Command, Reka and others
    r"(?:sop|eop|eoa|eoh|eom|eod|eot)>",  # GLM, InternLM, MOSS
    r"(?:beginning|begin|start|end)_of_(?:sentence|document|text|audio|video|thinking)>",  # MiniMax-M1
    r"(?:unused|extra_id_|reserved_[a-z_]{0,30}|SPECIAL_|special_token_)\d{1,6}>",  # Gemma, T5, Baichuan, Nemotron
    r"fim_(?:prefix|middle|suffix|pad)>|im_(?:start|end|patch)>|(?:IMG_CONTEXT|(?:image|audio)_soft_token)>",
)
_SQUARES = (  # after a "["
    r"/?(?:THINK|TOOL_CONTENT|MODEL_SETTINGS)\]|(?:CALL_ID|IMG|IMG_BREAK|IMG_END|BEGIN_AUDIO|TRANSCRIBE)\]",  # Mistral
    r"\|[a-z_]{2,30}\|\]",  # EXAONE
    r"(?:sMASK|PAD|UNK|BOS|EOS)\]",
    r"e~\[",  # MiniMax
)
_LATER = re.compile(
    f"<(?={'|'.join(_ANGLES)})"
    f"|\\[(?={'|'.join(_SQUARES)})"
    r"|(?<=\w)\[(?=ARGS\])"  # Mistral, directly after a tool's name; in a usage line a space precedes it
    r"|\](?=~!?b[\[\]]|<\][a-z_]{2,20}\[>\[)"  # MiniMax
    r"|◁(?=/?[a-z_]{2,30}▷)"  # Kimi-VL
    r"|〈(?=\|[^|〈〉\n]{1,60}\|〉)"  # Laguna
)
_ROLE = re.compile(r"<(role>(?:SYSTEM|HUMAN|USER|ASSISTANT|OBSERVATION|TOOL))<(/role>)")  # Ling and Ring
FIRST_VERSION, VERSION = "1", "2"  # text without tokens of the later list is sent as in the first version


def break_common_control_tokens(text: str) -> str:
    """Return ``text`` with a space inside every string that looks like a control token.

    Example:
        >>> break_common_control_tokens("Blue.<|im_end|> [INST]")
        'Blue.< |im_end|> [ INST]'
    """
    return _without_later(_without_first(text))


def has_later_marks(text: str) -> bool:
    """Whether ``text`` contains a control token that is not in the first version of the list."""
    first = _without_first(text)
    return _without_later(first) != first


def _without_first(text: str) -> str:
    return _FIRST.sub(lambda found: f"{found[0]} ", text)


def _without_later(text: str) -> str:
    broken = _LATER.sub(lambda found: f"{found[0]} ", text)
    return _ROLE.sub(lambda found: f"< {found[1]}< {found[2]}", broken)
