"""A reward model: a sequence-classification model that gives an answer to a conversation one number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from arena_learning.core import ArenaError, first_line, read_json
from arena_learning.engines import (
    Chat,
    ChatSettings,
    break_control_tokens,
    check_folder,
    control_tokens,
    load_tokenizer,
)
from arena_learning.schema import Instruction, Response, Turn

_MOST_TOKENS = 16_384  # in one pass, padding included
_UNSET = 100_000_000  # tokenizers without a maximum length report a very large one

Dtype = Literal["auto", "fp32", "bf16", "f16"]
End = Literal["turn", "template"]


class RewardInput(NamedTuple):
    """An answer as the model reads it: token ids, and for an encoder the text (0 or 1) that each token belongs to."""

    ids: tuple[int, ...]
    types: tuple[int, ...] = ()


class RewardModel:
    """A sequence-classification model with one output, and its tokenizer.

    A chat template, if there is one, renders the conversation. An encoder without a template (DeBERTa reward models)
    reads question and answer as a pair of texts.

    Args:
        folder: safetensors and tokenizer.
        dtype: type of the weights; ``auto`` is bf16 on a GPU and fp32 on a CPU.
        device: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.
        rows: the most answers in one pass.
        end: where an answer ends. ``turn``: at its end-of-turn token, as this project trains reward models.
            ``template``: with all that the chat template writes, as published reward models are used.
        trust_remote_code: run code that comes with the folder, for models with a head of their own.
        settings: how the chat template is used.
        where: the parameter that an error names.

    Attributes:
        exact: whether a reward does not depend on its batch. In fp32 on a CPU each row has its own pass, because a
            batch gains little there and changes the last digits. Elsewhere rows of similar length share a pass.

    Raises:
        ArenaError: no such folder, no GPU although requested, or the model does not give one number.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dtype: Dtype = "auto",
        device: str = "auto",
        rows: int = 8,
        end: End = "turn",
        trust_remote_code: bool = False,
        settings: ChatSettings = ChatSettings(),  # noqa: B008 - frozen
        where: str = "",
    ) -> None:
        import torch

        check_folder(folder)
        self._where = where or str(folder)
        if device == "cuda" and not torch.cuda.is_available():
            raise ArenaError("there is no CUDA GPU", where="serving.device", hint="set it to auto or cpu")
        self.device = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        self.dtype = dtype if dtype != "auto" else "bf16" if self.device == "cuda" else "fp32"
        self.exact = self.dtype == "fp32" and self.device == "cpu"
        self.rows, self._end = rows, end
        self.chat, self.tokenizer = _tokenizer(folder, trust_remote_code, settings)
        self._controls = tuple(control_tokens(self.tokenizer))
        model = _load(folder, self.dtype, trust_remote_code, self._where)
        self._model: Any = model.to(self.device).eval()
        self._closing: int | None = getattr(
            model.config, "reward_token_id", None
        )  # the token that the model's own head reads
        self.context = self.chat.context if self.chat else _length(model.config, self.tokenizer)

    @property
    def reading(self) -> dict[str, str]:
        """How an answer is read, for the keys of verdicts; values that were the only ones at first are left out."""
        said = {"chat_template": self.chat.digest if self.chat else "none: a pair of texts"}
        if self.dtype != "fp32":
            said["dtype"] = self.dtype
        if self.chat and self._end == "template" and self._probe("turn") != self._probe("template"):
            said["end"] = "template"
        return said

    def encode(self, instruction: Instruction, response: Response) -> RewardInput:
        """Return the tokens of conversation and answer; control tokens in the texts are broken."""
        if self.chat is None:
            return self._pair(instruction, response.text)
        turns = [*instruction.turns, Turn(role="assistant", content=response.text)]
        return RewardInput(self._ids(turns, self._end))

    def rewards(self, rows: Sequence[RewardInput]) -> list[float]:
        """Return the model's number for each row; rows of similar length share a pass unless `exact`."""
        order = sorted(range(len(rows)), key=lambda place: len(rows[place].ids))
        found: dict[int, float] = {}
        while order:
            batch = order[: self._fits([len(rows[place].ids) for place in order[: self.rows]])]
            order = order[len(batch) :]
            found.update(zip(batch, self._pass([rows[place] for place in batch]), strict=True))
        return [found[place] for place in range(len(rows))]

    def close(self) -> None:
        """Free the memory."""
        import torch

        self._model = None
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def _fits(self, lengths: Sequence[int]) -> int:
        """Return how many rows, given their lengths in ascending order, go into one pass."""
        return (
            1
            if self.exact
            else max(1, sum(length * (n + 1) <= _MOST_TOKENS for n, length in enumerate(lengths)))
        )

    def _ids(self, turns: Sequence[Turn], end: End) -> tuple[int, ...]:
        assert self.chat is not None
        whole = self.chat.render_whole(turns)
        ids: list[int] = self.tokenizer(whole, add_special_tokens=False)["input_ids"]
        if end == "template" or not whole.startswith(self.chat.render(turns[:-1])):
            return self._closed(ids)
        ends = [place for place, token in enumerate(ids) if token in self.chat.stop_ids]
        return self._closed(ids[: ends[-1] + 1] if ends else ids)

    def _closed(self, ids: list[int]) -> tuple[int, ...]:
        if self._closing is not None and self._closing != ids[-1]:
            ids = [*ids, self._closing]
        return tuple(ids)

    def _probe(self, end: End) -> tuple[int, ...]:
        return self._ids([Turn(role="user", content="Hello"), Turn(role="assistant", content="Goodbye")], end)

    def _pair(self, instruction: Instruction, answer: str) -> RewardInput:
        """Return question and answer as a pair of texts; several turns are joined, each with its role."""
        turns = instruction.turns
        question = turns[0].content
        if len(turns) > 1:
            question = "\n\n".join(f"{turn.role}: {turn.content}" for turn in turns)
        texts = [break_control_tokens(text, self._controls) for text in (question, answer)]
        made = self.tokenizer(*texts, verbose=False)  # no warning: a text that is too long is unscored later
        return RewardInput(tuple(made["input_ids"]), tuple(made.get("token_type_ids", ())))

    def _pass(self, rows: Sequence[RewardInput]) -> list[float]:
        """Run rows padded on the right to one length.

        A decoder's head reads the last token that is not the pad token. If pad and end of turn were the same token, it
        would read another one, so the pad token is one that no row ends with.
        """
        import torch

        width = max(len(row.ids) for row in rows)
        if self.chat:
            last = {row.ids[-1] for row in rows}
            pad = next(token for token in range(len(last) + 1) if token not in last)
            for config in (self._model.config, self._model.config.get_text_config()):
                config.pad_token_id = pad
        else:
            pad = self.tokenizer.pad_token_id or 0
        fields = {
            "input_ids": [[*row.ids, *[pad] * (width - len(row.ids))] for row in rows],
            "attention_mask": [[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows],
        }
        if rows[0].types:
            kind = self.tokenizer.pad_token_type_id
            fields["token_type_ids"] = [[*row.types, *[kind] * (width - len(row.types))] for row in rows]
        with torch.inference_mode():
            out = self._model(**{name: torch.tensor(v, device=self.device) for name, v in fields.items()})
        given = out.logits if getattr(out, "logits", None) is not None else out[0]
        if given.numel() != len(rows):
            raise ArenaError(
                f"the model gives {given.numel() // len(rows)} numbers for an answer; a reward is one number",
                where=self._where,
                hint="use a reward model with a single output",
            )
        numbers: list[float] = given.float().reshape(-1).tolist()
        return numbers


def _tokenizer(folder: Path, trust_remote_code: bool, settings: ChatSettings) -> tuple[Chat | None, Any]:
    """Return chat and tokenizer of the folder; no chat for an encoder whose tokenizer takes pairs of texts."""
    try:
        tokenizer = load_tokenizer(folder, trust_remote_code)
    except (OSError, ValueError) as error:
        raise ArenaError(f"cannot load the tokenizer: {first_line(error)}", where=str(folder)) from error
    templated = tokenizer.chat_template or settings.template
    if not templated and tokenizer.sep_token and tokenizer.cls_token:
        return None, tokenizer
    chat = Chat(folder, trust_remote_code=trust_remote_code, settings=settings)
    return chat, chat.tokenizer


def _length(config: Any, tokenizer: Any) -> int:
    """Return an encoder's context in tokens: the smaller of the model's and the tokenizer's limits, else 512."""
    known = [getattr(config, "max_position_embeddings", None), tokenizer.model_max_length]
    return min((length for length in known if length and 0 < length < _UNSET), default=512)


def _load(folder: Path, dtype: str, trust_remote_code: bool, where: str) -> Any:
    """Load the model with its own head; a head with missing weights would be random, so it is an error."""
    import torch
    import transformers

    types = {"fp32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
    kind: Any = transformers.AutoModelForSequenceClassification
    own = read_json(folder / "config.json").get("auto_map", {}) if (folder / "config.json").is_file() else {}
    if trust_remote_code and "AutoModelForSequenceClassification" not in own and "AutoModel" in own:
        kind = transformers.AutoModel
    try:
        model, loaded = kind.from_pretrained(
            str(folder),
            dtype=types[dtype],
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        asks = own and not trust_remote_code
        raise ArenaError(
            f"cannot load the reward model: {first_line(error)}",
            where=where,
            hint="the model comes with its own code: if you trust its author, set trust_remote_code: true"
            if asks
            else "",
        ) from error
    is_own_head = kind is transformers.AutoModel or "AutoModelForSequenceClassification" in own
    if not is_own_head and model.config.num_labels != 1:
        raise ArenaError(
            f"the model has {model.config.num_labels} outputs; a reward is one number",
            where=where,
            hint="use a reward model, such as a ppo round's models/ROUND/reward_model",
        )
    if missing := sorted(loaded["missing_keys"]):
        raise ArenaError(
            f"the weights lack {missing[0]}: it would be random",
            where=where,
            hint="use a reward model with trained head weights, not the model that it was made from",
        )
    return model
