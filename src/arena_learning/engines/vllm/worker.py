"""The worker process of a vLLM model: it answers lines of JSON on standard input with lines on standard output.

The first line is ``{"options", "system", "chat", "sent", "fixed", "keep", "lora"}`` and loads the model; each later one
is ``{"conversations", "sampling", "top_logprobs"}``. A reply is ``{"answer": ...}`` or
``{"error": {"what", "where", "hint"}}``. When standard input closes, the worker ends at once, even while it is
generating. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_learning.core import ArenaError, canonical
from arena_learning.engines.base import Refused
from arena_learning.engines.tokenizer import ChatSettings
from arena_learning.params import Sampling
from arena_learning.schema import Turn

if TYPE_CHECKING:
    from vllm import LLM

    from arena_learning.engines.chat import Chat

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # deterministic scheduling, and one process fewer
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",  # the model is a local folder: nothing is downloaded
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "0",
    "TOKENIZERS_PARALLELISM": "false",
}


class VllmWorker:
    """A loaded model.

    Args:
        setup: the first line.
    """

    def __init__(self, setup: dict[str, Any]) -> None:
        from vllm import LLM

        from arena_learning.engines.chat import Chat

        options = setup["options"]
        settings = ChatSettings(**setup["chat"])
        self._chat: Chat = Chat(
            Path(options["model"]), setup["system"], options["trust_remote_code"], settings
        )
        try:
            self._llm: LLM = LLM(**options)
        except ValueError as error:  # a value that vLLM refuses; other errors are in the log
            raise ArenaError(f"vLLM cannot serve the model: {_short(error)}") from error
        self._chat.context = self._llm.model_config.max_model_len
        self._sent, self._fixed, self._keep = setup["sent"], setup["fixed"], setup["keep"]
        self._lora: Any = None
        if setup["lora"]:
            from vllm.lora.request import LoRARequest

            self._lora = LoRARequest("adapter", 1, setup["lora"])

    def answer(
        self, conversations: Sequence[Sequence[Turn]], sampling: Sampling, top_logprobs: int
    ) -> list[Any]:
        """Return the result of `_read` for each conversation, or the reason why it is refused."""
        asked = self._chat.prompts(conversations)
        pairs = [(p, c) for p, c in zip(asked, conversations, strict=True) if not isinstance(p, Refused)]
        if not self._keep:
            self._llm.reset_prefix_cache()
        try:
            # Token ids instead of messages, so that the prompt is the same as in training and in the store's key.
            outputs = self._llm.generate(
                [{"prompt_token_ids": prompt} for prompt, _ in pairs],
                [self._params(sampling, top_logprobs, self._chat.messages(turns)) for _, turns in pairs],
                use_tqdm=False,
                lora_request=self._lora,
            )
        except ValueError as error:
            raise ArenaError(f"vLLM refuses: {_short(error)}") from error
        answers = iter([self._read(output, top_logprobs) for output in outputs])
        return [{"refused": p.reason} if isinstance(p, Refused) else next(answers) for p in asked]

    def _params(self, sampling: Sampling, top_logprobs: int, messages: list[dict[str, str]]) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        held = self._sent.get("structured_outputs")
        greedy = sampling.temperature == 0
        # With one seed for all, every conversation would get the same random numbers.
        mixed = hashlib.sha256(canonical([sampling.seed, messages]).encode()).hexdigest()
        return SamplingParams(
            **self._fixed,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=1.0 if greedy else sampling.top_p,
            seed=None if greedy else int(mixed[:8], 16),
            repetition_penalty=sampling.repetition_penalty,
            stop_token_ids=self._chat.stop_ids,
            logprobs=top_logprobs or None,
            structured_outputs=StructuredOutputsParams(**held) if held else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _read(self, output: Any, top_logprobs: int) -> dict[str, Any]:
        answer = output.outputs[0]
        read = self._chat.read(list(answer.token_ids))
        return {
            "text": read.text,
            "thought": read.thought,
            "thought_tokens": read.thought_tokens,
            "reason": "stop" if answer.finish_reason == "stop" else "length",
            "prompt": len(output.prompt_token_ids),
            "completion": len(answer.token_ids),
            "cached": output.num_cached_tokens or 0,
            "tokens": [
                _token(place, chosen, top_logprobs)
                for place, chosen in zip(answer.logprobs or [], answer.token_ids, strict=False)
            ],
        }


def _token(place: dict[int, Any], chosen: int, top_logprobs: int) -> tuple[str, list[tuple[str, float]]]:
    ranked = sorted(place.values(), key=lambda other: -other.logprob)[:top_logprobs]
    return place[chosen].decoded_token or "", [(other.decoded_token or "", other.logprob) for other in ranked]


def _short(error: Exception) -> str:
    """Return an error's first lines as one line (pydantic's first line only says that there are errors)."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _requests() -> queue.SimpleQueue[str]:
    """Read standard input in a thread, which ends the process when the input closes."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True, name="requests").start()
    return lines


def main() -> None:
    """Serve until standard input closes."""
    os.environ.update(ENVIRONMENT)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # vLLM's own output must not mix with replies
    requests = _requests()
    worker: VllmWorker | None = None
    while True:
        request = json.loads(requests.get())
        reply: dict[str, Any]
        try:
            if worker is None:
                worker = VllmWorker(request)
                reply = {"answer": None}
            else:
                conversations = [
                    [Turn(role=role, content=content) for role, content in turns]
                    for turns in request["conversations"]
                ]
                sampling = Sampling(**request["sampling"])
                reply = {"answer": worker.answer(conversations, sampling, request["top_logprobs"])}
        except ArenaError as error:
            reply = {"error": {"what": error.what, "where": error.where, "hint": error.hint}}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
