"""The engine for OpenAI-compatible endpoints: `vllm serve`, llama.cpp, Ollama, hosted services.

Requests are sent from an event loop in its own thread. Answers are returned one by one, so the caller can store each
immediately. Status 408, 409, 429 and 5xx, timeouts, broken connections, malformed bodies and empty answers are retried,
nothing else. An error that concerns one conversation refuses that conversation; an error that concerns every request
stops the run.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any

from arena_learning.core import ArenaError, SplitAnswer, canonical, logger, split_text
from arena_learning.engines.base import Answered, Completion, Conversation, Refused
from arena_learning.engines.openai import control_tokens as control
from arena_learning.engines.openai.client import Client, RetryLater
from arena_learning.engines.openai.errors import EndpointError, classify_error, refusal_hint
from arena_learning.engines.openai.rate_limit import LONGEST_PAUSE, RateLimiter, backoff
from arena_learning.engines.openai.reply import BYTES_A_TOKEN, EMPTY, Malformed, read_reply
from arena_learning.engines.openai.request import request_body, sampled
from arena_learning.engines.openai.run import EndpointRun, LoopThread, groups
from arena_learning.params import Endpoint, Sampling

VERSION = "1"  # of the conversion from conversation to request
_ALL_REFUSED = 20  # after this many refusals without an answer, the cause is not the conversations
_HEAD_START = 0.25  # seconds that the first request gets to show whether every request would fail


class OpenAi:
    """Answers through an endpoint.

    Greedy answers count as independent of the batch, because clients cannot choose a server's batches.

    Args:
        model: name of the model at the endpoint.
        endpoint: settings of the endpoint.
        system: system prompt for conversations that have none.
        where: the endpoint's section of params.yaml, for errors.
        first_wait: seconds before the first retry.

    Attributes:
        maybe_twice: number of repeated requests whose first answer may have been generated too.

    Raises:
        ArenaError: the client is not installed, or the key's environment variable is not set.
    """

    batch_exact = True
    max_top_logprobs = 20  # OpenAI's limit, and vLLM's default limit

    def __init__(
        self, model: str, endpoint: Endpoint, *, system: str = "", where: str = "", first_wait: float = 1.0
    ) -> None:
        self._model, self._endpoint, self._system, self._where = model, endpoint, system, where
        self._first_wait, self.maybe_twice = first_wait, 0
        self.batch_size = 16 * endpoint.concurrency
        self._pace = RateLimiter(endpoint.requests_per_minute, endpoint.tokens_per_minute)
        self._client = Client(endpoint, where)
        self._thread = LoopThread()
        self._closed, self._closing = threading.Event(), threading.Lock()
        self._running: Future[None] | None = None  # the requests of the latest call
        self._met = False  # whether any reply has ever arrived
        self.fingerprint = _fingerprint(model, endpoint, system)
        # The fingerprint of the same endpoint before its deployment got a name.
        nameless = endpoint.model_copy(update={"deployment": ""})
        self.older_fingerprints = [_fingerprint(model, nameless, system)] if endpoint.deployment else []

    def variant(self, conversation: Conversation) -> str:
        """Return the store key's mark for a changed prompt; see `base.Versioned`.

        The list of control tokens has grown, so prompts changed for conversations with a token of the later list.
        """
        later = any(control.has_later_marks(turn.content) for turn in conversation)
        return f"controls {control.VERSION}" if later else ""

    def said(self, text: str) -> SplitAnswer:
        """Split an answer that was stored with its thought; see `base.Versioned`."""
        return split_text(text)

    def respond(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion | Refused]:
        """Answer each conversation, in order; see `base.Engine`."""
        found = dict(pair for group in self.stream(conversations, sampling) for pair in group)
        return [found[place] for place in range(len(conversations))]

    def stream(self, conversations: Sequence[Conversation], sampling: Sampling) -> Iterator[list[Answered]]:
        """Yield answers as they arrive; see `base.Streaming`. Closing the iterator cancels requests in flight."""
        return self.respond_with_logprobs(conversations, sampling, 0)

    def respond_with_logprobs(
        self, conversations: Sequence[Conversation], sampling: Sampling, top_logprobs: int
    ) -> Iterator[list[Answered]]:
        """Yield answers with the most probable tokens, if the endpoint reports them; see `ReportsLogprobs`."""
        if not conversations:
            return
        run = EndpointRun(conversations, sampling, top_logprobs)
        with self._closing:
            self._check_open()
            future = self._running = self._thread.start(self._all(run))
        future.add_done_callback(lambda _: run.done.put(None))
        try:
            yield from groups(run)
            future.result()
        except CancelledError:
            raise self._was_closed() from None
        finally:
            future.cancel()
            self.maybe_twice += run.maybe_twice
            self._say(run)

    def close(self) -> None:
        """Close the connections and stop the event loop's thread.

        Another thread may call it: what is being answered ends in an `ArenaError`, and answers that have arrived are
        yielded before.
        """
        self._closed.set()
        with self._closing:
            if self._thread.running:
                if self._running is not None:
                    self._running.cancel()
                self._thread.start(self._client.close()).result(timeout=10)
                self._thread.stop()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise self._was_closed()

    def _was_closed(self) -> ArenaError:
        return self._error("the engine was closed while it was answering", "open it again")

    async def _all(self, run: EndpointRun) -> None:
        """Answer all conversations with one worker per allowed request in flight; the first error stops all."""
        count = min(self._endpoint.concurrency, len(run.conversations))
        workers = [asyncio.create_task(self._work(run))]
        try:
            if not self._met:  # one request shows an invalid key or an exhausted quota
                with suppress(TimeoutError):
                    await asyncio.wait_for(run.heard.wait(), _HEAD_START)
            if not workers[0].done():
                workers += [asyncio.create_task(self._work(run)) for _ in range(count - 1)]
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, run: EndpointRun) -> None:
        for place in run.places:
            run.done.put((place, await self._answer(run.conversations[place], run)))

    async def _answer(self, conversation: Conversation, run: EndpointRun) -> Completion | Refused:
        """Send requests until there is an answer or a refusal.

        If a request keeps failing while others are answered, it is refused; if the server was only busy, it is retried
        further. If no request gets a reply any more, the endpoint is down.
        """
        body = request_body(self._model, self._endpoint, self._system, conversation, run)
        size = sum(len(message["content"].encode()) for message in body["messages"])
        guessed = size // BYTES_A_TOKEN + run.sampling.max_tokens
        failures = empty = alive_before = 0
        while True:
            await self._pace.take(guessed)
            run.sent += 1
            result = await self._send(body, size, run)
            if not isinstance(result, RetryLater):
                run.alive += 1
                if isinstance(result, Completion):
                    run.answered, run.unanswered, run.fruitless = run.answered + 1, 0, 0
                    self._pace.settle(guessed, result.prompt_tokens + result.completion_tokens)
                return result
            failures += 1
            empty += result.reason == EMPTY
            if failures == 1:
                alive_before = run.alive
            run.alive += result.alive
            self._count(result, run)
            # If no conversation gets an answer, one request each is enough: retries would only cost.
            hopeless = run.fruitless >= _ALL_REFUSED and result.alive and not result.unreadable
            if failures > self._endpoint.retries or hopeless:
                if run.alive == alive_before:
                    raise self._down(failures, result)
                if not result.busy:
                    return self._refuse_conversation(result, failures, empty, run)
                failures, empty, alive_before = 1, 0, run.alive
            await self._wait(result, failures)

    def _refuse_conversation(self, last: RetryLater, failures: int, empty: int, run: EndpointRun) -> Refused:
        """Return why a conversation gets no answer; raise an error if the cause is not the conversations."""
        run.fruitless += last.alive and not last.unreadable
        if last.reason == EMPTY:
            return Refused(f"{EMPTY}, {empty} times")
        if last.unreadable or not last.alive:
            run.unanswered += 1
            if run.unanswered >= _ALL_REFUSED:
                raise self._error(
                    f"{run.unanswered} conversations in a row got no answer, the last after {failures} attempts: "
                    f"{last.reason}",
                    "check base_url (most end in /v1) and the server's log, then run again: stored answers are kept",
                )
        return Refused(f"{failures} attempts failed, the last by {last.reason}", passing=True)

    async def _send(
        self, body: dict[str, Any], size: int, run: EndpointRun
    ) -> Completion | Refused | RetryLater:
        """Send one request and classify the reply. Raises ArenaError for errors that every request would get."""
        try:
            sent = await self._client.post(body)
        finally:
            self._met = True
            run.heard.set()
        if isinstance(sent, RetryLater):
            return sent
        if not 200 <= sent.status < 300:
            return self._refusal(sent.status, sent.text, sent.headers, run)
        found, unknown = read_reply(sent.text, size, run.sampling.max_tokens)
        if unknown:
            run.unknown[unknown] += 1
        if not isinstance(found, Malformed):
            return found
        if found.status:  # an error that was sent with status 200
            result = self._refusal(found.status, sent.text, sent.headers, run)
            if isinstance(result, RetryLater):
                return result._replace(alive=True, answered=True, busy=False, unreadable=True)
            return result
        return RetryLater(found.reason, answered=True, alive=True, unreadable=found.unreadable)

    def _refusal(
        self, status: int, body: str, headers: Mapping[str, str], run: EndpointRun
    ) -> Refused | RetryLater:
        """Classify an error; raise those that stop the run."""
        trouble = classify_error(status, body, headers)
        if trouble.kind in ("limited", "failed"):
            busy = trouble.kind == "limited" or status in (408, 503)
            return RetryLater(trouble.what, busy=busy, wait=trouble.wait)
        if trouble.kind in ("quota", "ours"):
            raise self._stopped(trouble)
        if trouble.kind == "request":
            run.refused += 1
            if run.refused >= _ALL_REFUSED and not run.answered:
                raise self._error(
                    f"the endpoint refuses every request: {trouble.what}",
                    "check the keys model, omit and extra_body",
                )
        return Refused(trouble.what)

    def _stopped(self, trouble: EndpointError) -> ArenaError:
        variable = self._endpoint.api_key_env
        if trouble.kind == "quota":
            return self._error(
                f"the endpoint's quota is used up: {trouble.what}",
                f"top up, wait until it is renewed, or put another key in {variable or 'api_key_env'}; "
                "then run again: stored answers are kept",
            )
        hint = refusal_hint(trouble.status, trouble.what, self._endpoint, self._model)
        return self._error(f"the endpoint refuses: {trouble.what}", hint)

    async def _wait(self, again: RetryLater, failures: int) -> None:
        # An empty answer does not mean that the server is busy, so the wait does not grow.
        wait = backoff(1 if again.reason == EMPTY else failures, self._first_wait)
        if again.wait is not None:
            if again.wait > LONGEST_PAUSE:
                raise self._error(
                    f"the endpoint asks to wait {again.wait:.0f} s ({again.reason})",
                    "run again after that time: stored answers are kept",
                )
            self._pace.pause(again.wait)
            wait = again.wait + min(wait, 0.1 * again.wait)
        await asyncio.sleep(wait)

    def _count(self, again: RetryLater, run: EndpointRun) -> None:
        run.again[again.reason.split(":")[0]] += 1
        run.maybe_twice += again.answered

    def _down(self, attempts: int, last: RetryLater) -> ArenaError:
        if last.reason.startswith(("status 429", "status 409")):
            return self._error(
                f"the endpoint accepts no more requests: {attempts} attempts, the last ended in {last.reason}",
                "set requests_per_minute or lower concurrency, then run again: stored answers are kept",
            )
        return self._error(
            f"the endpoint is down: {attempts} attempts, the last ended in {last.reason}",
            "start it and run again: stored answers are kept",
        )

    def _error(self, what: str, hint: str) -> ArenaError:
        place = f"{self._where} ({self._endpoint.base_url})" if self._where else self._endpoint.base_url
        return ArenaError(self._client.scrub(what), where=place, hint=hint)

    def _say(self, run: EndpointRun) -> None:
        """Report repeated requests and unknown finish reasons on standard error."""
        address = self._endpoint.base_url
        if run.again:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in run.again.most_common(5))
            logger.info(
                f"{address}: {run.answered} answers from {run.sent} requests; repeated: {reasons}; "
                f"of these {run.maybe_twice} may have been generated twice"
            )
        for reason, count in run.unknown.most_common(5):
            logger.info(
                f"{address}: unknown finish_reason {reason!r} ({count} answers): treated as stop, or as length if "
                "max_tokens were generated"
            )


def _fingerprint(model: str, endpoint: Endpoint, system: str) -> dict[str, str]:
    """Return every setting of an endpoint that could change an answer; later additions only if they are set."""
    if endpoint.deployment:
        place = {"deployment": endpoint.deployment}
    else:
        place = {"base_url": endpoint.base_url.rstrip("/")}
        if endpoint.query:
            place["query"] = canonical(endpoint.query)
    later = control.has_later_marks(system)
    return {
        "engine": "openai",
        "version": VERSION,
        **place,
        "model": model,
        "system": system,
        "controls": control.VERSION if later else control.FIRST_VERSION,
        "sent": canonical([sorted(sampled(endpoint, Sampling())), endpoint.extra_body]),
    }
