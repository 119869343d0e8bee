"""The chat template, checked before it costs a training: does an answer end, and is its end learnt?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from arena_learning.errors import ArenaError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLE = (
    {"role": "user", "content": "Name a colour."},
    {"role": "assistant", "content": "Blue."},
)
LONGER = (
    *SAMPLE,
    {"role": "user", "content": "Name another."},
    {"role": "assistant", "content": "Green."},
)
# Tokens that models of the common families carry and never use in a conversation, best first.
PAD_CANDIDATES = (
    "<|endoftext|>",
    "<|pad|>",
    "<pad>",
    "[PAD]",
    "<|finetune_right_pad_id|>",
    "<unk>",
    "<|PAD_TOKEN|>",
)


class ChatFormat(NamedTuple):
    """What training needs to know of a model's conversations (token ids)."""

    end_of_turn: int
    pad: int
    control: tuple[str, ...]


def check_template(tokenizer: PreTrainedTokenizerBase, eos: set[int], where: str) -> ChatFormat:
    """Return the chat format, and set the tokenizer's eos and pad for training (in memory only).

    Args:
        tokenizer: of the model that is trained.
        eos: the ids that end generation, from the model's configuration.
        where: the model's folder, for errors.

    Raises:
        ArenaError: there is no template; a rendered answer does not end in exactly one end-of-turn that stops
            generation; the prompt is not the start of the conversation; no token is free for padding.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ArenaError(
            "the tokenizer has no chat template",
            where=where,
            mend="put chat_template.jinja beside the weights, or use an instruct model",
        )
    end_of_turn = _end_of_turn(tokenizer, eos, where)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end_of_turn)
    used = set(render(tokenizer, LONGER)) | eos
    pad = _pad(tokenizer, used, where)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
    return ChatFormat(end_of_turn, pad, control_words(tokenizer))


def render(
    tokenizer: PreTrainedTokenizerBase, turns: Iterable[dict[str, str]], *, prompt: bool = False
) -> list[int]:
    """Return the ids of a conversation; with ``prompt`` it is left open for the assistant."""
    return list(
        tokenizer.apply_chat_template(
            list(turns), tokenize=True, return_dict=False, add_generation_prompt=prompt
        )
    )


def control_words(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Return the texts that the tokenizer reads as control tokens: a turn's content may not hold them."""
    added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return tuple(sorted({*added, *map(str, tokenizer.all_special_tokens)}))


def _end_of_turn(tokenizer: PreTrainedTokenizerBase, eos: set[int], where: str) -> int:
    ends = set()
    for turns in (SAMPLE, LONGER):
        prompt, whole = render(tokenizer, turns[:-1], prompt=True), render(tokenizer, turns)
        if whole[: len(prompt)] != prompt:
            raise ArenaError(
                "the chat template renders a prompt that is not the start of the conversation, so prompt "
                "and answer cannot be told apart in training",
                where=where,
                mend="make add_generation_prompt write what the template writes before an assistant's turn",
            )
        answer = whole[len(prompt) :]
        stops = [place for place, token in enumerate(answer) if token in eos]
        tail = tokenizer.decode(answer[stops[-1] + 1 :]) if stops else ""
        if len(stops) != 1 or tail.strip():
            written, stopping = tokenizer.decode(answer), tokenizer.convert_ids_to_tokens(sorted(eos))
            raise ArenaError(
                "an answer must end in exactly one end-of-turn that stops generation; the template writes "
                f"{written!r} and generation stops at {stopping}: a model trained on this never learns to "
                "stop, while its loss looks healthy",
                where=where,
                mend="end the assistant's turn in the chat template, and name that token in "
                "generation_config.json (eos_token_id)",
            )
        ends.add(answer[stops[0]])
    if len(ends) != 1:
        raise ArenaError("the chat template ends turns with different tokens", where=where)
    return int(ends.pop())


def _pad(tokenizer: PreTrainedTokenizerBase, used: set[int], where: str) -> int:
    """Return a token that stands in no conversation: PPO masks every token that equals pad."""
    known = tokenizer.get_vocab()
    others = sorted(token for token in control_words(tokenizer))
    for token in (tokenizer.pad_token, *PAD_CANDIDATES, tokenizer.unk_token, *others):
        if token is not None and token in known and known[token] not in used:
            return int(known[token])
    raise ArenaError(
        "no token is free for padding: all control tokens stand in conversations",
        where=where,
        mend="add a pad token to the tokenizer that the chat template does not use",
    )
