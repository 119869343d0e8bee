"""PPO's rollouts, what it holds at once, in which precision, and whether it learns."""

from __future__ import annotations

import pytest

from arena_learning.core import Progress
from arena_learning.params import Train
from arena_learning.train import train_round
from tiny import build_tiny_model, model_of, write_preferences

pytestmark = pytest.mark.torch

PROMPTS = [[5, 9, 17], [40, 41, 42, 43, 44, 45, 46], [300], [7, 7], [100, 200, 300, 120, 30]]
WIDTH = 12


@pytest.fixture(scope="module")
def lively(tmp_path_factory):
    """A model that says anything: untied and untrained."""
    return build_tiny_model(tmp_path_factory.mktemp("lively") / "base", tied=False)


@pytest.fixture(scope="module")
def vocabulary(lively):
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(lively).vocab_size


@pytest.fixture(scope="module")
def policy(lively):
    from arena_learning.train.load import load_policy, load_start

    return load_policy(load_start(lively, False)).eval()


def sampled(policy, *, seed=1, update=0, rows=8, prompts=PROMPTS, **over):
    from arena_learning.train.rollout import answer, drawn_numbers

    numbers = drawn_numbers(seed, update, len(prompts), WIDTH)
    settings = {"temperature": 0.7, "end": 2, "pad": 0, "rows": rows} | over
    return answer(policy, prompts, numbers, **settings)


def test_samples_depend_on_the_seed_and_the_update_alone(policy):
    import torch

    first = sampled(policy)
    torch.manual_seed(99)
    assert sampled(policy) == first
    assert [sample.prompt for sample in first] == PROMPTS
    assert sampled(policy, rows=1) == first == sampled(policy, rows=2)  # padded otherwise, batched otherwise
    assert sampled(policy, update=1) != first != sampled(policy, seed=2)


@pytest.mark.parametrize("rows", [1, 6, 9, 100])
def test_several_responses_to_a_prompt_are_those_of_the_prompt_several_times(policy, rows):
    from arena_learning.train.rollout import answer, drawn_numbers

    numbers = drawn_numbers(1, 0, 3 * len(PROMPTS), WIDTH)
    settings = {"temperature": 0.7, "end": 2, "pad": 0}
    alone = answer(policy, [prompt for prompt in PROMPTS for _ in range(3)], numbers, rows=1, **settings)
    assert answer(policy, PROMPTS, numbers, rows=rows, copies=3, **settings) == alone
    assert len({tuple(sample.response) for sample in alone}) > len(PROMPTS)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        # Bloom is told no positions.
        ("Bloom", {"attention": "eager", "n_layer": 2, "n_head": 4, "hidden_size": 32}),
        ("Gemma3Text", {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}),
        ("FalconH1", {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_state": 8, "mamba_d_head": 8}),
        ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    ],
)
def test_other_models_sample_in_a_batch_what_they_sample_alone(kind, given):
    from arena_learning.train.rollout import answer, drawn_numbers

    model = model_of(kind, **given)
    prompts = [[5, 9, 3, 7, 11, 13, 17], [4, 8], [6, 10, 12, 14]]
    numbers = drawn_numbers(1, 0, 2 * len(prompts), WIDTH)
    settings = {"temperature": 1.0, "end": 2, "pad": 0}
    twice = [prompt for prompt in prompts for _ in range(2)]
    alone = [
        answer(model, [prompt], numbers[place : place + 1], rows=1, **settings)[0]
        for place, prompt in enumerate(twice)
    ]
    assert answer(model, prompts, numbers, rows=6, copies=2, **settings) == alone


def test_tokens_are_sampled_as_often_as_they_are_likely(policy):
    import torch

    from arena_learning.train.rollout import answer

    many = 4000
    even = (torch.arange(many, dtype=torch.float64)[:, None] + 0.5) / many
    found = answer(policy, [PROMPTS[0]] * many, even, temperature=0.7, end=2, pad=0, rows=many)
    counts = torch.bincount(torch.tensor([s.response[0] for s in found]), minlength=policy.config.vocab_size)
    with torch.no_grad():
        logits = policy(torch.tensor([PROMPTS[0]])).logits[0, -1] / 0.7
    logits[0] = -torch.inf  # pad is never sampled
    # Evenly spread numbers hit a token as often as its share of them says, but for one at its edge.
    assert float((counts - many * logits.softmax(-1)).abs().max()) <= 1.01
    assert int(counts[0]) == 0


def test_a_response_is_cut_behind_its_end(policy):
    end = sampled(policy)[0].response[3]
    again = sampled(policy, end=end)[0]
    assert again.ended
    assert again.response == sampled(policy)[0].response[: sampled(policy)[0].response.index(end) + 1]
    others = [s for s in sampled(policy, end=end) if not s.ended]
    assert others
    assert all(len(s.response) == WIDTH and end not in s.response for s in others)


