"""Record one update of TRL 1.12's PPOTrainer on models of two thousand weights, for tests/train/test_train_ppo_oracle.py.

    python tests/train/make_ppo_oracle.py

Needs trl==1.12.0 (later releases have no PPOTrainer). Writes tests/train/data/ppo_oracle.json and .safetensors. It tries
seeds until both trainers mean the same by what was sampled: no pad is sampled (TRL takes it for the end), at least one
response fills the length, and none ends in the last column (TRL then moves its score).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import numpy as np
import torch
import transformers
import trl
from datasets import Dataset
from safetensors.torch import save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer

OUT = Path(__file__).parent / "data"
PAD, END, VOCABULARY = 0, 2, 20
CONFIG = {
    "vocab_size": VOCABULARY,
    "hidden_size": 12,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
    "initializer_range": 0.4,
    "pad_token_id": PAD,
    "eos_token_id": END,
    "bos_token_id": 1,
    "use_cache": False,
}
SETTINGS = {
    "learning_rate": 0.01,
    "kl": 0.4,
    "missing_eos_penalty": 1.0,
    "passes": 3,
    "rows": 2,
    "temperature": 0.7,
    "max_tokens": 6,
}
BATCH = 8


class Look(TrainerCallback):
    """Reads the variables of `PPOTrainer.train` at the end of its update."""

    seen: ClassVar[dict[str, Any]] = {}

    def on_step_end(self, *_: object, **__: object) -> None:
        frame = sys._getframe()
        while frame.f_code.co_name != "train" or "advantages" not in frame.f_locals:
            frame = frame.f_back
        Look.seen = dict(frame.f_locals)


def tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models

    words = {"<pad>": PAD, "<s>": 1, "</s>": END} | {f"w{n}": n for n in range(3, VOCABULARY)}
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<s>")),
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="<s>",
    )
    made.padding_side = "left"
    return made


def record(seed: int, folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    """Return the record of one update, or None where the two trainers would read its samples differently."""
    torch.manual_seed(seed)
    config = LlamaConfig(**CONFIG)
    scored = LlamaConfig(**CONFIG, num_labels=1)
    models = {
        "policy": LlamaForCausalLM(config),
        "reference": LlamaForCausalLM(config),
        "reward": LlamaForSequenceClassification(scored),
        "value": LlamaForSequenceClassification(scored),
    }
    with torch.no_grad():  # a reference that is near, so that the divergence is small and not 0
        for mine, other in zip(models["reference"].parameters(), models["policy"].parameters(), strict=True):
            mine.copy_(other + 0.05 * torch.randn_like(other))
    before = {name: copied(model) for name, model in models.items()}
    draw = np.random.default_rng(seed)
    prompts = [draw.integers(3, VOCABULARY, size=2 + n % 4).tolist() for n in range(BATCH)]
    permutations: list[list[int]] = []
    permute = np.random.permutation

    def noted(count: int) -> np.ndarray:
        permutations.append(permute(count).tolist())
        return np.array(permutations[-1])

    trainer = PPOTrainer(
        args=PPOConfig(
            output_dir=str(folder),
            use_cpu=True,
            bf16=False,
            seed=seed,
            learning_rate=SETTINGS["learning_rate"],
            lr_scheduler_type="linear",
            optim="adamw_torch_fused",
            weight_decay=0.0,
            per_device_train_batch_size=SETTINGS["rows"],
            gradient_accumulation_steps=BATCH // SETTINGS["rows"],
            gradient_checkpointing=False,
            num_train_epochs=1,
            num_ppo_epochs=SETTINGS["passes"],
            num_mini_batches=1,
            kl_coef=SETTINGS["kl"],
            response_length=SETTINGS["max_tokens"],
            temperature=SETTINGS["temperature"],
            stop_token="eos",
            missing_eos_penalty=SETTINGS["missing_eos_penalty"],
            local_rollout_forward_batch_size=BATCH,
            num_sample_generations=0,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        processing_class=tokenizer(),
        model=models["policy"],
        ref_model=models["reference"],
        reward_model=models["reward"],
        value_model=models["value"],
        train_dataset=Dataset.from_list([{"input_ids": prompt} for prompt in prompts]),
        eval_dataset=Dataset.from_list([{"input_ids": prompts[0]}]),
        callbacks=[Look()],
    )
    # Else the last batch of a pass takes a step for every micro-batch.
    trainer.accelerator.gradient_state.plugin_kwargs["sync_with_dataloader"] = False
    np.random.permutation = noted
    try:
        trainer.train()
    finally:
        np.random.permutation = permute
    seen = Look.seen
    front = seen["context_length"]
    samples = []
    for row in seen["query_responses"].tolist():
        prompt, response = [token for token in row[:front] if token != PAD], row[front:]
        ended = END in response
        response = response[: response.index(END) + 1] if ended else response
        if PAD in response or (ended and len(response) == SETTINGS["max_tokens"]):
            return None
        samples.append({"prompt": prompt, "response": response, "ended": ended})
    lengths = [len(sample["response"]) for sample in samples]
    if not 1 < sum(sample["ended"] for sample in samples) < BATCH or max(lengths) < SETTINGS["max_tokens"]:
        return None
    if not float(seen["pg_clipfrac_stats"].mean()) > 0.0 < float(seen["vf_clipfrac_stats"].mean()):
        return None
    rows = SETTINGS["rows"]
    record = {
        "versions": {
            "trl": trl.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "seed": seed,
        "config": CONFIG,
        "settings": SETTINGS,
        "samples": samples,
        "passes": [[order[at : at + rows] for at in range(0, BATCH, rows)] for order in permutations],
        "figures": {
            "kl": float(seen["mean_kl"]),
            "entropy": float(seen["mean_entropy"]),
            "reward": float(seen["scores"].mean()),
            "reward_less_kl": float(seen["rlhf_reward"]),
            "loss": float(seen["pg_loss_stats"].mean()),
            "value_loss": float(seen["vf_loss_stats"].mean()),
            "clip_fraction": float(seen["pg_clipfrac_stats"].mean()),
            "val/clipfrac_avg": float(seen["vf_clipfrac_stats"].mean()),
            "ended": float(seen["contain_eos_token"].sum()),
        },
    }
    tensors = {f"{name}.{key}": tensor for name, weights in before.items() for key, tensor in weights.items()}
    for name in ("policy", "value"):
        tensors |= {f"{name}_after.{key}": tensor for key, tensor in copied(models[name]).items()}
    for name in ("logprobs", "ref_logprobs", "values", "scores", "rewards", "advantages", "returns"):
        tensors[f"seen.{name}"] = seen[name].detach().clone().contiguous()
    return record, tensors


def copied(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def main() -> None:
    torch.set_num_threads(1)
    for seed in range(1000):
        with tempfile.TemporaryDirectory() as folder:
            found = record(seed, Path(folder))
        if found is not None:
            break
    else:
        sys.exit("no seed fits")
    OUT.mkdir(exist_ok=True)
    (OUT / "ppo_oracle.json").write_text(json.dumps(found[0], indent=1) + "\n", encoding="utf-8")
    save_file(found[1], OUT / "ppo_oracle.safetensors")
    print(json.dumps(found[0]["figures"], indent=1), "seed", found[0]["seed"])


if __name__ == "__main__":
    main()
