"""Keeps requests within the budget: they are sent in parts that still fit, and none is sent that might not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from arena_learning.core import ArenaError, check_deadline, has_deadline, number_text
from arena_learning.store.spending import Payer
from arena_learning.store.store import Store

Amount = Literal["money", "tokens"]

_ENOUGH = 20  # requests whose mean says what the next ones take
_RESERVE = 0.9  # of what is left is given to requests that are counted at their mean
_BYTES_A_TOKEN = 2  # fewer than in any usual text, so that a prompt is not longer than is thought
_TEMPLATE = 64  # tokens that a chat template may add


class Longest(NamedTuple):
    """The most tokens that a request may take."""

    prompt: int
    generated: int


def longest_request(prompt_bytes: int, max_tokens: int) -> Longest:
    """Return the most tokens of a request with a prompt of so many bytes of UTF-8."""
    return Longest(prompt_bytes // _BYTES_A_TOKEN + _TEMPLATE, max_tokens)


class Requests(NamedTuple):
    """What is asked of a contestant or judge, for `within_budget`.

    Attributes:
        payer: who is asked.
        batch: number of keys that are requested at once.
        whole: whether all keys must be requested together or not at all.
        longest: the most that the request of a key may take; of one that says 0, the mean of those before it counts.
        missing: says what is not there yet, as in "12 answers of 'base'".
    """

    payer: Payer
    batch: int
    whole: bool
    longest: Callable[[bytes], Longest]
    missing: Callable[[], str]


def within_budget(store: Store | None, keys: Sequence[bytes], asked: Requests) -> Iterator[list[bytes]]:
    """Yield ``keys`` in parts whose requests fit the budget; after each part its answers must have been saved.

    Without a budget all keys are one part. A part is counted at the longest that each request may take, or, once there
    are some answers, at their mean with a reserve.

    Args:
        store: holds the account and what was spent; without a store nothing costs.
        keys: what is to be requested.
        asked: of whom, and how long it may become.

    Raises:
        ArenaError: not one more request fits, or the run's hours are used up.
    """
    if store is None or not keys:
        yield from ([list(keys)] if keys else [])
        return
    limits = _Limits(store, asked)
    if not (limits.any or has_deadline()):
        yield list(keys)
        return
    left = list(keys)
    while left:
        check_deadline(asked.missing())
        part = left if asked.whole else left[: asked.batch]
        number, tightest = limits.fitting(part)
        if number < len(part) and (asked.whole or not number):
            raise limits.used_up(tightest)
        yield part[:number]
        left = left[number:]


class _Limits:
    """The limits of money and tokens, and what the requests of one payer have taken so far in this run."""

    def __init__(self, store: Store, asked: Requests) -> None:
        budget = store.account.budget
        self._store, self._asked = store, asked
        given: dict[Amount, float | None] = {"money": budget.money, "tokens": budget.tokens}
        self._most = {} if asked.payer.recorded else {k: v for k, v in given.items() if v is not None}
        self.any = bool(self._most)

    def fitting(self, keys: Sequence[bytes]) -> tuple[int, Amount]:
        """Return how many of the first ``keys`` may be requested now, and which limit lets the fewest."""
        if not self._most:
            return len(keys), "tokens"
        longest = [self._asked.longest(key) for key in keys]
        costs: dict[Amount, float] = {
            "money": max(self._asked.payer.money(*one) or 0.0 for one in longest),
            "tokens": max(sum(one) for one in longest),
        }
        return min((self._number(what, costs[what], len(keys)), what) for what in self._most)

    def _number(self, what: Amount, longest: float, wanted: int) -> int:
        made, mean = self._store.mean_spent(self._asked.payer, what)
        longest = longest or mean or 0.0
        if not longest:
            return wanted
        left = self._most[what] - self._store.spent()[what]
        likely = int(_RESERVE * left / mean) if made >= _ENOUGH and mean else 0
        return max(0, min(wanted, max(int(left / longest), likely if likely >= _ENOUGH else 0)))

    def used_up(self, what: Amount) -> ArenaError:
        """Return the error of a budget that allows no more requests."""
        spent, most = self._store.spent()[what], self._most[what]
        unit = " tokens" if what == "tokens" else ""
        return ArenaError(
            f"{number_text(spent)}{unit} of the budget of {number_text(most)}{unit} are spent, and the next request "
            f"might take more than the rest; missing: {self._asked.missing()}",
            where=f"params.yaml, budget.{what}",
            hint=f"all that was made is kept and is not requested again. To go on, raise budget.{what} and run again; "
            "`arena plan` says what is missing, `arena show ledger` what was spent",
        )