def test_log_probabilities_are_those_of_a_plain_forward_pass(policy):
    """Padded, batched, cut to the response, in place: against one row at a time without any of it."""
    import torch

    from arena_learning.train.ppo.models import Policy, lay_out

    samples = sampled(policy)
    read = Policy(policy, 0.7, 0)(lay_out(samples, torch.device("cpu"))).log_probs
    for row, (prompt, response, _) in enumerate(samples):
        logits = policy(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1].detach() / 0.7
        logits[:, 0] = -torch.inf
        wanted = logits.log_softmax(-1)[range(len(response)), response]
        torch.testing.assert_close(read[row, : len(response)].detach(), wanted, rtol=1e-5, atol=1e-5)


def test_a_token_that_is_never_sampled_gets_no_gradient(policy):
    import torch

    from arena_learning.train.ppo.models import Policy, lay_out

    read = Policy(policy, 0.7, 0)(lay_out(sampled(policy), torch.device("cpu"))).log_probs
    policy.zero_grad()
    torch.where(read.isfinite(), read, 0.0).sum().backward()
    gradient = policy.lm_head.weight.grad
    policy.zero_grad()
    assert float(gradient[0].abs().max()) == 0.0
    assert float(gradient[1].abs().max()) > 0.0


def test_every_prompt_is_asked_once_before_any_is_asked_again():
    from arena_learning.train.rollout import prompts_of

    asked = [place for update in range(5) for place in prompts_of(update, batch=4, count=10, seed=3)]
    assert sorted(asked[:10]) == sorted(asked[10:]) == list(range(10))
    assert asked[:10] != asked[10:]
    assert prompts_of(2, 4, 10, 3) == asked[8:12]  # no state is needed to go on
    assert prompts_of(2, 4, 10, 4) != asked[8:12]


class Quiet(Progress):
    def _write(self, now, note):
        pass


@pytest.fixture
def ppo(lively, tmp_path):
    """Train the lively model: `ppo(learning_rate=...)` gives the report."""

    def run(*, init=lively, count=8, precision="fp32", progress=Quiet, reward=None, **settings):
        questions = [f"What is {n} and {n}?" for n in range(count)]
        rows = [(question, "Two and two is four.", "I do not know that.") for question in questions]
        base = {
            "learning_rate": 1e-3,
            "batch_size": 8,
            "device_batch_size": 2,
            "max_length": 128,
            "max_tokens": 6,
        }
        reward = {"learning_rate": 1e-3, "batch_size": 8, "device_batch_size": 2} | (reward or {})
        params = {"device": "cpu", "precision": precision, "ppo": base | settings | {"reward": reward}}
        return train_round(
            "ppo",
            init=init,
            out=tmp_path / "out",
            sft=tmp_path / "none",
            preferences=write_preferences(tmp_path / "preferences.jsonl", rows),
            params=Train.model_validate(params),
            seed=1,
            checkpoints=tmp_path / "checkpoints",
            progress=progress,
        )

    return run


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "more",
    [{}, {"lora_rank": 4}, {"value": "head"}, {"lora_rank": 4, "value": "head"}],
    ids=["all", "lora", "head", "lora-head"],
)
def test_at_the_first_step_the_policy_is_its_reference_to_the_bit(ppo, precision, more):
    first, *_, last = ppo(precision=precision, epochs=3, **more).phases[-1].curve
    assert (first["kl"], first["approx_kl"], first["clip_fraction"]) == (0.0, 0.0, 0.0)
    assert first["val/ratio"] == pytest.approx(1.0, abs=1e-6)
    assert last["kl"] != 0.0
    assert set(first) == {
        *(
            "step",
            "episode",
            "lr",
            "loss",
            "value_loss",
            "kl",
            "entropy",
            "reward",
            "reward_less_kl",
            "ended",
        ),
        *("approx_kl", "clip_fraction", "val/ratio", "val/clipfrac_avg"),
    }


