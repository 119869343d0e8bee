"""One PPO update beside TRL 1.12's own, recorded by make_ppo_oracle.py: three passes, clipped on both sides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.torch

DATA = Path(__file__).parent / "data"
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def record():
    return json.loads((DATA / "ppo_oracle.json").read_text())


@pytest.fixture(scope="module")
def tensors():
    from safetensors.torch import load_file

    return load_file(DATA / "ppo_oracle.safetensors")


def part(tensors, name):
    return {
        key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")
    }


def make_trainer(record, tensors, *, micro_batch_means=True, rows=None):
    """Return our trainer with the recorded weights, and its modules by name."""
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    from arena_learning.train.ppo.models import Policy, Scorer
    from arena_learning.train.ppo.trainer import Frozen, Learner, Trainer, UpdateRules

    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(mixed_precision="no", cpu=True)
    settings = record["settings"]

    def load(kind, name, labels):
        model = kind(LlamaConfig(**record["config"], **labels))
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                parameter.copy_(tensors[f"{name}.{key}"])
        return model.eval()

    causal = {
        name: Policy(load(LlamaForCausalLM, name, {}), settings["temperature"], None)
        for name in ("policy", "reference")
    }
    scorers = {
        name: Scorer(load(LlamaForSequenceClassification, name, {"num_labels": 1}))
        for name in ("value", "reward")
    }
    modules = {"policy": causal["policy"], "value": scorers["value"]}
    learners = []
    for name, module in modules.items():
        optimizer = torch.optim.AdamW(
            module.parameters(), lr=settings["learning_rate"], weight_decay=0.0, fused=True
        )
        schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
        learners.append(Learner(name, *accelerator.prepare(module, optimizer), schedule))
    rules = UpdateRules(
        kl=settings["kl"],
        missing_eos_penalty=settings["missing_eos_penalty"],
        passes=settings["passes"],
        rows=rows or settings["rows"],
        max_norm=float("inf"),  # TRL's PPO clips no gradients
        micro_batch_means=micro_batch_means,
    )
    frozen = Frozen(causal["reference"]), Frozen(scorers["reward"])
    return Trainer(accelerator, learners, *frozen, rules), modules


def samples_of(record):
    from arena_learning.train.rollout import Sample

    return [Sample(**sample) for sample in record["samples"]]


def test_the_record_is_one_that_can_tell(record, tensors):
    assert record["versions"]["trl"] == "1.12.0"
    assert 0 < record["figures"]["ended"] < len(record["samples"])
    assert record["figures"]["clip_fraction"] > 0.1
    assert record["figures"]["val/clipfrac_avg"] > 0.1
    assert len(record["passes"]) == 3
    assert record["passes"][0] != record["passes"][1]
    name = "model.embed_tokens.weight"
    moved = tensors[f"policy_after.{name}"] - tensors[f"policy.{name}"]
    assert float(moved.abs().max()) > 0.01  # a thousand times what the two may differ by


def test_what_is_known_before_the_first_step_is_trls(record, tensors):
    import torch

    trainer, _ = make_trainer(record, tensors)
    experience, figures = trainer.judge(samples_of(record))
    seen = part(tensors, "seen")
    actions, states = experience.masks.actions, experience.masks.states[:, :-1]
    for ours, trls, mask in (
        (experience.log_probs, seen["logprobs"], actions),
        (experience.values[:, :-1], seen["values"], states),
        (experience.advantages, seen["advantages"], actions),
        (experience.returns[:, :-1], seen["returns"], states),
    ):
        torch.testing.assert_close(ours * mask, torch.where(mask, trls, 0.0), **CLOSE)
    for name in ("kl", "entropy", "reward", "reward_less_kl", "ended"):
        assert figures[name] == pytest.approx(record["figures"][name], rel=1e-5), name


def test_losses_and_the_weights_after_the_update_are_trls(record, tensors):
    import torch

    trainer, modules = make_trainer(record, tensors)
    experience, _ = trainer.judge(samples_of(record))
    figures = trainer.learn(experience, record["passes"])
    for name in ("loss", "value_loss", "clip_fraction", "val/clipfrac_avg"):
        assert figures[name] == pytest.approx(record["figures"][name], rel=1e-5), name
    for name, module in modules.items():
        wanted = part(tensors, f"{name}_after")
        found = dict(module.model.named_parameters())
        assert found.keys() == wanted.keys()
        for key, tensor in wanted.items():
            torch.testing.assert_close(found[key], tensor, **CLOSE)


def test_how_a_batch_is_split_changes_nothing_but_rounding(record, tensors):
    import torch

    weights = []
    for rows in (1, 3, 8):  # 3 leaves a micro-batch of two
        trainer, modules = make_trainer(record, tensors, micro_batch_means=False, rows=rows)
        trainer.update(samples_of(record))
        weights.append({key: value.detach() for key, value in modules["policy"].named_parameters()})
    for other in weights[1:]:
        for key, tensor in weights[0].items():
            torch.testing.assert_close(other[key], tensor, **CLOSE)
    # TRL's means over micro-batches do depend on it.
    trainer, modules = make_trainer(record, tensors, rows=1)
    trainer.update(samples_of(record))
    now = {key: value.detach() for key, value in modules["policy"].named_parameters()}
    moved = [float((weights[0][key] - tensor).abs().max()) for key, tensor in now.items()]
    assert max(moved) > 1e-3


TWO = """
import sys
sys.path[:0] = [{tests!r}]
import torch
from safetensors.torch import load_file, save_file
import json
from test_train_ppo_oracle import DATA, make_trainer, samples_of
record, tensors = json.loads((DATA / "ppo_oracle.json").read_text()), load_file(DATA / "ppo_oracle.safetensors")
trainer, modules = make_trainer(record, tensors, micro_batch_means=False, rows=2)
accelerator = trainer.accelerator
figures = trainer.update(samples_of(record)[accelerator.process_index :: accelerator.num_processes])
if accelerator.is_main_process:
    weights = dict(modules["policy"].named_parameters())
    save_file({{key: value.detach().clone() for key, value in weights.items()}}, {out!r})
    print(json.dumps([accelerator.num_processes, figures]))
accelerator.end_training()
"""


def test_two_processes_end_as_one(record, tensors, tmp_path):
    """Each has half the responses; one has the longest. Gradients, whitening and figures are those of the batch."""
    import subprocess
    import sys

    import torch
    from safetensors.torch import load_file

    script, out = tmp_path / "two.py", tmp_path / "weights.safetensors"
    script.write_text(TWO.format(tests=str(Path(__file__).parent), out=str(out)))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--rdzv-backend=c10d"]
    command += ["--rdzv-endpoint=localhost:0", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    processes, figures = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("[2")))
    trainer, modules = make_trainer(record, tensors, micro_batch_means=False)
    alone = trainer.update(samples_of(record))
    assert processes == 2
    assert figures == pytest.approx(alone, rel=1e-4, abs=1e-6)
    for key, tensor in load_file(out).items():
        torch.testing.assert_close(tensor, dict(modules["policy"].named_parameters())[key].detach(), **CLOSE)
