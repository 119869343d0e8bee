"""Sections about judges: each judge's settings, and which one the rounds use."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from pydantic import Field, model_validator

from arena_learning.params.contestants import LocalModel, VllmModel, check_replicas
from arena_learning.params.endpoint import Endpoint
from arena_learning.params.section import Name, Positive, Section


class JudgeParams(Endpoint, LocalModel):
    """A judge.

    Attributes:
        kind: ``rubric`` (the criteria of the pool's rubrics), ``reference`` (similarity to the reference answer),
            ``llm``, ``reward`` (a reward model), ``jury`` (several judges), ``replay`` (recorded verdicts) or
            ``longer`` (baseline: the longer answer wins).
        members: jury: two or more keys of ``judges``. Each member's verdicts are shared with its use outside the jury.
        combine: jury: the ``mean`` of the members' scores, or the outcome that the ``majority`` of them names (equally
            many votes: a tie), with the mean scores of those members.
        quorum: jury: least number of members that must have scored a game, else it is unscored; 0: more than half.
        points: rubric: which criteria count: ``all``, or ``content`` (without length, format and truncation).
        cosine_none: rubric: cosine similarity to a semantic criterion up to which it counts as not met.
        cosine_full: rubric: cosine similarity from which a semantic criterion is fully met; linear in between.
        tie_margin: a battle is a tie when its mean scores (1 to 10) differ by no more than this.
        engine: llm: the engine, as for opponents (``openai`` with the keys of `Endpoint`).
        vllm: llm: settings of engine ``vllm``.
        replicas: llm: copies of a local model, as in `Serving`.
        model: llm: the model, as for opponents; reward: folder or hub id of the model; replay: file of the verdicts.
        template: llm: name of a shipped prompt template, or path of a file.
        templates: llm: templates by category that replace ``template``, as ``{coding: reference-guided}``.
        scores: llm: how scores are read: ``text`` (from the reply), ``structured`` (from JSON that the engine
            enforces: openai and vllm, with a template whose verdict is JSON) or ``expected`` (the expected value over
            the score's tokens; needs log-probabilities: transformers, vllm, endpoints with logprobs).
        max_tokens: llm: limit of a verdict's length in tokens.
        temperature: llm: sampling temperature; 0 is greedy decoding.
        attempts: llm: how often the judge is asked, with a new seed each time, before a malformed verdict is unscored.
        center: reward: reward that scores 5.5.
        scale: reward: difference in reward that multiplies the odds of the score by e.
        dtype: reward: type of the weights; ``auto`` is bf16 on a GPU and fp32 on a CPU.
        end: reward: what ends an answer: the end-of-turn token (``turn``, as in this project's own training) or
            everything that the chat template writes (``template``, as published models expect). Empty: ``turn`` for a
            folder, ``template`` for a hub id.
        trust_remote_code: reward: run Python code that comes with the model, such as its own head; only if you trust
            its author.
    """

    kind: Literal["rubric", "reference", "llm", "reward", "jury", "replay", "longer"]
    members: tuple[Name, ...] = ()
    combine: Literal["mean", "majority"] = "mean"
    quorum: int = Field(default=0, ge=0)
    points: Literal["all", "content"] = "all"
    cosine_none: float = Field(default=0.30, ge=0, lt=1)
    cosine_full: float = Field(default=0.72, gt=0, le=1)
    tie_margin: float = Field(default=0.0, ge=0, lt=9)
    engine: Literal["", "transformers", "openvino", "vllm", "openai", "recorded"] = ""
    vllm: VllmModel = VllmModel()
    replicas: Positive = 1
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
        self._check_members()
        if self.kind in ("reward", "replay") and not self.model:
            raise ValueError(f"a judge of kind {self.kind} needs 'model'")
        if self.cosine_none >= self.cosine_full:
            raise ValueError("cosine_none must be below cosine_full")
        self.check_address(self.engine)
        self.check_runs_here(self.engine)
        check_replicas(self.replicas, self.engine)
        return self

    def _check_members(self) -> None:
        if self.kind != "jury":
            if self.members:
                raise ValueError("'members' are for a judge of kind jury")
            return
        twice = [name for name, count in Counter(self.members).items() if count > 1]
        if twice:
            raise ValueError(f"members names '{twice[0]}' twice, which would give it two votes")
        if len(self.members) < 2:
            raise ValueError(
                f"a jury needs two members or more, and members has {len(self.members)}; use the judge itself, or add "
                "others"
            )
        if self.quorum > len(self.members):
            raise ValueError(f"quorum is {self.quorum}, and the jury has {len(self.members)} members")


class Judging(Section):
    """Which judge the rounds use, and how the two games of a battle are merged.

    Attributes:
        name: judge of the rounds, a key of ``judges``.
        disagree: what to do when the two orders of presentation give different outcomes: ``average`` the scores, make
            the battle a ``tie``, or ``drop`` it (unscored).
    """

    name: Name = "rubric"
    disagree: Literal["average", "tie", "drop"] = "average"