@pytest.mark.parametrize("more", [{}, {"lora_rank": 4}, {"value": "head"}], ids=["all", "lora", "head"])
def test_no_tensor_of_the_vocabularys_width_is_larger_than_a_micro_batchs(ppo, vocabulary, more):
    """Every tensor that any operation makes, backward too, after the reward model is trained."""
    from math import prod

    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    hidden, width, rows = 64, 6, 2
    widest = []

    class Look(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            shapes = [tuple(leaf.shape) for leaf in tree_leaves(out) if hasattr(leaf, "shape")]
            # (hidden, vocabulary) is the head itself, turned over.
            shapes = [s for s in shapes if s and s[-1] == vocabulary and s != (hidden, vocabulary)]
            widest.extend((prod(shape), shape, str(function)) for shape in shapes)
            return out

    class Looking(Quiet):
        def __enter__(self):
            if self.label == "ppo":
                look.__enter__()
            return super().__enter__()

        def __exit__(self, *error):
            if self.label == "ppo":
                look.__exit__(*error)
            super().__exit__(*error)

    look = Look()
    ppo(progress=Looking, **more)
    limit = rows * (width + 1) * vocabulary
    assert max(widest)[0] == limit  # batch x length x vocabulary would be four times as much
    assert 8 * vocabulary < limit  # what eight rollouts hold at a token


def test_bf16_reaches_every_pass_and_the_scores_stay_in_fp32(ppo, vocabulary):
    import torch
    from torch.nn.modules.module import register_module_forward_hook

    seen = set()
    phase = []

    class Told(Quiet):
        def __enter__(self):
            phase.append(self.label)
            return super().__enter__()

    def note(module, _, output):
        if isinstance(module, torch.nn.Linear) and phase[-1] == "ppo":
            kind = {1: "score", vocabulary: "vocabulary"}.get(module.out_features, "body")
            seen.add((kind, torch.is_grad_enabled(), str(output.dtype).removeprefix("torch.")))

    hook = register_module_forward_hook(note)
    try:
        ppo(precision="bf16", progress=Told)
    finally:
        hook.remove()
    kinds = {"body": "bfloat16", "vocabulary": "bfloat16", "score": "float32"}
    assert seen == {(kind, grad, dtype) for kind, dtype in kinds.items() for grad in (False, True)}


RUN = """
import sys
from pathlib import Path
import torch
from arena_learning.params import Train
from arena_learning.train import train_round
torch.set_num_threads(1)
base, here = map(Path, sys.argv[1:])
report = train_round(
    "ppo", init=base, out=here / "out", sft=here / "none", preferences=here / "preferences.jsonl",
    params=Train.model_validate_json((here / "params.json").read_text()), seed=1, checkpoints=here / "checkpoints",
)
print(sorted(report.cost.resumed_from.items()))
"""


def test_a_process_that_is_killed_mid_way_ends_with_the_same_bytes(lively, tmp_path):
    import json
    import os
    import subprocess
    import sys
    import time

    questions = [f"What is {n} and {n}?" for n in range(12)]
    optimiser = {"learning_rate": 1e-3, "batch_size": 2, "device_batch_size": 2, "max_length": 128}
    settings = {
        "device": "cpu",
        "checkpoint_minutes": 0,
        "ppo": optimiser | {"epochs": 3, "max_tokens": 6, "reward": optimiser},
    }

    def start(name):
        here = tmp_path / name
        here.mkdir(exist_ok=True)
        write_preferences(here / "preferences.jsonl", [(question, "Four.", "No.") for question in questions])
        (here / "params.json").write_text(json.dumps(settings))
        command = [sys.executable, "-c", RUN, str(lively), str(here)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def end(name):
        with start(name) as process:
            resumed, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        return resumed.strip()

    assert end("whole") == "[]"
    with start("killed") as process:
        folder = tmp_path / "killed" / "checkpoints" / "ppo"
        # Of 18 updates; the one before is removed when the next one is whole.
        while not any((folder / f"checkpoint-{n}" / "trainer_state.json").is_file() for n in range(6, 12)):
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -9
    assert not (tmp_path / "killed" / "out").exists()
    resumed = end("killed")
    assert resumed in {f"[('ppo', {step}), ('reward', 6)]" for step in range(6, 18)}
    for name in ("model.safetensors", "reward_model/model.safetensors"):
        whole, again = (tmp_path / place / "out" / name for place in ("whole", "killed"))
        assert whole.read_bytes() == again.read_bytes()
    assert not (tmp_path / "killed" / "checkpoints").exists()


# Adapters cannot turn the head of so small a model: they gain less.
@pytest.mark.parametrize(
    ("more", "gain"),
    [({}, 0.5), ({"lora_rank": 16}, 0.25), ({"value": "head"}, 0.5)],
    ids=["all", "lora", "head"],
)
def test_ppo_raises_the_reward(ppo, more, gain):
    report = ppo(
        count=32, batch_size=32, device_batch_size=16, epochs=20, kl=0.01, learning_rate=1e-2, ppo_epochs=2,
        temperature=0.2, missing_eos_penalty=0.0, warmup_ratio=0.0, reward={"epochs": 10, "device_batch_size": 1}, **more,
    )  # fmt: skip
    rewards = [point["reward"] for point in report.phases[-1].curve]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + gain
