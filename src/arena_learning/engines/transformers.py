"""The transformers engine, which runs wherever torch does, on a CPU or a GPU.

The model is loaded with the first conversation, so a run whose answers are all stored loads none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_learning.core import ArenaError, SplitAnswer, first_line
from arena_learning.engines.base import Answered, Completion, Conversation, Refused, Token, by_batches
from arena_learning.engines.chat import Chat, filled, share_seconds
from arena_learning.engines.lazy_chat import LazyChat
from arena_learning.engines.logprobs import TopLogprobs
from arena_learning.engines.tokenizer import AS_IT_COMES, ChatSettings
from arena_learning.engines.weights import weights_digest
from arena_learning.params import Sampling
from arena_learning.schema import FinishReason

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TYPES = {"fp32": "float32", "bf16": "bfloat16", "f16": "float16"}  # torch's names
PER_CALL = 2  # batches per call, so that prompts of similar length can be grouped


class Transformers:
    """Answers with ``generate``, in left-padded batches of conversations of similar length.

    Args:
        folder: the model's folder (safetensors and tokenizer).
        dtype: type of the served weights: fp32, bf16 or f16.
        batch_size: conversations in one batch.
        device: ``cpu``, ``cuda``, or ``auto``: a GPU if there is one.
        system: system prompt for conversations that have none.
        trust_remote_code: run code that comes with the folder.
        settings: how its chat template is used.
        saved: folder in which the chat's identity is saved, so that its tokenizer is loaded only when needed.

    Raises:
        ArenaError: the folder holds no model, or there is no GPU although ``cuda`` is requested; the first call of
            `respond` also if the model cannot be loaded.
    """

    max_top_logprobs = 100
    sample_exact = False  # a seed is a batch's: what a row draws depends on where it stands

    def __init__(
        self,
        folder: Path,
        *,
        dtype: str = "fp32",
        batch_size: int = 8,
        device: str = "auto",
        system: str = "",
        trust_remote_code: bool = False,
        settings: ChatSettings = AS_IT_COMES,
        saved: Path | None = None,
    ) -> None:
        import torch
        import transformers

        _check_dtype(dtype)
        self._chat = LazyChat(folder, saved, system, trust_remote_code, settings)
        identity = self._chat.identity
        self.device = _device(device)
        self.batch_size = batch_size * PER_CALL
        self.batch_exact = (
            batch_size == 1
        )  # padding changes the last bits of logits, which can change a greedy answer
        self._rows = batch_size
        self.fingerprint = {
            "engine": "transformers",
            "version": f"{transformers.__version__}, torch {torch.__version__}",
            "weights": weights_digest(folder),
            "dtype": dtype,
            "device": self.device,
            "batch": str(batch_size),
            "chat_template": identity.digest,
            "system": system,
            **identity.fingerprint,
        }
        self._open = partial(_load, folder, dtype, self.device, trust_remote_code)
        self._model: Any = None

    @property
    def chat(self) -> Chat:
        """The model's tokenizer and chat template."""
        return self._chat.chat

    def _load(self) -> None:
        """Load the model, if it is not loaded yet."""
        import transformers

        if self._model is not None:
            return
        self._model = self._open()
        pad = self.chat.tokenizer.pad_token_id
        self._pad = self.chat.stop_ids[0] if pad is None else pad
        # Replaces the model's own sampling defaults: only `Sampling` determines how to sample.
        self._model.generation_config = transformers.GenerationConfig(
            eos_token_id=self.chat.stop_ids, pad_token_id=self._pad
        )

    def respond(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion | Refused]:
        """Answer each conversation, in order; see `base.Engine`."""
        return self._respond(conversations, sampling)

    def respond_with_logprobs(
        self, conversations: Sequence[Conversation], sampling: Sampling, top_logprobs: int
    ) -> Iterator[list[Answered]]:
        """Answer in batches, with the most probable tokens; see `ReportsLogprobs`."""
        yield from by_batches(
            self.batch_size, conversations, lambda batch: self._respond(batch, sampling, top_logprobs)
        )

    def _respond(
        self, conversations: Sequence[Conversation], sampling: Sampling, top_logprobs: int = 0
    ) -> list[Completion | Refused]:
        self._load()
        start = time.perf_counter()
        asked = self.chat.prompts(conversations)
        prompts = [prompt for prompt in asked if not isinstance(prompt, Refused)]
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        answers: dict[int, list[int]] = {}
        tokens: dict[int, tuple[Token, ...]] = {}
        for first in range(0, len(order), self._rows):
            batch = order[first : first + self._rows]
            weights = TopLogprobs(top_logprobs) if top_logprobs else None
            rows = self._generate(
                [prompts[index] for index in batch], sampling, sampling.seed + first, weights
            )
            answers.update(zip(batch, rows, strict=True))
            if weights:
                read = [weights.tokens(row, ids, self.chat.tokenizer) for row, ids in enumerate(rows)]
                tokens.update(zip(batch, read, strict=True))
        stops = set(self.chat.stop_ids)
        reads = [self.chat.read(answers[index]) for index in range(len(prompts))]
        reasons: list[FinishReason] = [
            "stop" if answers[index] and answers[index][-1] in stops else "length"
            for index in range(len(prompts))
        ]
        counts = [(len(prompt), len(answers[index])) for index, prompt in enumerate(prompts)]
        completions = share_seconds(reads, reasons, counts, time.perf_counter() - start)
        return filled(asked, (c._replace(tokens=tokens.get(i, ())) for i, c in enumerate(completions)))

    def _generate(
        self, prompts: list[list[int]], sampling: Sampling, seed: int, weights: TopLogprobs | None
    ) -> list[list[int]]:
        """Return the new tokens of each row, up to and including the first one that ends the answer."""
        import torch
        from transformers import GenerationConfig

        width = max(map(len, prompts))
        ids = [[self._pad] * (width - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        greedy = sampling.temperature == 0
        how = {} if greedy else {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        config = GenerationConfig(
            max_new_tokens=min(sampling.max_tokens, self.chat.context - width),
            do_sample=not greedy,
            repetition_penalty=sampling.repetition_penalty,
            eos_token_id=self.chat.stop_ids,
            pad_token_id=self._pad,
            **how,
        )
        devices = [self._model.device] if self.device == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            output = self._model.generate(
                input_ids=torch.tensor(ids, device=self.device),
                attention_mask=torch.tensor(mask, device=self.device),
                generation_config=config,
                logits_processor=[weights] if weights else None,
            )
        return [self._up_to_stop(row) for row in output[:, width:].tolist()]

    def _up_to_stop(self, row: list[int]) -> list[int]:
        stops = set(self.chat.stop_ids)
        end = next((place for place, token in enumerate(row, 1) if token in stops), len(row))
        return row[:end]

    def variant(self, conversation: Conversation) -> str:
        """Return the store key's mark for a changed prompt; see `base.Versioned`."""
        return self._chat.variant(conversation)

    def said(self, text: str) -> SplitAnswer:
        """Split an answer that was stored with its thought; see `base.Versioned`."""
        return self._chat.said(text)

    def close(self) -> None:
        """Free the memory."""
        import torch

        self._model = None
        if self.device == "cuda":
            torch.cuda.empty_cache()


def _device(wanted: str) -> str:
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise ArenaError("there is no CUDA GPU", where="serving.device", hint="set it to auto or cpu")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def _check_dtype(dtype: str) -> None:
    if dtype not in _TYPES:
        raise ArenaError(
            f"weights cannot be served in {dtype}",
            where="serving.dtype",
            hint=f"use one of {', '.join(_TYPES)}",
        )


def _load(folder: Path, dtype: str, device: str, trust_remote_code: bool) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=getattr(torch, _TYPES[dtype]),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
        )
    except (OSError, ValueError) as error:
        raise ArenaError(f"cannot load the model: {first_line(error)}", where=str(folder)) from error
    placed: PreTrainedModel = model.to(device).eval()
    return placed
