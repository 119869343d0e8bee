"""Adapters, structured outputs, refusals: a tiny model, in fp32."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import takewhile

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.engines.chat import Chat
from arena_learning.engines.transformers import Transformers
from arena_learning.engines.vllm.engine import Vllm
from arena_learning.judge.llm import LlmJudge
from arena_learning.judge.response_format import response_format
from arena_learning.judge.template import JudgeTemplate
from arena_learning.params import VllmServing
from arena_learning.params.contestants import Sampling
from arena_learning.testing.engine_suite import PLAIN, ask
from arena_learning.testing.judge_suite import present
from arena_learning.testing.languages import FOREIGN
from tiny import build_tiny_model

SERVING = VllmServing(eager=True, cache_gib=0.25)


@pytest.fixture(scope="module")
def adapted(tiny, tmp_path_factory):
    """An adapter of the last layer's o_proj, and a model that it has been merged into by hand: W + B A * alpha / r."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("lora")
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(4, 128, generator=generator), torch.randn(128, 4, generator=generator)
    name = "model.layers.1.self_attn.o_proj"
    adapter = folder / "adapter"
    adapter.mkdir()
    weights = {f"base_model.model.{name}.lora_A.weight": a, f"base_model.model.{name}.lora_B.weight": b}
    save_file(weights, adapter / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "lora_dropout": 0.0}
    config |= {"target_modules": ["o_proj"], "bias": "none", "base_model_name_or_path": str(tiny)}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    model.get_parameter(f"{name}.weight").data += b @ a * 2
    model.save_pretrained(folder / "merged")
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder / "merged")
    return adapter, folder / "merged"


def test_an_adapter_answers_as_the_model_it_is_merged_into(tiny, adapted):
    adapter, merged = adapted
    engine = Vllm(tiny, SERVING, dtype="fp32", batch_size=8, lora=adapter)
    sampling = Sampling(max_tokens=8)
    answers = [answer.text for answer in engine.respond(PLAIN, sampling)]
    engine.close()
    assert answers == [
        a.text for a in Transformers(merged, batch_size=1, device="cpu").respond(PLAIN, sampling)
    ]
    assert answers != [
        a.text for a in Transformers(tiny, batch_size=1, device="cpu").respond(PLAIN, sampling)
    ]
    assert "lora" in engine.fingerprint


def test_a_verdict_is_held_to_its_schema_and_a_system_prompt_is_put_first(tiny, tmp_path):
    held = response_format([JudgeTemplate("json", tmp_path)], "vllm", "judges.x", 30)
    engine = Vllm(tiny, SERVING, dtype="fp32", system="Be brief.", extra_body={"response_format": held})
    answers = engine.respond(PLAIN, Sampling(max_tokens=400, temperature=1.0))
    engine.close()
    # A random model would go on for ever: inside the explanation, or in white space between two keys.
    assert {answer.finish_reason for answer in answers} == {"stop"}
    whole = [json.loads(answer.text) for answer in answers]
    assert all(1 <= verdict[key] <= 10 for verdict in whole for key in ("Score-A", "Score-B"))
    assert max(len(verdict["explanation"]) for verdict in whole) <= 60
    prompts = Chat(tiny, system="Be brief.").encode(PLAIN)
    assert [answer.prompt_tokens for answer in answers] == [len(prompt) for prompt in prompts]


