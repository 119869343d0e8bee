"""Sections about training: which battles become rows, and how models are trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from arena_learning.params.launch import Footprint, Launch
from arena_learning.params.section import Name, Positive, Rate, Section

PreferenceLoss = Literal[
    "sigmoid",
    "sigmoid_norm",
    "hinge",
    "ipo",
    "robust",
    "exo_pair",
    "nca_pair",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
]  # TRL's discopop is left out: where policy and start are equal, its slope lowers the margin
Strategy = Literal["battles", "random", "length", "kmeans", "ifd", "tags", "all"]
WINNER = "winner"  # whose answers are learnt, where no opponent is named
SMOOTHED = ("robust", "exo_pair", "aot", "aot_unpaired")  # the losses that a label smoothing changes


class Dataset(Section):
    """Which battles become training rows.

    Attributes:
        pairs: what preference pairs come from: ``all`` battles, only those of the ``target``, or the target's own
            ``samples``: the best against the worst (see ``battle.samples``).
        max_words: drop winners' answers with more words than this (0: no limit).
        max_rows: keep at most this many rows per round, those with the largest score gaps or, under another
            ``strategy``, those that it puts first (0: all).
        opponents: use only battles among these opponents and the target; empty for all opponents.
        strategy: how a round with a target chooses its instructions. ``battles`` is the method: those whose battle
            reaches the threshold, the widest gaps first. The others are what it is compared with; they know no
            threshold: ``random``; ``length`` (longest answers to learn); ``kmeans`` (as many of each cluster of
            instructions); ``ifd`` (instruction-following difficulty, arXiv 2308.12032: the target's loss on the answer
            after the instruction over its loss after an empty one, the highest below 1 first); ``tags`` (as InsTag,
            arXiv 2308.07074, chooses, but with an instruction's category and rarer words in place of a language
            model's tags: the most tags first, each adding a new one); ``all`` (every row).
        answers: whose answer an SFT round learns: the ``winner``, or always that of this opponent. Under ``battles``
            the winner is the best opponent that beat the target, else the best opponent.
        budget: how many rows a strategy chooses (0: as many as ``battles`` gives). ``all`` has none.
    """

    pairs: Literal["all", "target", "samples"] = "all"
    max_words: int = Field(default=0, ge=0)
    max_rows: int = Field(default=0, ge=0)
    opponents: tuple[Name, ...] = ()
    strategy: Strategy = "battles"
    answers: Name = WINNER
    budget: int = Field(default=0, ge=0)

    def changed_choice(self) -> dict[str, Any]:
        """Return strategy, answers and budget as far as they are not the method's own, as JSON values."""
        return self.model_dump(mode="json", include={"strategy", "answers", "budget"}, exclude_defaults=True)


# Keys that came later, at the values at which a training is what it was before them.
LATER: Mapping[str, Any] = {"frozen_layers": 0}


def without_later(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method's settings, and those of its reward model, without keys of `LATER` that change nothing.

    >>> without_later({"epochs": 1.0, "frozen_layers": 0, "reward": {"frozen_layers": 0.5}})
    {'epochs': 1.0, 'reward': {'frozen_layers': 0.5}}
    """
    return {
        key: without_later(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key not in LATER or value != LATER[key]
    }


class Optimiser(Footprint):
    """Settings that every training method shares.

    Attributes:
        epochs: passes over the rows.
        learning_rate: peak learning rate of AdamW.
        batch_size: rows per optimiser step, reached by gradient accumulation.
        device_batch_size: rows per forward pass on the device; changes memory and speed.
        max_length: limit of a row's length in tokens; longer rows are truncated or dropped, and counted.
        warmup_ratio: share of the steps in which the learning rate rises linearly.
        lora_rank: rank of LoRA adapters, which are merged at the end; 0 trains all weights.
        lora_alpha: scaling factor of LoRA (its update is multiplied by alpha / rank).
        launch: replaces ``train.launch`` for this method; none: the one of ``train``.
    """

    epochs: float = Field(default=1, gt=0)
    learning_rate: Rate = 1e-5
    batch_size: Positive = 8
    device_batch_size: Positive = 1
    max_length: Positive = 1024
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    lora_rank: int = Field(default=0, ge=0)
    lora_alpha: int = Field(default=32, ge=1)
    launch: Launch | None = None

    def learnt_by(self) -> dict[str, Any]:
        """Return the settings that the result depends on, as JSON values: all but who starts the processes.

        Without keys that came later, at values that change nothing: what was made before them stays what it is.
        """
        found = self.model_dump(mode="json", exclude={"launch": True, "reward": {"launch"}})
        return without_later(found)

    @model_validator(mode="after")
    def _one_saving(self) -> Optimiser:
        if self.frozen_layers and self.lora_rank:
            raise ValueError("LoRA freezes all layers; set frozen_layers or lora_rank to 0")
        return self


class Sft(Optimiser):
    """Supervised fine-tuning on the winners' answers."""


class Rft(Optimiser):
    """Rejection-sampling fine-tuning: supervised, on the best of the target's own samples."""


class Dpo(Optimiser):
    """Direct preference optimisation.

    Attributes:
        beta: strength of the pull towards the starting model (DPO's beta).
        sft_weight: weight of the chosen answer's negative log-likelihood, added to the preference loss (paper: 0).
            Without it a small model may lower the likelihood of both answers and start to repeat itself.
        loss: the preference loss, by TRL's name: ``sigmoid`` (DPO's own), ``sigmoid_norm`` (the same on log-ratios a
            token, so that length counts for less), ``hinge``, ``ipo`` (a squared distance a token: ``beta`` is its
            regularisation), ``robust`` (labels may be flipped), ``exo_pair``, ``nca_pair``, ``bco_pair``,
            ``sppo_hard``, ``aot``, ``aot_unpaired`` (these two compare the pairs of a device batch), ``apo_zero``
            (chosen up, rejected down) or ``apo_down`` (for chosen answers worse than the start's).
        label_smoothing: ``robust``, ``aot``, ``aot_unpaired``: share of the labels that may be wrong; ``exo_pair``:
            its epsilon, which must be above 0 (its paper: 0.001). The other losses have none.
    """

    beta: float = Field(default=0.3, gt=0)
    sft_weight: float = Field(default=0.0, ge=0)
    loss: PreferenceLoss = "sigmoid"
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)

    @model_validator(mode="after")
    def _smoothing_fits(self) -> Dpo:
        if self.label_smoothing and self.loss not in SMOOTHED:
            raise ValueError(
                f"label_smoothing changes nothing under the loss {self.loss}; set it to 0, or take "
                f"{', '.join(SMOOTHED)}"
            )
        if self.loss == "exo_pair" and not self.label_smoothing:
            raise ValueError("the loss exo_pair needs a label_smoothing above 0, such as 0.001")
        return self


class Ppo(Optimiser):
    """Training of a reward model, then PPO against it.

    Attributes:
        reward: settings of the reward model's training.
        value: what predicts the score: a separate ``model``, initially the reward model, or a ``head`` on the policy
            (a third less memory, but the policy's weights learn both).
        kl: coefficient of the KL divergence from the starting model in the reward.
        max_tokens: limit of a sampled response's length in tokens.
        temperature: sampling temperature of the responses.
        ppo_epochs: optimisation passes over each batch of samples.
        missing_eos_penalty: subtracted from the reward of a response without an end token (0: off).
    """

    reward: Optimiser = Optimiser()
    value: Literal["model", "head"] = "model"
    kl: float = Field(default=0.4, ge=0)
    max_tokens: Positive = 64
    temperature: float = Field(default=0.7, gt=0, le=2)
    ppo_epochs: Positive = 1
    missing_eos_penalty: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _launched_once(self) -> Ppo:
        if self.reward.launch is not None:
            raise ValueError("the reward model is trained in the processes of ppo; set launch in train.ppo")
        if self.activation_checkpointing or self.kernels != "none":
            raise ValueError(
                "ppo reads its samples without dropout, where transformers checkpoints no activations, and without "
                "kernels; set these two for ppo.reward alone, and save memory by lora_rank or weights: bf16"
            )
        return self


class Rl(Optimiser):
    """Online reinforcement learning: several answers are sampled for each prompt, and a judge rewards them.

    Attributes:
        judge: judge (a name in ``judges``) whose verdicts are the reward; required.
        monitor: another judge, whose scores are logged and never trained on; required. If the reward rises and the
            monitor falls, the reward is being hacked.
        reward: the judge's ``score`` of an answer (1 to 10), or its ``win_rate`` (0 to 1): mean of win (1), tie (0.5)
            and loss (0) against other answers.
        against: answers that each answer is compared with: those of the round's ``opponents``, the others of its
            ``group``, or ``both``. Not used for a ``score`` of a judge that scores one answer by itself.
        group: number of answers sampled for each prompt.
        batch_size: prompts in one step; each has ``group`` answers.
        device_batch_size: answers processed at once on the device; on a CPU, whole groups (a multiple of ``group``)
            are fastest, because a prompt is then computed once for its answers.
        max_length: limit of prompt and answer together in tokens; prompts longer than this less ``max_tokens`` are
            dropped and counted.
        kl: coefficient of the KL divergence from the starting model, in the reward (rloo) or the loss (grpo). Its
            effect depends on the range of the reward.
        max_tokens: limit of a sampled answer's length in tokens.
        temperature: sampling temperature of the answers.
        max_judge_calls: limit of the games that judge and monitor may have to judge in one training (0: none). A
            training that may need more stops before it starts. Games in the store count too.
    """

    learning_rate: Rate = 1e-6
    batch_size: Positive = 8
    device_batch_size: Positive = 8
    max_length: Positive = 1024
    judge: str = ""
    monitor: str = ""
    reward: Literal["score", "win_rate"] = "score"
    against: Literal["opponents", "group", "both"] = "opponents"
    group: int = Field(default=4, ge=2)
    kl: float = Field(default=0.05, ge=0)
    max_tokens: Positive = 64
    temperature: float = Field(default=1.0, gt=0, le=2)
    max_judge_calls: int = Field(default=20_000, ge=0)


class Rloo(Rl):
    """REINFORCE with the mean reward of the other answers of the group as the baseline (arXiv 2402.14740)."""


class Grpo(Rl):
    """Group-relative policy optimisation (arXiv 2402.03300).

    Attributes:
        scale: divisor of the advantages: standard deviation of the rewards in the ``group`` or in the ``batch``, or
            ``none`` (arXiv 2503.20783).
        loss: aggregation over tokens, by TRL's name: ``grpo`` (mean over each answer), ``dapo`` or ``bnpo`` (mean over
            all tokens), ``dr_grpo`` (sum divided by a constant length).
    """

    kl: float = Field(default=0.0, ge=0)
    scale: Literal["group", "batch", "none"] = "group"
    loss: Literal["grpo", "dapo", "bnpo", "dr_grpo"] = "dapo"


class Train(Section):
    """How models are trained, by method.

    Attributes:
        device: device of the training; ``auto`` uses a GPU if there is one.
        precision: ``fp32``, or ``bf16`` autocast: weights stay in fp32, matrix products are computed in bf16. Faster
            on GPUs and on processors with bf16 instructions; `arena doctor` warns of those without. ``auto``: bf16
            there, and fp32 elsewhere; a training's report says which it was.
        checkpoint_minutes: minutes of training between two checkpoints, from which an interrupted training goes on; a
            shorter one starts anew (0: a checkpoint after each step). Changes no result.
        launch: in how many processes. Changes no result but rounding.
        sft: settings of rounds with method ``sft``.
        rft: settings of rounds with method ``rft``.
        dpo: settings of rounds with method ``dpo``.
        ppo: settings of rounds with method ``ppo``.
        rloo: settings of rounds with method ``rloo``.
        grpo: settings of rounds with method ``grpo``.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    checkpoint_minutes: float = Field(default=10, ge=0)
    launch: Launch = Launch()
    sft: Sft = Sft()
    rft: Rft = Rft()
    dpo: Dpo = Dpo()
    ppo: Ppo = Ppo()
    rloo: Rloo = Rloo()
    grpo: Grpo = Grpo()

    def launch_of(self, method: str) -> Launch:
        """Return how a method's training is launched."""
        own: Launch | None = getattr(self, method).launch
        return own or self.launch

    def launch_problems(self, method: str) -> list[str]:
        """Return which batches of a method cannot be divided among its processes, each with its key."""
        launch, settings = self.launch_of(method), getattr(self, method)
        batches = {f"train.{method}": settings.batch_size}
        if method == "ppo":
            batches["train.ppo.reward"] = settings.reward.batch_size
        return [
            f"{place}.batch_size: {size} rows cannot be divided among {launch.processes} processes; make it a multiple"
            for place, size in batches.items()
            if size % launch.processes
        ]

    def online(self, method: str) -> Rl:
        """Return the settings of ``rloo`` or ``grpo``."""
        return self.rloo if method == "rloo" else self.grpo
