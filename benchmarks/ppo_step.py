"""Seconds and peak memory of PPO here and by TRL 1.12's PPOTrainer: the same prompts, reward model and parameters.

    python benchmarks/ppo_step.py [--model models/base] [--prompts 16] [--batch 8] [--tokens 64] [--rounds 3]

Each training runs in a process of its own, all of them in turn. Seconds are those of the updates (rollouts included;
loading and checkpoints are not). Memory is the largest resident size of the process, on a GPU what torch allocated.
The reward model is the start with a new score head: it is not trained, for it is none of what is measured. Needs
trl==1.12.0 for TRL's side (later releases have no PPOTrainer; `--only ours` measures ours alone). Prompts are those of
data/pool.jsonl. "Over the start" is the peak less what the process took before anything was loaded.
Without --model a random Llama of 20 million weights and SmolLM2's vocabulary is made: a try, no figure to keep.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CASES = {  # whose trainer, and what differs from the laptop's parameters
    "trl": ("trl", {}),
    "ours": ("ours", {}),
    "ours, value: head": ("ours", {"value": "head"}),
    "trl, LoRA": ("trl", {"lora_rank": 8}),
    "ours, LoRA": ("ours", {"lora_rank": 8}),
}


def train_ours(job: Any, settings: Any, encoded: Any, folder: Path) -> tuple[float, int]:
    from arena_learning.train.ppo import run as ppo
    from arena_learning.train.reward import TrainedReward

    ppo.save_state = lambda *_: None
    done = ppo.train_ppo(job, settings, encoded, TrainedReward(folder, None, 0.0, 0))
    return done.seconds, done.steps


def train_trl(job: Any, settings: Any, encoded: Any, folder: Path) -> tuple[float, int]:
    """Train as this project did until it had a trainer of its own."""
    from accelerate.state import AcceleratorState
    from datasets import Dataset
    from peft import inject_adapter_in_model
    from transformers import GenerationConfig, PrinterCallback
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    from arena_learning.train.arguments import common_arguments, on_one_gpu, plan_training
    from arena_learning.train.load import load_policy, load_scorer
    from arena_learning.train.lora import lora_config

    laid = plan_training(settings, len(encoded.rows))
    job.start.tokenizer.padding_side = "left"
    AcceleratorState._reset_state(reset_partial_state=False)
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if job.train.precision == "bf16" else "no"
    policy, value = load_policy(job.start), load_scorer(job.start, folder, job.seed)
    policy.generation_config = GenerationConfig(
        eos_token_id=job.start.end_of_turn, pad_token_id=job.start.pad, suppress_tokens=[job.start.pad]
    )
    if (config := lora_config(settings, scorer=True)) is not None:
        config.modules_to_save = None
        value = inject_adapter_in_model(config, value)
        value.score.weight.requires_grad_(True)
    shared = common_arguments(settings, job.train, laid, job.checkpoints, job.seed) | {"save_strategy": "no"}
    trainer = PPOTrainer(
        args=on_one_gpu(
            PPOConfig(
                **shared,
                num_ppo_epochs=settings.ppo_epochs,
                num_mini_batches=1,
                kl_coef=settings.kl,
                response_length=settings.max_tokens,
                temperature=settings.temperature,
                stop_token="eos",
                missing_eos_penalty=settings.missing_eos_penalty or None,
                local_rollout_forward_batch_size=min(8, laid.device_batch * laid.accumulation),
                num_sample_generations=0,
            )
        ),
        processing_class=job.start.tokenizer,
        model=policy,
        ref_model=None if settings.lora_rank else load_policy(job.start),
        reward_model=load_scorer(job.start, folder, job.seed),
        value_model=value,
        train_dataset=Dataset.from_list(encoded.rows),
        eval_dataset=Dataset.from_list(encoded.rows[:1]),
        peft_config=lora_config(settings),
    )
    trainer.accelerator.gradient_state.plugin_kwargs["sync_with_dataloader"] = False
    trainer.remove_callback(PrinterCallback)
    began = time.monotonic()
    trainer.train()
    return time.monotonic() - began, int(trainer.state.global_step)


def measure(case: str, args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Train once in this process."""
    import torch

    from arena_learning.params import Train
    from arena_learning.schema import Instruction, read_rows
    from arena_learning.train.encode import Encoded, Encoder
    from arena_learning.train.load import load_start, quiet_libraries
    from arena_learning.train.loop import Job
    from arena_learning.train.measure import peak_memory_mb
    from arena_learning.train.report import RowCount

    torch.set_num_threads(args.threads)
    quiet_libraries()
    whose, more = CASES[case]
    batch = {"batch_size": args.batch, "device_batch_size": args.device_batch, "max_tokens": args.tokens}
    train = Train.model_validate(
        {"precision": args.precision, "ppo": {"learning_rate": 5e-6, **batch, **more}}
    )
    start = load_start(Path(args.model), False)
    job = Job(start, train, 1, folder / "checkpoints", Silent, "benchmark")
    encoder = Encoder(start.form)
    instructions = list(read_rows(ROOT / "data" / "pool.jsonl", Instruction))[: 4 * args.prompts]
    prompts = [encoder.prompt(instruction.turns) for instruction in instructions]
    rows = [{"input_ids": prompt} for prompt in prompts if prompt and len(prompt) < args.longest][
        : args.prompts
    ]
    encoded = Encoded(rows, RowCount())
    call = {"ours": train_ours, "trl": train_trl}[whose]
    before = peak_memory_mb()
    seconds, steps = call(job, train.ppo, encoded, Path(args.reward))
    gpu = torch.cuda.is_available()
    peak = torch.cuda.max_memory_allocated() / 1e6 if gpu else peak_memory_mb()
    return {"seconds": seconds / steps, "peak_mb": peak, "own_mb": peak - (0 if gpu else before)}


