"""A model folder's tokenizer: loading it, its control tokens, and the settings of its chat template.

What a user or a model wrote is data: where it spells a control token (``<|im_end|>``), a space is put after
that token's first character (``< |im_end|>``), so that it stays text, reads the same and can end no turn.
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

NAMED_TEMPLATES = "additional_chat_templates"  # the folder of a tokenizer's templates besides the default one
SETTINGS_FILE = (
    "arena_chat.json"  # in a model's folder: how its template is used, where that is not the default
)
TEMPLATE_DATE = "2026-01-01"  # what a template that writes today's date gets, unless a parameter says another

# How an added token that is not special may still look like a control, ...
MARK = re.compile(r"<.+>|\[.+\]|\{.+\}", re.DOTALL)
# ... and tags of HTML, which some vocabularies hold as whole tokens, and which are text.
_HTML = re.compile(
    r"</?(?:table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|p|br|hr|div|span|a|b|i|u|s|em|strong|small|sub"
    r"|sup|code|pre|ul|ol|li|img|details|summary|iframe)/?>",
    re.IGNORECASE,
)
_PLAIN = ("TokenizersBackend", "PreTrainedTokenizerFast")  # names of transformers' one fast tokenizer


class ChatSettings(NamedTuple):
    """How a model's chat template is used, beyond what comes with the model.

    Attributes:
        template: the text of another template; empty for the tokenizer's own.
        kwargs: variables of the template, such as ``{"enable_thinking": False}``.
        date: the day (YYYY-MM-DD) that a template which writes today's date gets; empty for `TEMPLATE_DATE`.
    """

    template: str = ""
    kwargs: Mapping[str, Any] = {}
    date: str = ""

    def over(self, other: ChatSettings) -> ChatSettings:
        """Return these settings, with those of ``other`` where these say nothing."""
        return ChatSettings(
            self.template or other.template, {**other.kwargs, **self.kwargs}, self.date or other.date
        )


AS_IT_COMES = ChatSettings()  # the tokenizer's own template, without variables


def break_control_tokens(text: str, words: tuple[str, ...]) -> str:
    """Return ``text`` with a space in every control token, so that a tokenizer reads it as text."""
    pattern = _pattern(words)
    if pattern is None:
        return text
    while (broken := pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)) != text:
        text = broken
    return text


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return the tokens of a Hugging Face tokenizer that must never come from what someone wrote, with their ids.

    They are the special tokens, and added ones that look like a mark (``<think>``, ``[INST]``) and are no tag of HTML.
    """
    return {
        str(token): index
        for index, token in sorted(tokenizer.added_tokens_decoder.items())
        if token.special or (MARK.fullmatch(str(token)) and not _HTML.fullmatch(str(token)))
    }


def load_tokenizer(folder: Path, trust_remote_code: bool = False) -> Any:
    """Load a folder's tokenizer as `transformers.AutoTokenizer` does, without its imports where they are not needed.

    What this project writes is a plain fast tokenizer. `AutoTokenizer` gives it the same class, and brings scikit-learn
    and all of generation along for it: half of what a stage takes that answers a few questions.
    """
    config = folder / "tokenizer_config.json"
    named = read_json(config).get("tokenizer_class") if config.is_file() else None
    if named in _PLAIN and (folder / "tokenizer.json").is_file():
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast.from_pretrained(str(folder))
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)


def longest_context(folder: Path, trust_remote_code: bool) -> int | None:
    """Return how many positions the model was made for; `transformers` finds it where the file nests it."""
    given = read_json(folder / "config.json").get("max_position_embeddings")
    if isinstance(given, int):
        return given
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    return getattr(config, "max_position_embeddings", None)


def template_text(given: object) -> str:
    """Return the template that is used by default, where a tokenizer comes with several under names."""
    if isinstance(given, Mapping):
        given = given.get("default") or (next(iter(given.values())) if len(given) == 1 else "")
    return given if isinstance(given, str) else ""


def folder_settings(folder: Path) -> ChatSettings:
    """Return how the template of the model in ``folder`` is used, as `save_settings` noted it there."""
    noted = folder / SETTINGS_FILE
    if not noted.is_file():
        return AS_IT_COMES
    said = read_json(noted)
    return ChatSettings(kwargs=said.get("kwargs", {}), date=said.get("date", ""))


def save_settings(folder: Path, settings: ChatSettings) -> None:
    """Note in a model's folder how its template is used, unless that is the default."""
    if settings.kwargs or settings.date:
        write_json(folder / SETTINGS_FILE, {"kwargs": dict(settings.kwargs), "date": settings.date})


def configured_ends(folder: Path) -> set[int]:
    """Return the ids that end generation, from generation_config.json, or else config.json."""
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        value = read_json(path).get("eos_token_id") if path.is_file() else None
        if value is not None:
            return {value} if isinstance(value, int) else set(value)
    return set()


@lru_cache(maxsize=8)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return a pattern of the control tokens, longest first; a token of one character cannot be broken."""
    broken = sorted((word for word in set(words) if len(word) > 1), key=lambda word: (-len(word), word))
    return re.compile("|".join(map(re.escape, broken))) if broken else None
