"""The section about OpenAI-compatible endpoints, which opponents and judges share."""

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
        batch: send requests by the Batch API: as a file whose answers come within a day, at a lower price with most
            services. Stored answers are the same as without.
        batch_poll: batch: seconds between two looks at a batch.
        batch_wait: batch: hours after which a run stops waiting. The batch goes on, and the next run takes its answers.
        batch_requests: batch: most requests of one batch.
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
    batch: bool = False
    batch_poll: float = Field(default=60.0, gt=0)
    batch_wait: float = Field(default=36.0, gt=0)
    batch_requests: Positive = 50_000

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

    def check_address(self, engine: str) -> None:
        """Raise a ValueError if the engine needs an address and has none, or has no use for a batch."""
        if engine == "openai" and not self.base_url:
            raise ValueError("engine openai needs 'base_url'")
        if self.batch and engine != "openai":
            raise ValueError(f"batch is for engine openai, not for {engine or 'a judge without an engine'}")

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
