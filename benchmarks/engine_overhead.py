"""Overhead of our layer over the bare engine: the same prompts straight into vLLM or OpenVINO, in the same run.

    python benchmarks/engine_overhead.py MODEL_FOLDER [--engine vllm|openvino] [--prompts 48] [--tokens 64] [--rounds 3]

Ours is all that `arena battle` does for a contestant: the store looked up, prompts made, the engine asked, answers
read and stored. Bare is the engine's own call with the chat template applied: `LLM.chat`, or
`ContinuousBatchingPipeline.generate` of the same tokens (OpenVINO's own tokenizer cuts some texts otherwise). The two
take turns, after one call of each that is not counted. Both start every call with an empty prefix cache; OpenVINO's
cannot be emptied: there no prefix is kept. Bare vLLM has its model in this process, ours in its own.

OpenVINO is measured as `serving.exact` says, both ways, and bare with what it does by itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from arena_learning.arena import Contestant, ask_contestant_for
from arena_learning.engines.base import Engine
from arena_learning.engines.vllm.worker import ENVIRONMENT
from arena_learning.params.contestants import Sampling
from arena_learning.schema.row_files import read_rows
from arena_learning.schema.rows import Instruction
from arena_learning.store.store import Store

BATCH = 32
Call = Callable[[], int]
Calls = dict[str, Call]


def through_store(engine: Engine, instructions: list[Instruction], sampling: Sampling) -> int:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store.sqlite")
        try:
            return ask_contestant_for(Contestant("base", engine, sampling), instructions, store).tokens
        finally:
            store.close()


def vllm(folder: Path, instructions: list[Instruction], sampling: Sampling, opened: ExitStack) -> Calls:
    os.environ.update(ENVIRONMENT)
    from vllm import LLM, SamplingParams

    from arena_learning.engines.vllm.engine import Vllm
    from arena_learning.params import VllmServing

    engine = Vllm(folder, VllmServing(context=2048), batch_size=BATCH)
    opened.callback(engine.close)
    llm = LLM(
        model=str(folder),
        dtype="bfloat16",
        max_model_len=2048,
        max_num_seqs=BATCH,
        kv_cache_memory_bytes=2**30,
        generation_config="vllm",
    )
    messages = [[turn.model_dump() for turn in instruction.turns] for instruction in instructions]

    def bare() -> int:
        llm.reset_prefix_cache()
        params = SamplingParams(temperature=0.0, max_tokens=sampling.max_tokens)
        return sum(len(o.outputs[0].token_ids) for o in llm.chat(messages, params, use_tqdm=False))

    return {"bare": bare, "ours": partial(through_store, engine, instructions, sampling)}


def openvino(folder: Path, instructions: list[Instruction], sampling: Sampling, opened: ExitStack) -> Calls:
    import numpy as np
    import openvino
    import openvino_genai
    from transformers import AutoTokenizer

    from arena_learning.engines.gguf.cache import cached_export
    from arena_learning.engines.openvino import FAST_PROPERTIES, PROPERTIES, OpenVino
    from arena_learning.engines.weights import template_for

    exports = Path(tempfile.mkdtemp())
    template = template_for(folder)
    file = str(cached_export(folder, template, exports, "q8_0"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    messages = [[turn.model_dump() for turn in instruction.turns] for instruction in instructions]

    def bare(pipeline: Any) -> int:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.do_sample = sampling.max_tokens, False
        config.stop_token_ids = {tokenizer.eos_token_id}
        prompts = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        tensors = [openvino.Tensor(np.array([prompt], dtype=np.int64)) for prompt in prompts]
        answers = [r.m_generation_ids[0] for r in pipeline.generate(tensors, [config] * len(tensors))]
        tokenizer.batch_decode(answers, skip_special_tokens=True)
        return sum(len(answer) for answer in answers)

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.max_num_seqs, scheduler.enable_prefix_caching = BATCH, False
    calls: Calls = {}
    for name, properties in (("exact", PROPERTIES), ("fast", FAST_PROPERTIES), ("by itself", {})):
        pipeline = openvino_genai.ContinuousBatchingPipeline(file, scheduler, "CPU", properties)
        calls[f"bare, {name}"] = partial(bare, pipeline)
    for name, exact in (("exact", True), ("fast", False)):
        engine = OpenVino(folder, exports, template=template, batch_size=BATCH, exact=exact)
        opened.callback(engine.close)
        calls[f"ours, {name}"] = partial(through_store, engine, instructions, sampling)
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", choices=["vllm", "openvino"], default="vllm")
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    instructions = list(read_rows(Path("data/pool.jsonl"), Instruction))[: args.prompts]
    sampling = Sampling(max_tokens=args.tokens)
    seconds: dict[str, list[float]] = {}
    tokens: dict[str, int] = {}
    with ExitStack() as opened:
        bind = {"vllm": vllm, "openvino": openvino}[args.engine]
        calls = bind(args.folder, instructions, sampling, opened)
        for number in range(args.rounds + 1):
            for name in list(calls)[:: 1 if number % 2 else -1]:
                start = time.perf_counter()
                tokens[name] = calls[name]()
                if number:
                    seconds.setdefault(name, []).append(time.perf_counter() - start)
    medians = {name: statistics.median(seconds[name]) for name in calls}
    print(
        f"{args.engine}: {len(instructions)} prompts, {args.tokens} tokens at most, medians of {args.rounds}"
    )
    for name, median in medians.items():
        every = ", ".join(f"{value:.2f}" for value in seconds[name])
        print(
            f"  {name}: {median:.2f} s ({every}), {tokens[name]} tokens, {tokens[name] / median:.0f} tokens/s"
        )
        if name.startswith("ours"):
            print(
                f"    over the bare one: {100 * (median / medians[name.replace('ours', 'bare')] - 1):+.1f} %"
            )


if __name__ == "__main__":
    main()
