"""Which battles become rows, and how models are trained on them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arena_learning.params.section import Name, Positive, Rate, Section


class Dataset(Section):
    """Which battles become training rows.

    Attributes:
        pairs: preference pairs from ``all`` battles, or only those of the ``target``.
        max_words: longest answer that is trained on, in words (0: any).
        max_rows: most rows a round keeps, those with the widest gaps (0: all).
        opponents: whose battles become rows, beside the target's own; empty for all.
    """

    pairs: Literal["all", "target"] = "all"
    max_words: int = Field(default=0, ge=0)
    max_rows: int = Field(default=0, ge=0)
    opponents: tuple[Name, ...] = ()


class Optimiser(Section):
    """What every kind of training shares.

    Attributes:
        epochs: passes over the rows.
        learning_rate: peak rate of AdamW.
        batch_size: rows a step; reached by accumulation.
        device_batch_size: rows at once on the device.
        max_length: longest row in tokens; what is longer is cut or dropped, and counted.
        warmup_ratio: share of the steps with a rising rate.
        lora_rank: 0 trains all weights; else LoRA adapters, merged at the end.
        lora_alpha: LoRA's scale.
    """

    epochs: float = Field(default=1, gt=0)
    learning_rate: Rate = 1e-5
    batch_size: Positive = 8
    device_batch_size: Positive = 1
    max_length: Positive = 1024
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    lora_rank: int = Field(default=0, ge=0)
    lora_alpha: int = Field(default=32, ge=1)


class Sft(Optimiser):
    """Supervised fine-tuning on the winners' answers."""


class Dpo(Optimiser):
    """Direct preference optimisation.

    Attributes:
        beta: weight of the divergence from the start.
        sft_weight: weight of the chosen answer's own likelihood beside the preference loss (0: none, the paper's).
            Without it a small model may lower both likelihoods and fall back into loops.
    """

    beta: float = Field(default=0.3, gt=0)
    sft_weight: float = Field(default=0.0, ge=0)


class Ppo(Optimiser):
    """Reward model, then PPO.

    Attributes:
        reward: training of the reward model.
        value: what predicts the score: a ``model`` of its own that starts as the reward model, or a ``head`` on the
            policy (a third less memory; the policy's weights learn both).
        kl: coefficient of the divergence from the start in the reward.
        max_tokens: longest sampled response.
        temperature: of the sampled responses.
        ppo_epochs: optimisation passes over each batch of samples.
        missing_eos_penalty: taken off the reward of a response that does not end (0: none).
    """

    reward: Optimiser = Optimiser()
    value: Literal["model", "head"] = "model"
    kl: float = Field(default=0.4, ge=0)
    max_tokens: Positive = 64
    temperature: float = Field(default=0.7, gt=0, le=2)
    ppo_epochs: Positive = 1
    missing_eos_penalty: float = Field(default=1.0, ge=0)


class Rl(Optimiser):
    """Online reinforcement learning: the start answers each prompt several times, and a judge's word is the reward.

    Attributes:
        judge: a judge of `judges` whose word is the reward. Must be named.
        monitor: another judge, whose score is watched beside the reward and never learnt from. Must be named: a rise
            of the reward alone is what reward hacking looks like.
        reward: the judge's ``score`` of an answer (1 to 10), or its ``win_rate`` (0 to 1): the mean of win, tie and
            loss (1, 0.5, 0) over the answers that it meets.
        against: whom an answer meets where answers are compared: the recorded ``opponents`` of the round, the other
            answers of its ``group``, or ``both``. Under a judge that scores one answer by itself, a ``score`` needs no
            meeting.
        group: answers sampled to each prompt.
        batch_size: prompts a step; each is answered ``group`` times.
        device_batch_size: answers at once on the device.
        max_length: longest prompt and answer in tokens; a prompt that leaves less than ``max_tokens`` is dropped, and
            counted.
        kl: coefficient of the divergence from the start: in the reward (rloo), in the loss (grpo). Mind the reward's
            range.
        max_tokens: longest sampled answer.
        temperature: of the sampled answers.
        max_judge_calls: most games that the reward's judge and the monitor may be asked in a training; one that could
            need more stops before it starts (0: any number). What the store remembers is counted too.
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
    """REINFORCE, an answer's baseline being the mean reward of the others of its group (arXiv 2402.14740)."""


class Grpo(Rl):
    """Group-relative policy optimisation (arXiv 2402.03300).

    Attributes:
        scale: divide an answer's advantage by the standard deviation of the rewards of its ``group``, of the ``batch``,
            or by nothing (``none``; arXiv 2503.20783).
        loss: how tokens are weighed, by TRL's name: ``grpo`` (a mean over each answer), ``dapo`` or ``bnpo`` (a mean
            over all tokens), ``dr_grpo`` (a sum over a constant length).
    """

    kl: float = Field(default=0.0, ge=0)
    scale: Literal["group", "batch", "none"] = "group"
    loss: Literal["grpo", "dapo", "bnpo", "dr_grpo"] = "dapo"


class Train(Section):
    """Training.

    Attributes:
        device: ``auto`` takes a GPU where there is one.
        precision: ``fp32``, or ``bf16`` autocast (slower than fp32 on most CPUs). Weights are kept in fp32.
        sft: of rounds with method ``sft``.
        dpo: of rounds with method ``dpo``.
        ppo: of rounds with method ``ppo``.
        rloo: of rounds with method ``rloo``.
        grpo: of rounds with method ``grpo``.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    sft: Sft = Sft()
    dpo: Dpo = Dpo()
    ppo: Ppo = Ppo()
    rloo: Rloo = Rloo()
    grpo: Grpo = Grpo()
