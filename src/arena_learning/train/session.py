"""A training in this process: load, check, encode, train, measure, save.

Of several processes all do the same, and the first one writes the files.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from arena_learning.core import Progress, fresh_beside, logger, move_into_place
from arena_learning.schema import Instruction, PreferenceRow, SftRow
from arena_learning.train import encode, processes
from arena_learning.train.arguments import (
    EMULATED,
    check_footprint,
    choose_device,
    choose_precision,
    computes_bf16,
)
from arena_learning.train.checkpoint import json_digest, start_digest
from arena_learning.train.diagnostics import no_rows, training_warnings
from arena_learning.train.load import load_start, quiet_libraries
from arena_learning.train.loop import Job, Trained
from arena_learning.train.measure import peak_memory_mb, relative_change
from arena_learning.train.memory import check_memory, memory_of, running_strategy
from arena_learning.train.model_size import model_size
from arena_learning.train.report import Cost, Method, Name, Phase, RowCount, TrainReport, WeightChange
from arena_learning.train.save import copy_model, write_model

if TYPE_CHECKING:
    from arena_learning.params import Train
    from arena_learning.train.online import RewardInputs

Rows = Sequence[SftRow] | Sequence[PreferenceRow] | Sequence[Instruction]
LIBRARIES = ("torch", "transformers", "trl", "peft")
# The reward model is a judge to be asked again, not a start to train from: half the size is enough.
REWARD_DTYPE = "bfloat16"


@dataclass
class Session:
    """One call of `train_round`; see there for the fields."""

    method: Method
    init: Path
    out: Path
    params: Train
    seed: int
    checkpoints: Path
    trust_remote_code: bool
    progress: Callable[..., Progress]
    phases: list[Phase] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    resumed: dict[str, int] = field(default_factory=dict)
    reward_folder: Path | None = None
    rewards: RewardInputs | None = None
    judged: int = 0

    def run(self, rows: Rows) -> TrainReport:
        """Train on ``rows``, write the model, and report."""
        quiet_libraries()
        device = choose_device(self.params)
        precision = processes.from_first(lambda: choose_precision(self.params))
        self.params = self.params.model_copy(update={"precision": precision})
        if precision == "bf16" and not computes_bf16(device) and processes.is_first():
            logger.warning(f"{EMULATED}; set it to auto")
        settings = getattr(self.params, self.method)
        check_footprint(f"train.{self.method}", settings)
        if self.method == "ppo":
            check_footprint("train.ppo.reward", settings.reward)
        began = time.monotonic()
        job = self._job(rows)
        encoder = encode.Encoder(job.start.form)
        self.seconds["prepare"] = time.monotonic() - began
        trained = self._train(job, encoder, rows)
        if trained is None:
            if processes.is_first():
                copy_model(self.init, self.out)
            return self._report(device, WeightChange(), rows=0)
        began = time.monotonic()
        change = self._save(job, trained) if processes.is_first() else WeightChange()
        self.seconds["save"] = time.monotonic() - began
        return self._report(device, change, rows=self.phases[-1].rows.kept)

    def _job(self, rows: Rows) -> Job:
        from transformers import set_seed

        set_seed(self.seed)
        start = load_start(self.init, self.trust_remote_code)
        content = [row.model_dump(mode="json") for row in rows]
        versions = {name: version(name) for name in LIBRARIES}
        inputs = json_digest([self.method, self.seed, content, start_digest(self.init), versions])
        return Job(start, self.params, self.seed, self.checkpoints, self.progress, inputs)

    def _train(self, job: Job, encoder: encode.Encoder, rows: Sequence[Any]) -> Trained | None:
        """Run the method's trainers; None where no row is left to learn from."""
        if self.method == "ppo":
            return self._train_ppo(job, encoder, rows)
        if self.method == "rloo" or self.method == "grpo":
            return self._train_online(self.method, job, encoder, rows)
        if self.method in ("sft", "rft"):
            from arena_learning.train.sft import train_sft

            settings = self.params.sft if self.method == "sft" else self.params.rft
            encoded = encode.encode_sft(encoder, rows, settings.max_length)
            self._check_memory(max((len(row["input_ids"]) for row in encoded.rows), default=1))
            trained = train_sft(job, settings, encoded, self.method) if encoded.rows else None
        else:
            from arena_learning.train.dpo import train_dpo

            encoded = encode.encode_pairs(encoder, rows, self.params.dpo.max_length, cut_long=True)
            self._check_memory(max(map(encode.pair_length, encoded.rows), default=1))
            trained = train_dpo(job, self.params.dpo, encoded) if encoded.rows else None
        self._note(self.method, encoded.tally, trained)
        return trained

    def _train_ppo(self, job: Job, encoder: encode.Encoder, rows: Sequence[Any]) -> Trained | None:
        from arena_learning.train.ppo import train_ppo
        from arena_learning.train.reward import train_reward

        settings = self.params.ppo
        pairs = encode.encode_pairs(encoder, rows, settings.reward.max_length, cut_long=False)
        prompts = encode.encode_prompts(encoder, rows, settings.max_length - settings.max_tokens)
        if not pairs.rows or not prompts.rows:
            self._note("reward", pairs.tally, None)
            self._note("ppo", prompts.tally, None)
            return None
        self._check_memory()
        reward = train_reward(job, settings.reward, pairs)
        gc.collect()  # where several processes train, a trainer holds itself, and the reward model with it
        self.phases.append(reward.phase)
        self.seconds["reward"] = reward.seconds
        if reward.resumed_from:
            self.resumed["reward"] = reward.resumed_from
        self.reward_folder = reward.folder
        trained = train_ppo(job, settings, prompts, reward)
        self._note("ppo", prompts.tally, trained)
        return trained

    def _train_online(
        self, method: Literal["rloo", "grpo"], job: Job, encoder: encode.Encoder, rows: Sequence[Any]
    ) -> Trained | None:
        from arena_learning.train.online import train_online

        settings = self.params.online(method)
        encoded = encode.encode_instructions(encoder, rows, settings.max_length - settings.max_tokens)
        if not encoded.rows or self.rewards is None:
            self._note(method, encoded.tally, None)
            return None
        self._check_memory()
        trained, figures, judged = train_online(job, method, settings, encoded, self.rewards)
        self.judged = processes.total(judged)
        self._note(method, encoded.tally, trained)
        self.phases[-1] = self.phases[-1].model_copy(update={"figures": figures})
        return trained

    def _check_memory(self, longest: int = 0) -> None:
        """Refuse what the GPU has no room for; ``longest`` is the longest row in tokens, if rows are known."""
        if choose_device(self.params) != "cuda":
            return
        import torch

        need = memory_of(
            self.method,
            model_size(self.init, self.trust_remote_code),
            self.params,
            processes=processes.count(),
            strategy=running_strategy(),
            longest=longest,
        )
        free, _ = torch.cuda.mem_get_info()
        check_memory(f"train.{self.method}", need._replace(context=0.0), free)  # CUDA's own is taken already

    def _note(self, name: Name, count: RowCount, trained: Trained | None) -> None:
        if trained is None:
            self.phases.append(Phase(name=name, rows=count))
            return
        self.phases.append(_phase(name, count, trained))
        self.seconds[name] = trained.seconds
        if trained.resumed_from:
            self.resumed[name] = trained.resumed_from

    def _save(self, job: Job, trained: Trained) -> WeightChange:
        before = relative_change(self.init, trained.model.state_dict())
        temporary = fresh_beside(self.out)
        write_model(trained.model, job.start, temporary)
        after = relative_change(self.init, temporary)
        if self.reward_folder is not None:
            self._save_reward(job, self.reward_folder, temporary / "reward_model")
        move_into_place(temporary, self.out)
        return WeightChange(before_saving=before, after_saving=after)

    def _save_reward(self, job: Job, trained: Path, folder: Path) -> None:
        from arena_learning.train.load import load_scorer

        write_model(load_scorer(job.start, trained, self.seed), job.start, folder, dtype=REWARD_DTYPE)

    def _report(self, device: str, change: WeightChange, rows: int) -> TrainReport:
        settings, precision = getattr(self.params, self.method), self.params.precision
        found = training_warnings(self.phases, change, settings) if rows else [no_rows("all were dropped")]
        for line in found if processes.is_first() else ():
            logger.warning(line)
        seconds = {name: value for name, value in self.seconds.items() if value and name not in self.resumed}
        speed = {
            phase.name: phase.rows.tokens * settings.epochs / seconds[phase.name]
            for phase in self.phases
            if phase.name in ("sft", "rft", "dpo") and phase.name in seconds
        }
        return TrainReport(
            method=self.method,
            rows=rows,
            phases=tuple(self.phases),
            weight_change=change,
            settings=settings.learnt_by() | {"seed": self.seed, "precision": precision},
            versions={name: version(name) for name in LIBRARIES},
            device=device,
            warnings=tuple(found),
            cost=Cost(
                seconds={name: round(value, 2) for name, value in self.seconds.items()},
                tokens_per_second={name: round(value, 1) for name, value in speed.items()},
                peak_memory_mb=round(peak_memory_mb()),
                resumed_from=self.resumed,
                judged=self.judged,
                processes=processes.count(),
            ),
        )


def _phase(name: Name, count: RowCount, trained: Trained) -> Phase:
    figures = {}
    if name == "ppo":
        # An entry of the curve may stand for several updates, so the share is of those that were logged.
        logged = len(trained.curve) * trained.curve[-1]["episode"] / trained.steps if trained.curve else 0.0
        figures = {"sampled": round(logged), "ended": sum(point["ended"] for point in trained.curve)}
    return Phase(name=name, rows=count, steps=trained.steps, curve=trained.curve, figures=figures)
