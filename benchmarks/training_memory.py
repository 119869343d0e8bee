"""Peak memory of trainings, beside what `arena plan --memory` computes.

    python benchmarks/training_memory.py --model models/base [--length 192] [--only table | NAME] [--json]

Each case is a training of two steps in processes of its own, on rows that are all as long as --length. On a CPU the
peak is the first process's largest resident size less what it had before it loaded the model, on a GPU what torch
allocated. "2 processes" share each batch (DDP, gloo). The cases whose names begin with a method are the table of
docs/lab/results.md (--only table); the others vary one option each. Without --model a random Llama of 20 million
weights and SmolLM2's vocabulary is made. A case may need 6 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from arena_learning.train.online import RewardInputs

ROOT = Path(__file__).parents[1]
ROWS = 8
SAMPLED = 32  # tokens that PPO and RLOO sample
BASE = {"epochs": 1, "learning_rate": 1e-5, "batch_size": 4, "device_batch_size": 2}
ONLINE = {"max_tokens": SAMPLED, "judge": "rubric", "monitor": "content", "group": 2, "device_batch_size": 2}
LORA, HALF = {"lora_rank": 16}, {"weights": "bf16"}
# Adapters of PPO need so little that its peak is the reward model's.
REWARD_ALONE = {**LORA, "device_batch_size": 1, "max_tokens": 4}


class Case(NamedTuple):
    """A training: its method, what differs from `BASE`, and how many processes share it."""

    method: str
    settings: Mapping[str, Any] = MappingProxyType({})
    processes: int = 1
    precision: str = "fp32"


TABLE = {
    "sft": Case("sft"),
    "dpo": Case("dpo", {"device_batch_size": 1}),
    "reward": Case("ppo", {**REWARD_ALONE, "reward": {"device_batch_size": 1}}),
    "ppo": Case("ppo", {"max_tokens": SAMPLED, "reward": {}}),
    "rloo": Case("rloo", ONLINE),
    "ppo, LoRA": Case("ppo", {"max_tokens": SAMPLED, **LORA, "reward": LORA}),
    "rloo, LoRA": Case("rloo", ONLINE | LORA),
    "sft, weights bf16, 2 processes": Case("sft", HALF, 2),
    "dpo, weights bf16, 2 processes": Case("dpo", HALF | {"device_batch_size": 1}, 2),
    "reward, weights bf16, 2 processes": Case(
        "ppo", {**REWARD_ALONE, "reward": HALF | {"device_batch_size": 1}}, 2
    ),
    "ppo, LoRA, 2 processes": Case("ppo", {"max_tokens": SAMPLED, **LORA, "reward": LORA}, 2),
    "rloo, LoRA, 2 processes": Case("rloo", ONLINE | LORA, 2),
}
OPTIONS = {
    "option: bf16": Case("sft", precision="bf16"),
    "option: bf16, checkpointing": Case("sft", {"activation_checkpointing": True}, precision="bf16"),
    "option: checkpointing": Case("sft", {"activation_checkpointing": True}),
    "option: weights bf16": Case("sft", HALF, precision="bf16"),
    "option: LoRA, bf16": Case("sft", LORA, precision="bf16"),
    "option: dpo, bf16": Case("dpo", {"device_batch_size": 1}, precision="bf16"),
    "option: 1 row, bf16": Case("sft", {"device_batch_size": 1}, precision="bf16"),
    "option: 4 rows, bf16": Case("sft", {"device_batch_size": 4}, precision="bf16"),
}
CASES = TABLE | OPTIONS


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


class Rows(NamedTuple):
    """The rows of a case and their lengths in tokens."""

    sft: Path
    preferences: Path
    rewards: RewardInputs | None
    prompt: int
    pair: int


def write_rows(folder: Path, method: str, length: int, model: Path) -> Rows:
    """Write rows of about ``length`` tokens: SFT and DPO cut theirs, PPO and RLOO have long prompts."""
    sys.path.insert(0, str(ROOT / "tests"))
    from arena_learning.schema import Instruction, PreferenceRow, Turn, read_rows
    from arena_learning.train import encode
    from arena_learning.train.load import load_start
    from tiny import write_preferences, write_sft

    start = load_start(model, False)
    ids = start.tokenizer("The colour is blue. The river is the Danube. " * length)["input_ids"]
    sampling = method in ("ppo", "rloo")
    # The chat template adds some fifty tokens to a prompt.
    text = start.tokenizer.decode(ids[: length - 50 - SAMPLED if sampling else length])
    asked = [f"Question {n}: {text if sampling else 'Why?'}" for n in range(ROWS)]
    said = start.tokenizer.decode(ids[: SAMPLED - 4]) if sampling else text
    sft = write_sft(folder / "sft.jsonl", [(one, said) for one in asked])
    triples = [(one, said, f"No. {said}") for one in asked]
    preferences = write_preferences(folder / "preferences.jsonl", triples)
    encoder, whole = encode.Encoder(start.form), 10**6
    instructions = [
        Instruction(id=f"i{n}", turns=(Turn(role="user", content=q),)) for n, q in enumerate(asked)
    ]
    prompts = encode.encode_instructions(encoder, instructions, whole).rows
    pairs = encode.encode_pairs(encoder, read_rows(preferences, PreferenceRow), whole, cut_long=False).rows
    return Rows(
        sft,
        preferences,
        open_rewards(folder, instructions) if method == "rloo" else None,
        max(len(row["input_ids"]) for row in prompts),
        max(map(encode.pair_length, pairs)),
    )


def open_rewards(folder: Path, instructions: list[Any]) -> RewardInputs:
    """Open the two rubric judges of params.yaml on one criterion."""
    import yaml

    from arena_learning.core import Paths
    from arena_learning.judge import open_judge
    from arena_learning.params import parse_params
    from arena_learning.store import Store
    from arena_learning.train.online import RewardInputs

    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params, paths = parse_params(raw, "params.yaml"), Paths(folder)
    rubric = ({"kind": "states", "any": ["Danube"], "weight": 1.0},)
    rows = [one.model_copy(update={"rubric": rubric}) for one in instructions]
    judges = [open_judge(name, params, paths) for name in (ONLINE["judge"], ONLINE["monitor"])]
    return RewardInputs(rows, {}, *judges, Store(folder / f"store-{os.getpid()}"))


def settings_of(case: Case, length: int, rows: Rows) -> dict[str, Any]:
    """Return the method's parameters; ``max_length`` is what the longest row has."""
    longest = rows.prompt + SAMPLED if case.method in ("ppo", "rloo") else length
    found = BASE | {"max_length": longest} | dict(case.settings)
    if case.method == "ppo":
        found["max_length"] = rows.prompt + found["max_tokens"]
        found["reward"] = BASE | {"max_length": rows.pair} | found["reward"]
    return found


