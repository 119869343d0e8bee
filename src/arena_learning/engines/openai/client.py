"""The client of an endpoint: its secret key, its connections, and the classification of failed requests.

The key is read from the environment and is kept only here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple

from arena_learning.core import ArenaError
from arena_learning.params import Endpoint


class RawReply(NamedTuple):
    """A response: its status, its body (with the secret key removed) and its headers."""

    status: int
    text: str
    headers: Mapping[str, str]


class RetryLater(NamedTuple):
    """A failed request that may succeed when it is repeated.

    Attributes:
        reason: short description of the failure.
        busy: whether the server was too busy; such a request is repeated as long as others are answered.
        answered: whether the server may have generated an answer.
        wait: seconds that the server asks to wait, or None.
        alive: whether the server replied with status 200, so that it is not down.
        unreadable: whether that reply was not a completion.
    """

    reason: str
    busy: bool = False
    answered: bool = False
    wait: float | None = None
    alive: bool = False
    unreadable: bool = False


def _broken(error: Exception) -> RetryLater:
    """Classify a connection error by its underlying causes, because the client calls several of them a timeout."""
    import aiohttp

    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    unmade = any(isinstance(e, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError) for e in causes)
    if any(isinstance(e, TimeoutError) for e in causes):
        return RetryLater("a timeout", answered=not unmade)
    first = next((e for e in causes if isinstance(e, aiohttp.ClientError)), causes[-1])
    name = "ConnectError" if unmade else type(first).__name__
    return RetryLater(f"a broken connection ({name})", busy=unmade, answered=not unmade)


class Client:
    """Sends requests to one endpoint, with a limited number in flight.

    Args:
        endpoint: settings of the endpoint.
        where: the endpoint's section of params.yaml, for errors.

    Raises:
        ArenaError: the client is not installed, or the key's environment variable is not set.
    """

    def __init__(self, endpoint: Endpoint, where: str) -> None:
        self._endpoint, self._where = endpoint, where
        self._key = read_key(endpoint, where)
        self._client = self._open()

    async def post(self, body: dict[str, Any]) -> RawReply | RetryLater:
        """Send one request; every response with a status is returned as `RawReply`."""
        import httpx2

        import openai

        try:
            # The client's low-level method: its typed methods take twice the time because they validate types.
            reply = await self._client.post(
                "/chat/completions", cast_to=httpx2.Response, body=body, options={"headers": self._headers}
            )
        except openai.APIConnectionError as error:
            return _broken(error)
        except openai.APIStatusError as error:
            reply = error.response
        return RawReply(reply.status_code, self.scrub(reply.text), reply.headers)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def scrub(self, text: str) -> str:
        """Return a server's text with the secret key removed, in case the server echoes it."""
        return scrub(text, self._key)

    def _open(self) -> Any:
        try:
            import aiohttp  # noqa: F401 - the client's faster transport
            import httpx2

            import openai

            # The client looks into httpx wherever something has imported it. Another thread that is in the middle of
            # importing it (transformers does) would leave it half empty.
            with suppress(ImportError):
                import_module("httpx")  # not needed otherwise
        except ImportError:
            raise ArenaError(
                "the openai client is not installed",
                where=f"{self._where}.engine: openai",
                hint="pip install 'arena-learning[openai]'",
            ) from None
        self._headers = sent_headers(self._endpoint, self._key)
        seconds = self._endpoint.timeout
        return openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=self._endpoint.base_url,
            max_retries=0,
            default_query=self._endpoint.query,
            # httpx2's own pool checks every connection for each request, which dominates at 200 requests in flight.
            http_client=openai.DefaultAioHttpClient(
                timeout=httpx2.Timeout(seconds, connect=min(10.0, seconds)),
                # On redirects to another host the client removes the Authorization header, but no other one.
                follow_redirects=not self._endpoint.api_key_header,
                limits=httpx2.Limits(
                    max_connections=self._endpoint.concurrency, max_keepalive_connections=None
                ),
            ),
        )


def read_key(endpoint: Endpoint, where: str) -> str:
    """Return the endpoint's secret key, or nothing if it needs none.

    Raises:
        ArenaError: its environment variable is not set.
    """
    name = endpoint.api_key_env
    key = os.environ.get(name, "").strip() if name else ""
    if name and not key:
        raise ArenaError(
            f"the environment variable {name} is not set",
            where=f"{where}.api_key_env",
            hint=f"export {name}=KEY",
        )
    return key


def sent_headers(endpoint: Endpoint, key: str) -> dict[str, Any]:
    """Return the headers of each request: the key in its header, and marks for those that are not sent.

    Headers that the client would take from the environment are not sent: a run must not depend on them.
    """
    import openai

    header = endpoint.api_key_header
    bare = not key or (header and header.lower() != "authorization")
    left_out = ["OpenAI-Organization", "OpenAI-Project", *(["Authorization"] if bare else [])]
    headers: dict[str, Any] = {name: openai.Omit() for name in left_out}
    return headers | ({header: key} if header else {})


def scrub(text: str, key: str) -> str:
    """Return ``text`` with the secret key removed."""
    return text.replace(key, "***") if key else text
