"""A model folder's tokenizer: loading it, its control tokens, and the settings of its chat template.

Text from users and models is data. If it contains a control token (``<|im_end|>``), a space is inserted after the
token's first character (``< |im_end|>``), so that it is read as text and cannot end a turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from arena_learning.core import read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAMED_TEMPLATES = "additional_chat_templates"  # folder of a tokenizer's templates other than the default one
SETTINGS_FILE = "arena_chat.json"  # in a model's folder: its chat template settings, if not the defaults
TEMPLATE_DATE = "2026-01-01"  # default date for templates that print today's date

# Added tokens of this form count as control tokens even if they are not special, ...
MARK = re.compile(r"<.+>|\[.+\]|\{.+\}", re.DOTALL)
# ... except for HTML tags, which some vocabularies contain as tokens but which are text.
_HTML = re.compile(
    r"</?(?:table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|p|br|hr|div|span|a|b|i|u|s|em|strong|small|sub"
    r"|sup|code|pre|ul|ol|li|img|details|summary|iframe)/?>",
    re.IGNORECASE,
)
_PLAIN = ("TokenizersBackend", "PreTrainedTokenizerFast")  # class names of transformers' plain fast tokenizer


class ChatSettings(NamedTuple):
    """How a model's chat template is used.

    Attributes:
        template: text of another template; empty for the tokenizer's own.
        kwargs: variables of the template, such as ``{"enable_thinking": False}``.
        date: date (YYYY-MM-DD) for templates that print today's date; empty for `TEMPLATE_DATE`.
    """

    template: str = ""
    kwargs: Mapping[str, Any] = {}
    date: str = ""

    def over(self, other: ChatSettings) -> ChatSettings:
        """Return these settings, completed by those of ``other``."""
        return ChatSettings(
            self.template or other.template, {**other.kwargs, **self.kwargs}, self.date or other.date
        )


AS_IT_COMES = ChatSettings()  # the tokenizer's own template, without variables


def break_control_tokens(text: str, words: tuple[str, ...]) -> str:
    """Return ``text`` with a space inside every control token, so that a tokenizer reads it as text.

    Example:
        >>> break_control_tokens("Blue.<|im_end|>", ("<|im_end|>",))
        'Blue.< |im_end|>'
    """
    pattern = _pattern(words)
    if pattern is None:
        return text
    while (broken := pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)) != text:
        text = broken
    return text


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return the ids of a Hugging Face tokenizer's control tokens, which must never come from users' or models' text.

    These are the special tokens, and added tokens that look like marks (``<think>``, ``[INST]``), except HTML tags.
    """
    return {
        str(token): index
        for index, token in sorted(tokenizer.added_tokens_decoder.items())
        if token.special or (MARK.fullmatch(str(token)) and not _HTML.fullmatch(str(token)))
    }


def load_tokenizer(folder: Path, trust_remote_code: bool = False) -> Any:
    """Load a folder's tokenizer like `transformers.AutoTokenizer`, but faster if it is a plain fast tokenizer.

    This project writes plain fast tokenizers. `AutoTokenizer` returns the same class for them, but imports scikit-learn
    and all generation code, which takes half the time of a stage with few conversations.
    """
    config = folder / "tokenizer_config.json"
    named = read_json(config).get("tokenizer_class") if config.is_file() else None
    if named in _PLAIN and (folder / "tokenizer.json").is_file():
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(str(folder))
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)


def longest_context(folder: Path, trust_remote_code: bool) -> int | None:
    """Return the model's number of positions, or None; `transformers` is only loaded if config.json nests it."""
    given = read_json(folder / "config.json").get("max_position_embeddings")
    if isinstance(given, int):
        return given
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    return getattr(config, "max_position_embeddings", None)


def template_text(given: object) -> str:
    """Return the text of a tokenizer's chat template; of several named templates, the default one."""
    if isinstance(given, Mapping):
        given = given.get("default") or (next(iter(given.values())) if len(given) == 1 else "")
    return given if isinstance(given, str) else ""


def folder_settings(folder: Path) -> ChatSettings:
    """Return the chat template settings that `save_settings` wrote to ``folder``, or the defaults."""
    noted = folder / SETTINGS_FILE
    if not noted.is_file():
        return AS_IT_COMES
    said = read_json(noted)
    return ChatSettings(kwargs=said.get("kwargs", {}), date=said.get("date", ""))


def save_settings(folder: Path, settings: ChatSettings) -> None:
    """Write the chat template settings to a model's folder, unless they are the defaults."""
    if settings.kwargs or settings.date:
        write_json(folder / SETTINGS_FILE, {"kwargs": dict(settings.kwargs), "date": settings.date})


def configured_ends(folder: Path) -> set[int]:
    """Return the ids that end generation, from generation_config.json, else from config.json."""
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        value = read_json(path).get("eos_token_id") if path.is_file() else None
        if value is not None:
            return {value} if isinstance(value, int) else set(value)
    return set()


@lru_cache(maxsize=8)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return a pattern of the control tokens, longest first; tokens of one character are left out."""
    broken = sorted((word for word in set(words) if len(word) > 1), key=lambda word: (-len(word), word))
    return re.compile("|".join(map(re.escape, broken))) if broken else None