def measure(case: Case, model: Path, length: int) -> dict[str, float]:
    """Train in this process, and return the peak over what it had before, and what was computed; in MB."""
    import datasets
    import torch
    import transformers
    import trl
    from accelerate import PartialState
    from trl import DPOTrainer, RewardTrainer, RLOOTrainer, SFTTrainer

    from arena_learning.params import Train
    from arena_learning.schema import PreferenceRow, SftRow, read_rows
    from arena_learning.train import processes
    from arena_learning.train.launch import TrainingSpec
    from arena_learning.train.memory import memory_of
    from arena_learning.train.model_size import model_size
    from arena_learning.train.worker import train_here

    # All is loaded before the measure.
    assert all((datasets, transformers, trl, DPOTrainer, RewardTrainer, RLOOTrainer, SFTTrainer))
    cuda = torch.cuda.is_available()
    if case.processes > 1:
        PartialState(cpu=not cuda)
    with tempfile.TemporaryDirectory() as name:
        rows = write_rows(Path(name), case.method, length, model)
        folder = Path(os.environ.get("MEASURED_FOLDER", name))  # one for all processes
        train = Train.model_validate(
            {"precision": case.precision, case.method: settings_of(case, length, rows)}
        )
        size = model_size(model)
        spec = TrainingSpec(
            method=case.method,  # type: ignore[arg-type]
            init=str(model),
            out=str(folder / "out"),
            sft=str(rows.sft),
            preferences=str(rows.preferences),
            train=train,
            seed=0,
            checkpoints=str(folder / "checkpoints"),
        )
        given: Sequence[Any] = read_rows(rows.preferences, PreferenceRow)
        if case.method == "sft":
            given = read_rows(rows.sft, SftRow)
        elif rows.rewards is not None:
            given = rows.rewards.instructions
        before = resident("VmRSS")
        train_here(spec, given, rewards=rows.rewards)
        processes.total(1)  # nobody removes files that another one reads
        peak = torch.cuda.max_memory_allocated() if cuda else resident("VmHWM") - before
    strategy = "ddp" if case.processes > 1 else "one"
    need = memory_of(
        case.method,
        size,
        train,
        processes=case.processes,
        strategy=strategy,  # type: ignore[arg-type]
        gpu=cuda,
    )
    parts = {part: value / 1e6 for part, value in need._replace(context=0.0)._asdict().items()}
    return {"measured": peak / 1e6, "computed": sum(parts.values()), **parts}


def resident(field: str) -> float:
    """Return VmRSS or VmHWM in bytes; ru_maxrss would begin with what the process had that started this one."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * float(line.split()[1])
    raise SystemExit("needs /proc (Linux)")


def run_case(name: str, model: Path, length: int) -> dict[str, float]:
    """Measure a case in processes of its own."""
    number = CASES[name].processes
    start = [sys.executable]
    if number > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(number)]
    command = [*start, __file__, "--case", name, "--model", str(model), "--length", str(length)]
    # Freed blocks go back to the system at once, so that the resident size is what is held.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    with tempfile.TemporaryDirectory() as folder:
        environment["MEASURED_FOLDER"] = folder
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr[-3000:]}")
    told = next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{"))
    found: dict[str, float] = json.loads(told)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--length", type=int, default=192)
    parser.add_argument("--only", default="", help="cases whose name begins with this; table: the table's")
    parser.add_argument("--json", action="store_true", help="with what each part is computed to need")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.case:
        told = measure(CASES[asked.case], asked.model, asked.length)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(told), flush=True)
        return
    wanted = TABLE if asked.only == "table" else {n: c for n, c in CASES.items() if n.startswith(asked.only)}
    with tempfile.TemporaryDirectory() as folder:
        model = asked.model.absolute() if asked.model else random_model(Path(folder) / "model")
        found = {}
        for name in wanted:
            found[name] = row = run_case(name, model, asked.length)
            if not asked.json:
                part = row["computed"] / row["measured"]
                numbers = f"{row['measured']:7.0f} MB measured {row['computed']:7.0f} computed {part:6.2f}"
                print(f"{name:34} {numbers}", flush=True)
    if asked.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
