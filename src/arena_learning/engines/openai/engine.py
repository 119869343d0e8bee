"""Any OpenAI-compatible endpoint: `vllm serve`, llama.cpp, Ollama, hosted ones.

Requests go out from a loop in a thread of its own and come back one by one: there is no batch to wait for, and the
caller keeps each answer as it comes. Retried are 408, 409, 429, 5xx, timeouts, broken connections, malformed bodies and
empty answers, and nothing else. What one conversation meets by itself is a refusal of that conversation; what would
meet every other one stops the run.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

from arena_learning.core import ArenaError, SplitAnswer, canonical, split_text
from arena_learning.engines.base import Answered, Completion, Conversation, Refused
from arena_learning.engines.openai import control_tokens as control
from arena_learning.engines.openai.client import Client, RetryLater
from arena_learning.engines.openai.errors import EndpointError, classify_error
from arena_learning.engines.openai.rate_limit import LONGEST_PAUSE, RateLimiter, backoff
from arena_learning.engines.openai.reply import BYTES_A_TOKEN, EMPTY, Malformed, read_reply
from arena_learning.engines.openai.request import request_body, sampled
from arena_learning.engines.openai.run import EndpointRun, LoopThread, groups
from arena_learning.params import Endpoint, Sampling

VERSION = "1"  # of how a conversation becomes a request
_ALL_REFUSED = 20  # refusals without one answer from which it cannot be the conversations
_HEAD_START = 0.25  # seconds in which the very first request may show that every other one would fail, too


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
        maybe_twice: requests sent again whose first answer may have been generated all the same.

    Raises:
        ArenaError: the client is not installed, or the key's variable is not set.
    """

    batch_exact = True
    max_top_logprobs = 20  # what OpenAI allows, and vLLM unless told otherwise

    def __init__(
        self, model: str, endpoint: Endpoint, *, system: str = "", where: str = "", first_wait: float = 1.0
    ) -> None:
        self._model, self._endpoint, self._system, self._where = model, endpoint, system, where
        self._first_wait, self.maybe_twice = first_wait, 0
        self.batch_size = 16 * endpoint.concurrency
        self._pace = RateLimiter(endpoint.requests_per_minute, endpoint.tokens_per_minute)
        self._client = Client(endpoint, where)
        self._thread = LoopThread()
        self._met = False  # whether anything has ever come back
        self.fingerprint = _fingerprint(model, endpoint, system)
        # What was asked at this address before its deployment had a name.
        nameless = endpoint.model_copy(update={"deployment": ""})
        self.older_fingerprints = [_fingerprint(model, nameless, system)] if endpoint.deployment else []

    def variant(self, conversation: Conversation) -> str:
        """Say what is asked otherwise than it once was; see `base.Versioned`.

        The list of control tokens has grown: only a conversation that holds one of those that came later is.
        """
        later = any(control.has_later_marks(turn.content) for turn in conversation)
        return f"controls {control.VERSION}" if later else ""

    def said(self, text: str) -> SplitAnswer:
        """Split an answer that was remembered whole; see `base.Versioned`."""
        return split_text(text)

    def respond(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion | Refused]:
        """Answer each conversation, in order; see `base.Engine`."""
        found = dict(pair for group in self.stream(conversations, sampling) for pair in group)
        return [found[place] for place in range(len(conversations))]

    def stream(self, conversations: Sequence[Conversation], sampling: Sampling) -> Iterator[list[Answered]]:
        """Yield answers as they come; see `base.Streaming`. Leaving early cancels what is in flight."""
        return self.respond_with_logprobs(conversations, sampling, 0)

    def respond_with_logprobs(
        self, conversations: Sequence[Conversation], sampling: Sampling, top_logprobs: int
    ) -> Iterator[list[Answered]]:
        """Yield answers with their likeliest tokens, where the endpoint gives any; see `ReportsLogprobs`."""
        if not conversations:
            return
        run = EndpointRun(conversations, sampling, top_logprobs)
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

    async def _all(self, run: EndpointRun) -> None:
        """Answer everything with as many workers as requests may be in flight; the first error ends all."""
        count = min(self._endpoint.concurrency, len(run.conversations))
        workers = [asyncio.create_task(self._work(run))]
        try:
            if not self._met:  # a key that is refused, a quota that is used up: one request tells
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
        """Ask until there is an answer or a refusal.

        A request that keeps failing while others are answered is refused if it is the server's fault each time, and
        goes on trying if the server was only busy. Where nothing comes back any more, the endpoint is down.
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
            # Where no conversation at all gets an answer, asking each again would only cost: one request tells.
            hopeless = run.fruitless >= _ALL_REFUSED and result.alive and not result.unreadable
            if failures > self._endpoint.retries or hopeless:
                if run.alive == alive_before:
                    raise self._down(failures, result)
                if not result.busy:
                    return self._refuse_conversation(result, failures, empty, run)
                failures, empty, alive_before = 1, 0, run.alive
            await self._wait(result, failures)

    def _refuse_conversation(self, last: RetryLater, failures: int, empty: int, run: EndpointRun) -> Refused:
        """Return why a conversation gets no answer; raises where it is not the conversations any more."""
        run.fruitless += last.alive and not last.unreadable
        if last.reason == EMPTY:
            return Refused(f"{EMPTY}, {empty} times")
        if last.unreadable or not last.alive:
            run.unanswered += 1
            if run.unanswered >= _ALL_REFUSED:
                raise self._error(
                    f"{run.unanswered} conversations in a row got no answer, the last after {failures} attempts: "
                    f"{last.reason}",
                    "check base_url (most end in /v1) and the server's log; run again: what was answered is kept",
                )
        return Refused(f"{failures} attempts failed, the last by {last.reason}", passing=True)

    async def _send(
        self, body: dict[str, Any], size: int, run: EndpointRun
    ) -> Completion | Refused | RetryLater:
        """Send one request and sort what comes back. Raises ArenaError for what would meet every request."""
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
        if found.status:  # an error with status 200 around it
            result = self._refusal(found.status, sent.text, sent.headers, run)
            if isinstance(result, RetryLater):
                return result._replace(alive=True, answered=True, busy=False, unreadable=True)
            return result
        return RetryLater(found.reason, answered=True, alive=True, unreadable=found.unreadable)

    def _refusal(
        self, status: int, body: str, headers: Mapping[str, str], run: EndpointRun
    ) -> Refused | RetryLater:
        """Sort an error; raises what stops the run."""
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
                    "check model, omit and extra_body",
                )
        return Refused(trouble.what)

    def _stopped(self, trouble: EndpointError) -> ArenaError:
        variable = self._endpoint.api_key_env
        if trouble.kind == "quota":
            return self._error(
                f"the endpoint's quota is used up: {trouble.what}",
                f"top up, wait until it is renewed, or put another key in {variable or 'api_key_env'}; "
                "then run again: what was answered so far is kept",
            )
        key = f"the key in {variable}" if variable else "api_key_env (no key is sent)"
        return self._error(
            f"the endpoint refuses: {trouble.what}", f"check {key}, base_url and model '{self._model}'"
        )

    async def _wait(self, again: RetryLater, failures: int) -> None:
        # An empty answer says nothing of how busy the server is: no longer wait each time.
        wait = backoff(1 if again.reason == EMPTY else failures, self._first_wait)
        if again.wait is not None:
            if again.wait > LONGEST_PAUSE:
                raise self._error(
                    f"the endpoint asks to wait {again.wait:.0f} s ({again.reason})",
                    "run again then: what was answered so far is kept",
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
                f"the endpoint takes no more requests: {attempts} attempts, the last ended in {last.reason}",
                "set requests_per_minute or lower concurrency; run again: what was answered so far is kept",
            )
        return self._error(
            f"the endpoint is down: {attempts} attempts, the last ended in {last.reason}",
            "start it and run again: what was answered so far is kept",
        )

    def _error(self, what: str, hint: str) -> ArenaError:
        place = f"{self._where} ({self._endpoint.base_url})" if self._where else self._endpoint.base_url
        return ArenaError(self._client.scrub(what), where=place, hint=hint)

    def _say(self, run: EndpointRun) -> None:
        """Report on standard error what was sent again, and what the server said that nobody knows."""
        address = self._endpoint.base_url
        if run.again:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in run.again.most_common(5))
            sys.stderr.write(
                f"{address}: {run.answered} answers by {run.sent} requests; sent again: {reasons}; "
                f"of these {run.maybe_twice} may have been generated twice\n"
            )
        for reason, count in run.unknown.most_common(5):
            sys.stderr.write(
                f"{address}: finish_reason {reason!r} is not known ({count} answers): taken as whole, or as cut off "
                "where max_tokens were generated\n"
            )


def _fingerprint(model: str, endpoint: Endpoint, system: str) -> dict[str, str]:
    """Return all of an endpoint that could change an answer; what was added later is there only where it is set."""
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
