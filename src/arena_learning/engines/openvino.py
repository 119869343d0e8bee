"""The OpenVINO GenAI engine, the fastest on a CPU: continuous batching over a GGUF export of the model.

By default OpenVINO computes in the processor's preferred type (bf16 or f32), quantises activations and stores the
KV cache in 8 bits, so that an answer depends on the machine and on the rest of the batch. All three are turned off
(``exact``): greedy answers are the same alone and in any batch, at half of the speed. A sampled answer is the same
where the same batch is asked again, and may differ in another batch.

Without ``exact`` activations are quantised: greedy answers, too, are then the same where the same batch is asked again.

The model is exported and loaded with the first conversation, so a run whose answers are all stored loads none.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_learning.core import ArenaError, SplitAnswer, canonical
from arena_learning.engines.answer_reader import ReadAnswer
from arena_learning.engines.base import Completion, Conversation, Refused
from arena_learning.engines.chat import Chat, filled, share_seconds
from arena_learning.engines.gguf import EXPORT_VERSION, GgufType, cached_export, open_pipeline
from arena_learning.engines.lazy_chat import LazyChat
from arena_learning.engines.signal_stack import keep_signal_stack
from arena_learning.engines.tokenizer import AS_IT_COMES, ChatSettings
from arena_learning.engines.weights import weights_digest
from arena_learning.params import Sampling
from arena_learning.schema import FinishReason

if TYPE_CHECKING:
    import openvino_genai

PROPERTIES = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f16",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
}
# Quantised activations make other sums where a batch is small.
FAST_PROPERTIES = PROPERTIES | {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 32}
PER_CALL = (
    4  # batches per call: a free slot is refilled at once, so slots stay empty only at the end of a call
)


class OpenVino:
    """Answers with OpenVINO GenAI on the CPU.

    Args:
        folder: the model's folder (safetensors and tokenizer).
        exports: folder where GGUF exports are cached.
        template: GGUF file that provides the metadata of exports, or None.
        dtype: type of the served weights.
        batch_size: conversations that are generated at once.
        system: system prompt for conversations that have none.
        settings: how its chat template is used.
        exact: greedy answers are the same in any batch.

    Raises:
        ArenaError: OpenVINO GenAI is not installed, or the folder holds no model; the first call of `respond` also
            if the model cannot be exported or loaded.
    """

    sample_exact = (
        False  # at temperature 1, two of three answers of SmolLM2 were others alone than in a batch of four
    )

    def __init__(
        self,
        folder: Path,
        exports: Path,
        *,
        template: Path | None = None,
        dtype: GgufType = "q8_0",
        batch_size: int = 32,
        system: str = "",
        settings: ChatSettings = AS_IT_COMES,
        exact: bool = True,
    ) -> None:
        try:
            import openvino_genai
        except ImportError:
            raise ArenaError(
                "OpenVINO GenAI is not installed",
                where="serving.engine: openvino",
                hint="pip install 'arena-learning[laptop]', or set the engine to transformers",
            ) from None
        self._chat = LazyChat(folder, exports, system, settings=settings)
        self.batch_size, self.batch_exact = batch_size * PER_CALL, exact
        self._properties = PROPERTIES if exact else FAST_PROPERTIES
        identity = self._chat.identity
        self.fingerprint = {
            "engine": "openvino",
            "version": str(openvino_genai.__version__),
            "weights": weights_digest(folder),
            "dtype": dtype,
            "export": EXPORT_VERSION,
            "compute": ",".join(f"{key}={value}" for key, value in sorted(self._properties.items())),
            "chat_template": identity.digest,
            "system": system,
            **identity.fingerprint,
        }
        self._export = partial(cached_export, folder, template, exports, dtype)
        self._rows = batch_size
        self._pipeline: Any = None

    @property
    def chat(self) -> Chat:
        """The model's tokenizer and chat template."""
        return self._chat.chat

    def _load(self) -> Any:
        """Return the pipeline; the first call exports and loads the model."""
        import openvino_genai

        if self._pipeline is not None:
            return self._pipeline
        file = self._export()
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.max_num_seqs = self._rows
        # What a kept prefix leaves to compute is another batch: other sums, and now and then another answer.
        scheduler.enable_prefix_caching = False
        try:
            self._pipeline = open_pipeline(file, scheduler, self._properties)
        except RuntimeError as error:
            raise ArenaError(
                f"OpenVINO cannot load the export: {str(error).strip().splitlines()[-1]}",
                where=str(file),
                hint="set serving.engine: transformers",
            ) from error
        finally:
            keep_signal_stack()
        return self._pipeline

    def respond(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion | Refused]:
        """Answer each conversation, in order; see `base.Engine`."""
        drawn = self._generate(conversations, sampling, [sampling.seed])
        return [one if isinstance(one, Refused) else one[0] for one in drawn]

    def draw(
        self, conversations: Sequence[Conversation], sampling: Sampling, seeds: Sequence[int]
    ) -> list[list[Completion] | Refused]:
        """Draw a sample of each conversation for each of ``seeds``, in order; see `base.DrawsSamples`."""
        # No request asks for more sequences than are generated at once.
        parts = [seeds[start : start + self._rows] for start in range(0, len(seeds), self._rows)]
        drawn = [self._generate(conversations, sampling, part) for part in parts]
        return [
            one[0] if isinstance(one[0], Refused) else [c for part in one for c in part]
            for one in zip(*drawn, strict=True)
        ]

    def _generate(
        self, conversations: Sequence[Conversation], sampling: Sampling, seeds: Sequence[int]
    ) -> list[list[Completion] | Refused]:
        """Return an answer to each conversation for each of ``seeds``."""
        import numpy as np
        import openvino

        if not conversations:
            return []
        pipeline, chat = self._load(), self.chat  # loaded before the clock starts
        start = time.perf_counter()
        asked = chat.prompts(conversations)
        prompts = [prompt for prompt in asked if not isinstance(prompt, Refused)]
        if not prompts:
            return filled(asked, ())
        configs = [self._config(sampling, prompt, seeds) for prompt in prompts]
        results = pipeline.generate(
            [openvino.Tensor(np.array([prompt], dtype=np.int64)) for prompt in prompts], configs
        )
        reads: list[ReadAnswer] = []
        reasons: list[FinishReason] = []
        counts: list[tuple[int, int]] = []
        for prompt, config, result in zip(prompts, configs, results, strict=True):
            # They come the most probable first; a sample's number should say nothing about it.
            for n in np.random.default_rng(config.rng_seed).permutation(len(seeds)):
                answer = result.m_generation_ids[n]
                reads.append(chat.read(answer))
                reasons.append("stop" if result.finish_reasons[n].name == "STOP" else "length")
                counts.append((len(prompt), len(answer)))
        answers = share_seconds(reads, reasons, counts, time.perf_counter() - start)
        groups = [answers[n : n + len(seeds)] for n in range(0, len(answers), len(seeds))]
        return filled(asked, groups)

    def _config(
        self, sampling: Sampling, prompt: list[int], seeds: Sequence[int]
    ) -> openvino_genai.GenerationConfig:
        import openvino_genai

        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = min(sampling.max_tokens, self.chat.context - len(prompt))
        config.stop_token_ids = set(self.chat.stop_ids)
        # Without one, the pipeline would take the end of its own tokenizer, which is not the model's.
        config.eos_token_id = self.chat.stop_ids[0]
        config.repetition_penalty = sampling.repetition_penalty
        config.do_sample = sampling.temperature > 0
        config.num_return_sequences = len(seeds)
        if config.do_sample:
            config.temperature, config.top_p = sampling.temperature, sampling.top_p
            # With one seed for all, every conversation would get the same random numbers. A seed that depends on the
            # prompt differs between conversations.
            drawn_with = seeds[0] if len(seeds) == 1 else list(seeds)
            mixed = hashlib.sha256(canonical([drawn_with, prompt]).encode()).hexdigest()
            config.rng_seed = int(mixed[:8], 16)
        return config

    def variant(self, conversation: Conversation) -> str:
        """Return the store key's mark for a changed prompt; see `base.Versioned`."""
        return self._chat.variant(conversation)

    def said(self, text: str) -> SplitAnswer:
        """Split an answer that was stored with its thought; see `base.Versioned`."""
        return self._chat.said(text)

    def close(self) -> None:
        """Free the memory."""
        self._pipeline = None
        keep_signal_stack()