def test_a_judges_second_order_finds_the_prefix_of_the_first_and_says_what_it_would_say_without(
    tmp_path, capsys
):
    """`keep_prefixes`: one model with long enough a context for the shipped prompt, in fp32."""
    model = build_tiny_model(tmp_path / "m", hidden=128, positions=4096, tied=False)
    serving = VllmServing(eager=True, cache_gib=0.25, keep_prefixes=True)
    engine = Vllm(model, serving, dtype="fp32", batch_size=8)
    template, sampling = JudgeTemplate("pairwise-score", tmp_path), Sampling(max_tokens=8)
    judge = LlmJudge("m", engine, template, sampling, 1)
    foreign = list(FOREIGN.values())[:4]
    first = [present(f.good, f.poor, f.instruction(f"f{n}")) for n, f in enumerate(foreign)]
    second = [p._replace(first=p.second, second=p.first) for p in first]
    prompts = [[Chat(model).encode([judge.prompt(p)])[0] for p in order] for order in (first, second)]
    judge.score(first)
    before = engine.cached_tokens
    told = judge.score(second)
    found = engine.cached_tokens - before
    whole = engine.cached_tokens
    judge.close()
    said = (
        f"serving: {whole:,} of {sum(len(p) for order in prompts for p in order):,} prompt tokens came from"
    )
    assert said in capsys.readouterr().err
    # What the two prompts of an instruction share, in whole blocks of 128 tokens, is in the cache.
    shared = [_shared(*pair) for pair in zip(*prompts, strict=True)]
    assert min(shared) > 128
    assert sum(n // 128 * 128 for n in shared) <= found < sum(map(len, prompts[1]))
    plain = LlmJudge("m", Transformers(model, batch_size=1, device="cpu"), template, sampling, 1)
    assert [v.rationale for v in told] == [v.rationale for v in plain.score(second)]
    assert len({v.rationale for v in told}) > 1


def test_what_vllm_cannot_serve_is_an_error_that_says_why(tiny):
    engine = Vllm(tiny, VllmServing(context=100_000), where="opponents.far")
    with pytest.raises(ArenaError, match="max_model_len"):
        engine.respond([ask("Hello")], Sampling())
    engine.close()


def test_bad_settings_are_refused_before_anything_is_loaded(tiny, tmp_path):
    with pytest.raises(ArenaError, match=r"no adapter_config\.json"):
        Vllm(tiny, lora=tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(ArenaError, match=r"pickled weights \(adapter_model.bin\)"):
        Vllm(tiny, lora=tmp_path)
    with pytest.raises(ArenaError, match="does not serve weights in q8_0"):
        Vllm(tiny, dtype="q8_0")
    with pytest.raises(
        ArenaError, match=r"does not accept 'respose_format'\n.*did you mean 'response_format'"
    ):
        Vllm(tiny, extra_body={"respose_format": {}})
    for body in (
        {"structured_outputs": {}},
        {"structured_outputs": {"rex": "a"}},
        {"response_format": "json"},
    ):
        with pytest.raises(ArenaError, match="structured output needs exactly one of"):
            Vllm(tiny, extra_body=body)


def test_what_changes_an_answer_is_in_the_fingerprint(tiny):
    base = Vllm(tiny).fingerprint
    changes = {
        "dtype": {"dtype": "fp32"},
        "system": {"system": "Be brief."},
        "batch": {"batch_size": 4},
        "sent": {"extra_body": {"structured_outputs": {"choice": ["yes", "no"]}}},
        "serving": {"serving": VllmServing(eager=True)},
    }
    for key, fields in changes.items():
        other = Vllm(tiny, **fields).fingerprint
        assert {k for k in other if other[k] != base.get(k)} == {key}
    assert Vllm(tiny, VllmServing(memory=0.5, cache_gib=3.0)).fingerprint == base


def test_the_worker_ends_with_its_parent_whatever_ends_that(tiny):
    script = (
        "import sys, threading, time\n"
        "from pathlib import Path\n"
        "from arena_learning.engines.vllm.engine import Vllm\n"
        "engine = Vllm(Path(sys.argv[1]))\n"
        "threading.Thread(target=engine._process.start, daemon=True).start()\n"
        "while engine._process.pid is None: time.sleep(0.05)\n"
        "print(engine._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tiny)], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    time.sleep(3)  # the worker is starting
    os.kill(worker, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 60
    while _runs(worker) and time.monotonic() < end:
        time.sleep(0.2)
    assert not _runs(worker)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _shared(one, two):
    """Return how many tokens two prompts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))
