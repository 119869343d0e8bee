"""Limits the rate of requests: requests and tokens per minute, requested pauses, waits between retries."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 60.0  # seconds between two attempts, unless the endpoint asks for more
LONGEST_PAUSE = 600.0  # seconds; an endpoint that asks for more stops the run
_PER = 60.0
# Waiting times in the body of an error, from services without the header: "try again in 1m2.5s", "retryDelay": "34s".
_RETRY = re.compile(
    r"(?:(?:re)?try(?: again)? (?:in|after) |\"retryDelay\"\s*:\s*\")((?:\d+(?:\.\d+)? ?(?:ms|h|m|s)[a-z]* ?)+)",
    re.I,
)
_SPAN = re.compile(r"(\d+(?:\.\d+)?) ?(ms|milli|h|m|s)", re.I)
_SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class RateLimiter:
    """Spaces requests evenly, so that no minute exceeds the limits of requests and tokens.

    Each request gets the next free time in both schedules. Its tokens are estimated at the start and corrected when its
    usage is known. A pause delays every request that has not started.

    Args:
        requests: limit of requests per minute; 0 for no limit.
        tokens: limit of tokens per minute; 0 for no limit.
        clock: returns the time in seconds; replaced in tests.
    """

    def __init__(self, requests: int, tokens: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._request = _PER / requests if requests else 0.0
        self._token = _PER / tokens if tokens else 0.0
        self._clock = clock
        self._next_request = self._next_token = self._paused_until = 0.0

    async def take(self, tokens: int) -> None:
        """Wait until a request of about ``tokens`` tokens may start."""
        wait = self.reserve(tokens)
        while wait > 0:
            await asyncio.sleep(wait)
            wait = self._paused_until - self._clock()

    def reserve(self, tokens: int) -> float:
        """Reserve the next free time; return the seconds until then."""
        now = self._clock()
        start = max(now, self._paused_until, self._next_request, self._next_token)
        self._next_request = start + self._request
        self._next_token = start + tokens * self._token
        return start - now

    def settle(self, guessed: int, used: int) -> None:
        """Correct the schedule by the difference of a request's used and estimated tokens."""
        self._next_token += (used - guessed) * self._token

    def pause(self, seconds: float) -> None:
        """Start no request before ``seconds`` from now."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)


def backoff(failures: int, first: float) -> float:
    """Return the seconds to wait after ``failures``: doubling, with jitter so that requests do not synchronise."""
    longest = min(LONGEST_WAIT, first * 2.0 ** min(failures - 1, 16))
    return longest * random.uniform(0.5, 1.0)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the endpoint asks to wait, from ``retry-after-ms`` or ``retry-after``, or None."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if not value:
            continue
        try:
            return max(0.0, float(value) * unit)
        except ValueError:
            pass
        try:
            until = parsedate_to_datetime(value)
        except ValueError:
            continue
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    return None


def retry_in(body: str) -> float | None:
    """Return the seconds that an error's text asks to wait ("Please try again in 6m0.5s"), or None.

    Example:
        >>> retry_in("Rate limit reached. Please try again in 1m2.5s.")
        62.5
    """
    found = _RETRY.search(body)
    if found is None:
        return None
    return sum(float(number) * _SECONDS[unit.lower()] for number, unit in _SPAN.findall(found[1]))
