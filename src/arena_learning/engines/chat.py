"""Converts conversations to tokens and back, in the same way for every local engine and for training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from arena_learning.core import ArenaError, SplitAnswer, canonical
from arena_learning.engines.answer_reader import AnswerReader, ReadAnswer
from arena_learning.engines.base import Completion, Conversation, Refused
from arena_learning.engines.broken_folder import find_fault
from arena_learning.engines.chat_identity import ChatIdentity, spoken
from arena_learning.engines.template import Renderer
from arena_learning.engines.tokenizer import (
    AS_IT_COMES,
    MARK,
    ChatSettings,
    break_control_tokens,
    configured_ends,
    control_tokens,
    folder_settings,
    load_tokenizer,
    longest_context,
    template_text,
)
from arena_learning.engines.weights import check_folder
from arena_learning.schema import FinishReason, Turn

T = TypeVar("T")
HELLO, GOODBYE = "Hello", "Goodbye"  # texts of the probes that show how a template renders a turn


def with_system(conversation: Conversation, system: str) -> list[Turn]:
    """Return the turns with the system prompt in front, unless it is empty or they already have one."""
    if system and conversation[0].role != "system":
        return [Turn(role="system", content=system), *conversation]
    return list(conversation)


def share_seconds(
    answers: Sequence[ReadAnswer],
    reasons: Sequence[FinishReason],
    counts: Sequence[tuple[int, int]],
    seconds: float,
) -> list[Completion]:
    """Return completions, with the call's wall time divided by tokens (``counts``: prompt, completion)."""
    total = sum(prompt + completion for prompt, completion in counts) or 1
    return [
        Completion(
            read.text,
            reason,
            prompt,
            completion,
            seconds * (prompt + completion) / total,
            thought=read.thought,
            thought_tokens=read.thought_tokens,
        )
        for read, reason, (prompt, completion) in zip(answers, reasons, counts, strict=True)
    ]


def filled(prompts: Sequence[list[int] | Refused], completions: Iterable[T]) -> list[T | Refused]:
    """Return what each prompt was given: the completions in order, with refusals at their positions."""
    given = iter(completions)
    return [prompt if isinstance(prompt, Refused) else next(given) for prompt in prompts]


