"""How vLLM serves a model inside this process's machine (engine ``vllm``)."""

from __future__ import annotations

from pydantic import Field

from arena_learning.params.section import Positive, Section


class VllmServing(Section):
    """How vLLM serves. Defaults are right for one GPU, or for a CPU.

    Attributes:
        tensor_parallel: GPUs that one model is spread over.
        memory: share of a GPU's memory that weights and cache may take together.
        cache_gib: size of the cache in GiB; 0: what ``memory`` leaves on a GPU, 1 on a CPU.
        context: the longest prompt and answer together, in tokens; 0: the model's own.
        keep_prefixes: keep the prefix cache from call to call, so that all pairs of an instruction share what their
            prompts begin with: for a judge. Off, a greedy answer depends on its chunk alone and a resumed run repeats
            it.
        eager: compile nothing: the first answer comes minutes earlier, the others are slower.
    """

    tensor_parallel: Positive = 1
    memory: float = Field(default=0.9, gt=0, le=1)
    cache_gib: float = Field(default=0.0, ge=0)
    context: int = Field(default=0, ge=0)
    keep_prefixes: bool = False
    eager: bool = False


class VllmModel(VllmServing):
    """How vLLM serves an opponent or a judge.

    Attributes:
        lora: folder of a LoRA adapter (PEFT, safetensors) that is put on the model; empty for none.
    """

    lora: str = ""