class Silent:
    def __init__(self, *_: object) -> None: ...
    def advance(self, *_: object) -> None: ...
    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None: ...


def random_model(folder: Path) -> Path:
    """Write a random Llama of about 20 million weights with a vocabulary of 49,152."""
    sys.path.insert(0, str(ROOT / "tests"))
    from transformers import LlamaConfig, LlamaForCausalLM

    from tiny import build_tiny_model

    build_tiny_model(folder)
    config = LlamaConfig.from_pretrained(folder)
    config.vocab_size, config.hidden_size, config.intermediate_size, config.num_hidden_layers = (
        49152,
        256,
        768,
        8,
    )
    config.max_position_embeddings, config.head_dim = 2048, 64
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def scorer_folder(args: argparse.Namespace, folder: Path) -> Path:
    from arena_learning.train.load import load_scorer, load_start, quiet_libraries

    quiet_libraries()
    start = load_start(Path(args.model), False)
    load_scorer(start, start.folder, 1).save_pretrained(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a model's folder")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device-batch", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--longest", type=int, default=400, help="longest prompt in tokens")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--reward", help=argparse.SUPPRESS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if args.case:
            print(json.dumps(measure(args.case, args, folder)))
            return
        args.model = args.model or str(random_model(folder / "model"))
        args.reward = str(scorer_folder(args, folder / "reward"))
        found: dict[str, list[dict[str, float]]] = {case: [] for case in args.only}
        for number in range(args.rounds):
            for case in args.only[:: 1 if number % 2 else -1]:
                found[case].append(in_process(case, args))
    report(args, found)


def in_process(case: str, args: argparse.Namespace) -> dict[str, float]:
    names = ("model", "reward", "prompts", "batch", "tokens", "longest", "precision", "threads")
    command = [sys.executable, __file__, "--case", case, "--device-batch", str(args.device_batch)]
    for name in names:
        command += [f"--{name}", str(getattr(args, name))]
    environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def report(args: argparse.Namespace, found: dict[str, list[dict[str, float]]]) -> None:
    print(
        f"{args.model}: {args.prompts} prompts, batch {args.batch} by {args.device_batch}, {args.tokens} tokens, "
        f"{args.precision}, {args.threads} threads, medians of {args.rounds}"
    )
    middle = {
        case: {key: statistics.median(run[key] for run in runs) for key in ("seconds", "peak_mb", "own_mb")}
        for case, runs in found.items()
    }
    for case, own in middle.items():
        every = ", ".join(f"{run['seconds']:.2f}" for run in found[case])
        base = middle.get("trl, LoRA" if "LoRA" in case else "trl")
        print(f"  {case}: {own['seconds']:.2f} s an update ({every}), {own['peak_mb']:.0f} MB, "
              f"{own['own_mb']:.0f} over the start")  # fmt: skip
        if base and base is not own:
            shares = [f"{own[key] / base[key]:.2f}" for key in ("seconds", "peak_mb", "own_mb")]
            print(f"    of TRL's: {', '.join(shares)}")


if __name__ == "__main__":
    main()