class Chat:
    """The tokenizer and chat template of a model folder.

    Args:
        folder: the model's folder.
        system: system prompt for conversations that have none.
        trust_remote_code: run code that comes with the folder.
        settings: how the template is used; overrides the settings in the folder.

    Raises:
        ArenaError: there is no folder, tokenizer or chat template.
    """

    def __init__(
        self,
        folder: Path,
        system: str = "",
        trust_remote_code: bool = False,
        settings: ChatSettings = AS_IT_COMES,
    ) -> None:
        check_folder(folder)
        self.folder, self.system = folder, system
        try:
            self.tokenizer: Any = load_tokenizer(folder, trust_remote_code)
            longest = longest_context(folder, trust_remote_code)
        except (OSError, ValueError) as error:
            what, hint = find_fault(folder, error)
            raise ArenaError(f"cannot load the tokenizer: {what}", where=str(folder), hint=hint) from error
        self.settings = settings.over(folder_settings(folder))
        self._given: object = self.settings.template or self.tokenizer.chat_template
        self.template = template_text(self._given)
        if not self.template:
            raise ArenaError(
                "the tokenizer has no chat template",
                where=str(folder),
                hint="set chat_template (of weights, the opponent or the judge) to a file with a template, or use an "
                "instruct model",
            )
        self.tokenizer.chat_template = self.template
        self._renderer = Renderer(self.tokenizer, self.template, self.settings, str(folder))
        self.context: int = longest or self.tokenizer.model_max_length
        self.controls = control_tokens(self.tokenizer)
        self.reader = AnswerReader(self.tokenizer, self.template, self.controls)

    @cached_property
    def digest(self) -> str:
        """Digest of the chat template and its settings."""
        used = [self._given, *([dict(self.settings.kwargs)] if self.settings.kwargs else []), *self.dated]
        whole = used[0] if len(used) == 1 else used
        return hashlib.sha256(canonical(whole).encode()).hexdigest()[:16]

    @property
    def dated(self) -> list[str]:
        """The date that the template prints; an empty list if it prints none."""
        return self._renderer.dated

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """Additional entries of the engine's fingerprint, besides the template's digest.

        Empty, unless earlier versions stored this model's thoughts without marks; those answers are requested again.
        """
        return {"thoughts": "1"} if self.reader.unmarked_before else {}

    @cached_property
    def identity(self) -> ChatIdentity:
        """What the store's keys and stored answers need of this chat."""
        added = self.tokenizer.added_tokens_decoder.values()
        before = {str(token) for token in added if token.special or MARK.fullmatch(str(token))}
        opens: bool | None
        try:
            opens = self.opens_thought
        except ArenaError:
            opens = None
        return ChatIdentity(
            digest=self.digest,
            dated=bool(self.dated),
            fingerprint=self.fingerprint,
            words=self.words,
            broken_before=tuple(sorted(before)),
            marks=self.reader.marks,
            harmony=self.reader.harmony,
            opens_thought=opens,
        )

    def variant(self, conversation: Conversation) -> str:
        """Return the store key's mark for a conversation whose prompt differs from earlier versions, else empty."""
        return self.identity.variant(with_system(conversation, self.system))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Words that are broken in every turn's text: control tokens, and other marks of turns and thoughts."""
        thoughts = (word for mark in self.reader.marks for word in mark)
        return tuple(sorted({*self.controls, *thoughts, *self._renderer.marks}))

    @cached_property
    def _probe(self) -> str:
        return self._render([Turn(role="user", content=HELLO)], add_generation_prompt=True)

    @cached_property
    def opens_thought(self) -> bool:
        """Whether the prompt ends inside a thought, so that the output starts with the rest of it."""
        return self.reader.opens(self._probe.rpartition(HELLO)[2])

    def read(self, ids: Sequence[int]) -> ReadAnswer:
        """Return the thought and the answer in generated tokens, up to the first token that ends an answer."""
        stops = set(self.stop_ids)
        until = next((n for n, token in enumerate(ids) if token in stops), len(ids))
        return self.reader.read(ids[:until], self._probe, opened=self.opens_thought)

    def said(self, text: str) -> SplitAnswer:
        """Split an answer that an earlier version stored together with its thought."""
        return self.reader.said(text, opened=self.opens_thought)

    @cached_property
    def stop_ids(self) -> list[int]:
        """Ids that end an answer: end of text, and the token that the template writes after an assistant turn."""
        ends = {self.tokenizer.eos_token_id, *configured_ends(self.folder), self.end_of_turn}
        return sorted(index for index in ends if index is not None)

    @cached_property
    def end_of_turn(self) -> int | None:
        """The first control token that the template writes after an answer, or None.

        Some templates end an assistant turn only if another turn follows.
        """
        told = (Turn(role="user", content=HELLO), Turn(role="assistant", content=GOODBYE))
        for turns in (told, (*told, Turn(role="user", content=HELLO))):
            try:
                whole = self._render(turns, add_generation_prompt=False)
            except ArenaError:
                continue
            after = whole.rpartition(GOODBYE)[2].partition(HELLO)[0]
            ids = self.tokenizer.encode(after, add_special_tokens=False)
            known = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
            first = next((index for index in ids if index in known), None)
            if first is not None:
                return int(first)
        return None

    def render(self, conversation: Conversation) -> str:
        """Return the text of the prompt, with control tokens in the turns broken.

        Raises:
            ArenaError: the template does not accept these turns.
        """
        turns = with_system(conversation, self.system)
        return self._render(turns, add_generation_prompt=True)

    def render_whole(self, turns: Sequence[Turn]) -> str:
        """Return the text of a conversation that ends with an assistant turn, like `render`."""
        return self._render(with_system(turns, self.system), add_generation_prompt=False)

    def tokens(self, text: str) -> list[int]:
        """Return rendered text as token ids, without adding special tokens: the template already contains them."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def encode(self, conversations: Sequence[Conversation]) -> list[list[int]]:
        """Return each conversation's prompt as token ids.

        Raises:
            ArenaError: the template does not accept a conversation, or a prompt leaves no room for an answer.
        """
        prompts = self.prompts(conversations)
        for prompt in prompts:
            if isinstance(prompt, Refused):
                raise ArenaError(
                    prompt.reason, where=str(self.folder), hint="remove or change that conversation"
                )
        return [prompt for prompt in prompts if not isinstance(prompt, Refused)]

    def prompts(
        self, conversations: Sequence[Conversation], *, fitting: bool = True
    ) -> list[list[int] | Refused]:
        """Return each conversation's prompt as token ids, or the reason why this model cannot answer it.

        Args:
            conversations: the conversations.
            fitting: refuse prompts that leave no room for an answer in the model's context.
        """
        texts = [self._text(conversation) for conversation in conversations]
        plain = [text for text in texts if isinstance(text, str)]
        ids = iter(self.tokenizer(plain, add_special_tokens=False)["input_ids"] if plain else [])
        return [text if isinstance(text, Refused) else self._fitting(next(ids), fitting) for text in texts]

    def _text(self, conversation: Conversation) -> str | Refused:
        turns = with_system(conversation, self.system)
        try:
            text = self._render(turns, add_generation_prompt=True)
        except ArenaError as error:
            return Refused(error.what)
        if not self.takes_user:
            return Refused("the chat template leaves the user's words out")
        if turns[0].role == "system" and not self.takes_system:
            return Refused("the chat template leaves the system turn out")
        if len(turns) > 2 and not self.takes_history:
            return Refused("the chat template leaves earlier turns out")
        return text

    @property
    def takes_user(self) -> bool:
        """Whether the template renders the user's message."""
        return HELLO in self._probe

    @cached_property
    def takes_system(self) -> bool:
        """Whether the template renders a system turn; some drop it silently."""
        turns = [Turn(role="system", content="Zephyr"), Turn(role="user", content=HELLO)]
        try:
            return "Zephyr" in self._render(turns, add_generation_prompt=True)
        except ArenaError:
            return False

    @cached_property
    def takes_history(self) -> bool:
        """Whether the template renders earlier turns."""
        told = (Turn(role="user", content="Zephyr"), Turn(role="assistant", content=GOODBYE))
        try:
            text = self._render([*told, Turn(role="user", content=HELLO)], add_generation_prompt=True)
        except ArenaError:
            return False
        return "Zephyr" in text and GOODBYE in text

    def used_with(self, kwargs: Mapping[str, Any]) -> Chat:
        """Return the same model with additional template variables."""
        other = Chat.__new__(Chat)
        kept = ("folder", "system", "tokenizer", "_given", "template", "context", "controls", "reader")
        other.__dict__.update(
            {name: self.__dict__[name] for name in kept}
        )  # cached properties are computed again
        other.settings = self.settings._replace(kwargs={**self.settings.kwargs, **kwargs})
        other._renderer = Renderer(self.tokenizer, self.template, other.settings, str(self.folder))
        return other

    def _fitting(self, prompt: list[int], fitting: bool) -> list[int] | Refused:
        if not fitting or len(prompt) < self.context:
            return prompt
        return Refused(f"a prompt of {len(prompt)} tokens does not fit the context of {self.context}")

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without special tokens."""
        return self.reader.decode(ids)

    def messages(self, conversation: Conversation) -> list[dict[str, str]]:
        """Return the turns as messages for the template, with the system prompt, and control tokens broken."""
        return self._messages(with_system(conversation, self.system))

    def _messages(self, turns: Sequence[Turn]) -> list[dict[str, str]]:
        return [
            {"role": turn.role, "content": break_control_tokens(spoken(turn, self._split), self.words)}
            for turn in turns
        ]

    def _split(self, text: str) -> SplitAnswer:
        return self.reader.said(text, opened=False)

    def _render(self, turns: Sequence[Turn], *, add_generation_prompt: bool) -> str:
        return self.render_messages(self._messages(turns), add_generation_prompt=add_generation_prompt)

    def render_messages(
        self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = False
    ) -> str:
        """Return messages as rendered by the template, with their text unchanged.

        Raises:
            ArenaError: the template does not accept them.
        """
        return self._renderer.render(messages, add_generation_prompt)
