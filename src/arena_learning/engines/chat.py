"""Conversations to tokens and back, the same for every engine that holds a model's tokenizer.

What a user or a model wrote is data: where it spells a special token (``<|im_end|>``), a space is put after
that token's first character (``< |im_end|>``), so that it stays text, reads the same and can end no turn.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_learning.engines.base import Completion, Conversation
from arena_learning.engines.weights import check_folder
from arena_learning.errors import ArenaError
from arena_learning.rows import FinishReason, Turn, canonical, read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARK = re.compile(
    r"<.+>|\[.+\]|\{.+\}", re.DOTALL
)  # how an added token that is not special may still look like a control

_PLAIN = ("TokenizersBackend", "PreTrainedTokenizerFast")  # names of transformers' one fast tokenizer


def neutralise(text: str, specials: tuple[str, ...]) -> str:
    """Return ``text`` with a space in every special token, so that a tokenizer reads it as text."""
    pattern = _pattern(specials)
    if pattern is None:
        return text
    while (broken := pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)) != text:
        text = broken
    return text


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Return the tokens of a Hugging Face tokenizer that must never come from what someone wrote."""
    added = tokenizer.added_tokens_decoder.values()
    return tuple(sorted({str(token) for token in added if token.special or _MARK.fullmatch(str(token))}))


def with_system(conversation: Conversation, system: str) -> list[Turn]:
    """Return the turns with the system prompt before them, unless it is empty or they have one."""
    if system and conversation[0].role != "system":
        return [Turn(role="system", content=system), *conversation]
    return list(conversation)


def share_out(
    texts: Sequence[str], reasons: Sequence[FinishReason], counts: Sequence[tuple[int, int]], seconds: float
) -> list[Completion]:
    """Return completions, the call's wall time shared out by tokens (``counts``: prompt, completion)."""
    total = sum(prompt + completion for prompt, completion in counts) or 1
    return [
        Completion(text, reason, prompt, completion, seconds * (prompt + completion) / total)
        for text, reason, (prompt, completion) in zip(texts, reasons, counts, strict=True)
    ]


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


def _longest(folder: Path, trust_remote_code: bool) -> int | None:
    """Return how many positions the model was made for; `transformers` finds it where the file nests it."""
    given = read_json(folder / "config.json").get("max_position_embeddings")
    if isinstance(given, int):
        return given
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    return getattr(config, "max_position_embeddings", None)


class Chat:
    """The tokenizer and chat template of a model folder.

    Args:
        folder: the model's folder.
        system: a system prompt for conversations that have none.
        trust_remote_code: run code that comes with the folder.

    Raises:
        ArenaError: no folder, no tokenizer or no chat template.
    """

    def __init__(self, folder: Path, system: str = "", trust_remote_code: bool = False) -> None:
        check_folder(folder)
        self.folder, self.system = folder, system
        try:
            self.tokenizer: Any = load_tokenizer(folder, trust_remote_code)
            longest = _longest(folder, trust_remote_code)
        except (OSError, ValueError) as error:
            raise ArenaError(
                f"cannot load the tokenizer: {str(error).splitlines()[0]}", where=str(folder)
            ) from error
        if not self.tokenizer.chat_template:
            raise ArenaError(
                "the tokenizer has no chat template", where=str(folder), mend="use an instruct model"
            )
        self.context: int = longest or self.tokenizer.model_max_length
        self.specials = special_tokens(self.tokenizer)

    @cached_property
    def digest(self) -> str:
        """A digest of the chat template."""
        return hashlib.sha256(canonical(self.tokenizer.chat_template).encode()).hexdigest()[:16]

    @cached_property
    def stop_ids(self) -> list[int]:
        """The tokens that end an answer: end of text, and what the template puts after the assistant."""
        from transformers import GenerationConfig

        ends = {self.tokenizer.eos_token_id}
        if (self.folder / "generation_config.json").is_file():
            given = GenerationConfig.from_pretrained(str(self.folder)).eos_token_id
            ends |= set(given if isinstance(given, list) else [given])
        probe = [Turn(role="user", content="Hello"), Turn(role="assistant", content="Goodbye")]
        after = self._render(probe, add_generation_prompt=False).rpartition("Goodbye")[2]
        controls = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
        first = next(
            (i for i in self.tokenizer.encode(after, add_special_tokens=False) if i in controls), None
        )
        return sorted(index for index in ends | {first} if index is not None)

    def render(self, conversation: Conversation) -> str:
        """Return the prompt's text: the template around the turns, special tokens in the turns broken."""
        turns = with_system(conversation, self.system)
        return self._render(turns, add_generation_prompt=True)

    def render_whole(self, turns: Sequence[Turn]) -> str:
        """Return a conversation that ends in an assistant's turn, as `render` does."""
        return self._render(with_system(turns, self.system), add_generation_prompt=False)

    def encode(self, conversations: Sequence[Conversation]) -> list[list[int]]:
        """Return each conversation's prompt as token ids.

        Raises:
            ArenaError: a prompt leaves no room for an answer in the model's context.
        """
        texts = [self.render(conversation) for conversation in conversations]
        if not texts:
            return []
        # The template has written the start of text already: adding special tokens would double it.
        prompts: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        for number, prompt in enumerate(prompts):
            if len(prompt) >= self.context:
                start = conversations[number][-1].content[:60]
                raise ArenaError(
                    f"a prompt of {len(prompt)} tokens does not fit the context of {self.context}: {start!r}",
                    where=str(self.folder),
                    mend="drop or shorten that conversation",
                )
        return prompts

    def decode(self, ids: Sequence[int]) -> str:
        """Return the answer's text, without control tokens."""
        text: str = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def messages(self, conversation: Conversation) -> list[dict[str, str]]:
        """Return the turns as a chat template takes them, with the system prompt and special tokens broken."""
        return self._messages(with_system(conversation, self.system))

    def _messages(self, turns: Sequence[Turn]) -> list[dict[str, str]]:
        return [{"role": turn.role, "content": neutralise(turn.content, self.specials)} for turn in turns]

    def _render(self, turns: Sequence[Turn], *, add_generation_prompt: bool) -> str:
        from jinja2 import TemplateError

        try:
            text: str = self.tokenizer.apply_chat_template(
                self._messages(turns), tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except TemplateError as error:
            roles = ", ".join(turn.role for turn in turns)
            raise ArenaError(
                f"the chat template refuses turns of {roles}: {error}",
                where=str(self.folder),
                mend="some models take no system prompt: remove it",
            ) from None
        return text


@lru_cache(maxsize=8)
def _pattern(specials: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return a pattern of the special tokens, longest first; a token of one character cannot be broken."""
    words = sorted((word for word in set(specials) if len(word) > 1), key=lambda word: (-len(word), word))
    return re.compile("|".join(map(re.escape, words))) if words else None
