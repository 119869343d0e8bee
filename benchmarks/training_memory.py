"""Peak memory of trainings, beside what `train/memory.py` computes.

    python benchmarks/training_memory.py [--model models/base] [--length 256] [--only sft] [--json]

Each case is a training of two steps in a process of its own, on rows that are all as long as --length. On a CPU the
peak is the largest resident size less what the process had before it loaded the model, on a GPU what torch allocated.
Without --model a random Llama of 20 million weights and SmolLM2's vocabulary is made.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BASE = {"epochs": 1, "learning_rate": 1e-5, "batch_size": 4, "device_batch_size": 2, "lora_rank": 0}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {  # method, precision, and what differs
    "sft, fp32": ("sft", "fp32", {}),
    "sft, bf16": ("sft", "bf16", {}),
    "sft, bf16, checkpointing": ("sft", "bf16", {"activation_checkpointing": True}),
    "sft, fp32, checkpointing": ("sft", "fp32", {"activation_checkpointing": True}),
    "sft, weights bf16": ("sft", "bf16", {"weights": "bf16"}),
    "sft, LoRA, bf16": ("sft", "bf16", {"lora_rank": 16}),
    "dpo, bf16": ("dpo", "bf16", {"device_batch_size": 1}),
    "dpo, fp32": ("dpo", "fp32", {"device_batch_size": 1}),
    "ppo, fp32": ("ppo", "fp32", {"max_tokens": 32}),
    "ppo, LoRA, fp32": ("ppo", "fp32", {"max_tokens": 32, "lora_rank": 16}),
    "sft, bf16, 1 row": ("sft", "bf16", {"device_batch_size": 1}),
    "sft, bf16, 4 rows": ("sft", "bf16", {"device_batch_size": 4}),
}


def random_model(folder: Path) -> Path:
    sys.path.insert(0, str(ROOT / "tests"))
    from transformers import LlamaConfig, LlamaForCausalLM

    from tiny import build_tiny_model

    build_tiny_model(folder)
    config = LlamaConfig.from_pretrained(folder)
    config.update({"vocab_size": 49152, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 8})
    config.update({"head_dim": 64, "max_position_embeddings": 2048})
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_rows(folder: Path, method: str, length: int, model: Path) -> None:
    """Write eight rows; SFT and DPO cut theirs at the length, PPO's fit it."""
    sys.path.insert(0, str(ROOT / "tests"))
    from transformers import AutoTokenizer

    from tiny import write_preferences, write_sft

    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = tokenizer("The colour is blue. The river is the Danube. " * length)["input_ids"]
    text = tokenizer.decode(ids[: length if method != "ppo" else length - 90])
    asked = [f"Question {n}: {text if method == 'ppo' else 'Why?'}" for n in range(8)]
    said = "Two." if method == "ppo" else text
    write_sft(folder / "sft.jsonl", [(one, said) for one in asked])
    write_preferences(folder / "preferences.jsonl", [(one, said, f"No. {said}") for one in asked])


def measure(case: str, model: Path, length: int) -> dict[str, float]:
    """Train in this process, and return the peak over what it had before, and what was computed; in MB."""
    import datasets
    import torch
    import transformers
    import trl
    from trl import DPOTrainer, RewardTrainer, SFTTrainer

    from arena_learning.params import Train
    from arena_learning.train import train_round
    from arena_learning.train.memory import memory_of, model_size

    assert all(
        (datasets, transformers, trl, DPOTrainer, RewardTrainer, SFTTrainer)
    )  # loaded before the measure
    method, precision, more = CASES[case]
    settings = BASE | {"max_length": length} | more
    if method == "ppo":
        own = {key: value for key, value in settings.items() if key not in ("max_tokens",)}
        settings |= {"reward": own, "device_batch_size": 2}
    train = Train.model_validate({"precision": precision, method: settings})
    cuda = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder, method, length, model)
        before = resident()
        train_round(
            method,  # type: ignore[arg-type]
            init=model,
            out=folder / "out",
            sft=folder / "sft.jsonl",
            preferences=folder / "preferences.jsonl",
            params=train,
            seed=0,
            checkpoints=folder / "checkpoints",
        )
        peak = torch.cuda.max_memory_allocated() if cuda else peak_resident() - before
    need = memory_of(method, model_size(model), train, gpu=cuda)._replace(context=0.0)
    return {"measured": peak / 1e6, "computed": need.total / 1e6}


def resident() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * float(line.split()[1])
    raise SystemExit("needs /proc (Linux)")


def peak_resident() -> float:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--only", default="", help="cases whose name begins with this")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.case:
        print(json.dumps(measure(asked.case, asked.model, asked.length)))
        return
    with tempfile.TemporaryDirectory() as name:
        model = asked.model or random_model(Path(name) / "model")
        found = {}
        for case in CASES:
            if not case.startswith(asked.only):
                continue
            command = [
                sys.executable,
                __file__,
                "--case",
                case,
                "--model",
                str(model),
                "--length",
                str(asked.length),
            ]
            # Freed blocks go back to the system at once, so that the resident size is what is held.
            environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode:
                sys.exit(f"{case}: {done.stderr[-3000:]}")
            found[case] = json.loads(done.stdout.splitlines()[-1])
            if not asked.json:
                row = found[case]
                part = row["computed"] / row["measured"]
                print(
                    f"{case:28} {row['measured']:8.0f} MB measured {row['computed']:8.0f} computed {part:6.2f}"
                )
    if asked.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
