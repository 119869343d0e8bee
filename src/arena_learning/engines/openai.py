"""Any OpenAI-compatible endpoint: `vllm serve`, llama.cpp, Ollama, hosted ones.

Requests go out from a loop in a thread of its own and come back one by one: there is no batch to wait for, and the
caller keeps each answer as it comes. Retried are 408, 409, 429, 5xx, timeouts, broken connections and malformed
bodies, and nothing else. The key is read from the environment and stands nowhere but in the client.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any, NamedTuple

from arena_learning.engines import control
from arena_learning.engines.base import Answered, Completion, Conversation, Refused, Sampling
from arena_learning.engines.limits import Pace, backoff, retry_after
from arena_learning.engines.openai_body import request_body, sampled
from arena_learning.engines.openai_reply import BYTES_A_TOKEN, Malformed, error_text, read_reply
from arena_learning.engines.openai_run import LoopThread, Run, groups
from arena_learning.errors import ArenaError
from arena_learning.params import Endpoint
from arena_learning.rows import canonical

VERSION = "1"  # of how a conversation becomes a request
_BUSY = (408, 409, 429)
_OURS = (401, 402, 403, 404, 405, 410)  # no other request would fare better
_ALL_REFUSED = 20  # refusals without one answer from which it cannot be the conversations
_LONGEST_PAUSE = 600.0


class _Again(NamedTuple):
    """A request that failed in a way that may pass. ``answered``: the server may have done the work."""

    reason: str
    busy: bool = False
    answered: bool = False
    wait: float | None = None


def _broken(error: Exception) -> _Again:
    """Sort a request without an answer: by what lies beneath, for the client calls several things a timeout."""
    import aiohttp

    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    unmade = any(isinstance(e, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError) for e in causes)
    if any(isinstance(e, TimeoutError) for e in causes):
        return _Again("a timeout", answered=not unmade)
    first = next((e for e in causes if isinstance(e, aiohttp.ClientError)), causes[-1])
    name = "ConnectError" if unmade else type(first).__name__
    return _Again(f"a broken connection ({name})", busy=unmade, answered=not unmade)


class OpenAi:
    """Answers through an endpoint.

    A greedy answer is taken to be the same in any company: what a server batches is not for its clients to choose.

    Args:
        model: the model's name at the endpoint.
        endpoint: how it is asked.
        system: a system prompt for conversations that have none.
        where: the parameter that describes it, for errors.
        first_wait: seconds before the first retry.

    Attributes:
        maybe_twice: requests sent again whose first answer may have been made, and paid, all the same.

    Raises:
        ArenaError: the client is not installed, or the key's variable is not set.
    """

    batch_exact = True
    most_likely = 20  # what OpenAI allows, and vLLM unless told otherwise

    def __init__(
        self, model: str, endpoint: Endpoint, *, system: str = "", where: str = "", first_wait: float = 1.0
    ) -> None:
        self._model, self._endpoint, self._system, self._where = model, endpoint, system, where
        self._first_wait, self.maybe_twice = first_wait, 0
        self.batch_size = 16 * endpoint.concurrency
        self._pace = Pace(endpoint.requests_per_minute, endpoint.tokens_per_minute)
        self._key = self._read_key()
        self._client = self._open_client()
        self._thread = LoopThread()
        self.fingerprint = {
            "engine": "openai",
            "version": VERSION,
            "base_url": endpoint.base_url.rstrip("/"),
            "model": model,
            "system": system,
            "controls": control.VERSION,
            "sent": canonical([sorted(sampled(endpoint, Sampling())), endpoint.extra_body]),
        }

    def respond(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Completion]:
        """Answer each conversation, in order; see `base.Engine`. A refusal is an error here."""
        found = dict(pair for group in self.stream(conversations, sampling) for pair in group)
        completions = []
        for place, conversation in enumerate(conversations):
            answer = found[place]
            if isinstance(answer, Refused):
                start = conversation[-1].content[:60]
                raise self._error(
                    f"no answer to {start!r}: {answer.reason}", "drop or change that conversation"
                )
            completions.append(answer)
        return completions

    def stream(self, conversations: Sequence[Conversation], sampling: Sampling) -> Iterator[list[Answered]]:
        """Yield answers as they come; see `base.Streaming`. Leaving early cancels what is in flight."""
        return self.weigh(conversations, sampling, 0)

    def weigh(
        self, conversations: Sequence[Conversation], sampling: Sampling, likely: int
    ) -> Iterator[list[Answered]]:
        """Yield answers with their likeliest tokens, where the endpoint gives any; see `base.Weighing`."""
        if not conversations:
            return
        run = Run(conversations, sampling, likely)
        future = self._thread.start(self._all(run))
        future.add_done_callback(lambda _: run.done.put(None))
        try:
            yield from groups(run)
            future.result()
        except CancelledError:
            raise self._error("the engine was closed while it answered", "") from None
        finally:
            if future.cancel():
                while run.done.get() is not None:
                    pass
            self.maybe_twice += run.maybe_twice
            self._say(run)

    def close(self) -> None:
        """Close the connections and end the loop's thread."""
        if self._thread.running:
            self._thread.start(self._client.close()).result(timeout=10)
            self._thread.stop()

    async def _all(self, run: Run) -> None:
        """Answer everything with as many workers as requests may be in flight; the first error ends all."""
        workers = [
            asyncio.create_task(self._work(run))
            for _ in range(min(self._endpoint.concurrency, len(run.conversations)))
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, run: Run) -> None:
        for place in run.places:
            run.done.put((place, await self._answer(run.conversations[place], run)))

    async def _answer(self, conversation: Conversation, run: Run) -> Completion | Refused:
        """Ask until there is an answer or a refusal.

        A request that keeps failing while others are answered is refused if it is the server's fault each time, and
        goes on trying if the server was only busy. Where none is answered any more, the endpoint is down.
        """
        body = request_body(self._model, self._endpoint, self._system, conversation, run)
        size = sum(len(message["content"].encode()) for message in body["messages"])
        guessed = size // BYTES_A_TOKEN + run.sampling.max_tokens
        failures = answered_before = 0
        while True:
            await self._pace.take(guessed)
            run.sent += 1
            result = await self._send(body, size)
            if isinstance(result, _Again):
                failures += 1
                if failures == 1:
                    answered_before = run.answered
                self._count(result, run)
                if failures > self._endpoint.retries:
                    if run.answered == answered_before:
                        raise self._down(failures, result.reason)
                    if not result.busy:
                        return Refused(f"{failures} attempts failed, the last by {result.reason}")
                    failures, answered_before = 1, run.answered
                await self._wait(result, failures)
                continue
            if isinstance(result, Refused):
                run.refused += 1
                if run.refused >= _ALL_REFUSED and not run.answered:
                    raise self._error(
                        f"the endpoint refuses every request: {result.reason}",
                        "check model, omit and extra_body",
                    )
                return result
            run.answered += 1
            self._pace.settle(guessed, result.prompt_tokens + result.completion_tokens)
            return result

    async def _send(self, body: dict[str, Any], size: int) -> Completion | Refused | _Again:
        """Send one request and sort what comes back. Raises ArenaError for what would meet every request."""
        import httpx2

        import openai

        try:
            # The client's own way for what it has no method for: its methods spend as much again on checking types.
            reply = await self._client.post(
                "/chat/completions", cast_to=httpx2.Response, body=body, options={"headers": self._headers}
            )
            found = read_reply(self._scrub(reply.text), size)
        except openai.APIConnectionError as error:
            return _broken(error)
        except openai.APIStatusError as error:
            return self._refusal(error.status_code, self._scrub(error.response.text), error.response.headers)
        return _Again(found.reason, answered=True) if isinstance(found, Malformed) else found

    def _refusal(self, status: int, body: str, headers: Mapping[str, str]) -> Refused | _Again:
        """Sort an answer whose status is an error."""
        what = f"status {status}: {error_text(body)}" if body.strip() else f"status {status}"
        if status in _BUSY or status >= 500:
            return _Again(what, busy=status in _BUSY or status == 503, wait=retry_after(headers))
        if status in _OURS:
            variable = self._endpoint.api_key_env
            key = f"the key in {variable}" if variable else "api_key_env (no key is sent)"
            raise self._error(
                f"the endpoint refuses: {what}", f"check {key}, base_url and model '{self._model}'"
            )
        return Refused(what)

    async def _wait(self, again: _Again, failures: int) -> None:
        wait = backoff(failures, self._first_wait)
        if again.wait is not None:
            if again.wait > _LONGEST_PAUSE:
                raise self._error(
                    f"the endpoint asks to wait {again.wait:.0f} s ({again.reason})",
                    "run again then: what was answered so far is kept",
                )
            self._pace.pause(again.wait)
            wait = again.wait + min(wait, 0.1 * again.wait)
        await asyncio.sleep(wait)

    def _count(self, again: _Again, run: Run) -> None:
        run.again[again.reason.split(":")[0]] += 1
        run.maybe_twice += again.answered

    def _open_client(self) -> Any:
        try:
            import aiohttp  # noqa: F401 - the client's faster transport
            import httpx2

            import openai
        except ImportError:
            raise ArenaError(
                "the openai client is not installed",
                where=f"{self._where}.engine: openai",
                mend="pip install 'arena-learning[openai]'",
            ) from None
        # What the client would take from the environment is left out: a run must not depend on it.
        left_out = ["OpenAI-Organization", "OpenAI-Project", *([] if self._key else ["Authorization"])]
        self._headers = {name: openai.Omit() for name in left_out}
        seconds = self._endpoint.timeout
        return openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=self._endpoint.base_url,
            max_retries=0,
            # httpx2's own pool looks at every connection for every request: at 200 in flight that is most of the work.
            http_client=openai.DefaultAioHttpClient(
                timeout=httpx2.Timeout(seconds, connect=min(10.0, seconds)),
                limits=httpx2.Limits(
                    max_connections=self._endpoint.concurrency, max_keepalive_connections=None
                ),
            ),
        )

    def _read_key(self) -> str:
        name = self._endpoint.api_key_env
        key = os.environ.get(name, "").strip() if name else ""
        if name and not key:
            raise ArenaError(
                f"the environment variable {name} is not set",
                where=f"{self._where}.api_key_env",
                mend="export it",
            )
        return key

    def _scrub(self, text: str) -> str:
        """Return what the server sent without the key, should it send it back."""
        return text.replace(self._key, "***") if self._key else text

    def _down(self, attempts: int, reason: str) -> ArenaError:
        return self._error(
            f"the endpoint is down: {attempts} attempts, the last ended in {reason}",
            "start it and run again: what was answered so far is kept",
        )

    def _error(self, what: str, mend: str) -> ArenaError:
        place = f"{self._where} ({self._endpoint.base_url})" if self._where else self._endpoint.base_url
        return ArenaError(self._scrub(what), where=place, mend=mend)

    def _say(self, run: Run) -> None:
        """Report what was sent again, on standard error."""
        if run.again:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in run.again.most_common(5))
            sys.stderr.write(
                f"{self._endpoint.base_url}: {run.answered} answers by {run.sent} requests; sent again: {reasons}; "
                f"of these {run.maybe_twice} may be paid twice\n"
            )
