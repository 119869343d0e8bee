"""Judges, and which of them the rounds use."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from arena_learning.params.contestants import Endpoint, LocalModel, VllmModel
from arena_learning.params.section import Name, Positive, Section


class JudgeParams(Endpoint, LocalModel):
    """A judge.

    Attributes:
        kind: ``rubric`` (the pool's checkable points), ``reference`` (similarity to the reference answer), ``llm``,
            ``reward`` (a reward model), ``replay`` (recorded verdicts) or ``longer`` (a baseline: the longer wins).
        points: rubric: ``all`` or ``content`` (no length, format or truncation).
        cosine_none: rubric: similarity to a semantic point from which it begins to be met.
        cosine_full: rubric: similarity from which it is met in full.
        tie_margin: a battle whose mean scores differ by no more than this is a tie.
        engine: llm: as for opponents (openai: `Endpoint`).
        vllm: llm: as for opponents.
        model: llm: as for opponents; reward: the model's folder or hub id; replay: the verdicts' file.
        template: llm: a shipped template's name or a file's path.
        templates: llm: another template for a category, as ``{coding: reference-guided}``.
        scores: llm: read from the ``text``; from JSON that the engine is held to (``structured``: openai and vllm, with
            a template whose verdict is JSON); or ``expected``, the expected value over the score's tokens (engines that
            tell probabilities: transformers, vllm, endpoints with logprobs).
        max_tokens: llm: length of a verdict.
        temperature: llm: 0 is greedy.
        attempts: llm: how often a malformed verdict is asked again (with another seed) before it is unscored.
        center: reward: the reward that scores 5.5.
        scale: reward: how much reward moves the score's odds by a factor of e.
        dtype: reward: type of the weights; ``auto`` is bf16 on a GPU and fp32 on a CPU.
        end: reward: where an answer ends for the model: with its end-of-turn token (``turn``), as this project trains
            its own, or with all that its chat ``template`` writes, as published ones are used. Empty: ``turn`` for a
            folder, ``template`` for a hub id.
        trust_remote_code: reward: run code that comes with the model, such as its own head. Off unless you trust its
            author.
    """

    kind: Literal["rubric", "reference", "llm", "reward", "replay", "longer"]
    points: Literal["all", "content"] = "all"
    cosine_none: float = Field(default=0.30, ge=0, lt=1)
    cosine_full: float = Field(default=0.72, gt=0, le=1)
    tie_margin: float = Field(default=0.0, ge=0, lt=9)
    engine: Literal["", "transformers", "openvino", "vllm", "openai", "recorded"] = ""
    vllm: VllmModel = VllmModel()
    model: str = ""
    template: str = "pairwise-score"
    templates: dict[str, str] = Field(default_factory=dict)
    scores: Literal["text", "structured", "expected"] = "text"
    max_tokens: Positive = 256
    temperature: float = Field(default=0.0, ge=0, le=2)
    attempts: Positive = 3
    center: float = 0.0
    scale: float = Field(default=1.0, gt=0)
    dtype: Literal["auto", "fp32", "bf16", "f16"] = "auto"
    end: Literal["", "turn", "template"] = ""
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> JudgeParams:
        if self.kind == "llm" and not (self.engine and self.model):
            raise ValueError("a judge of kind llm needs 'engine' and 'model'")
        if self.kind in ("reward", "replay") and not self.model:
            raise ValueError(f"a judge of kind {self.kind} needs 'model'")
        if self.cosine_none >= self.cosine_full:
            raise ValueError("cosine_none must be below cosine_full")
        if self.engine == "openai" and not self.base_url:
            raise ValueError("an engine openai needs 'base_url'")
        self.check_runs_here(self.engine)
        return self


class Judging(Section):
    """Which judge the rounds use, and how two games are merged.

    Attributes:
        name: the judge of the rounds.
        disagree: where the two orders name different outcomes, ``average`` the scores, call it a ``tie``, or ``drop``
            the battle (unscored).
    """

    name: Name = "rubric"
    disagree: Literal["average", "tie", "drop"] = "average"
