"""The search space of a sweep: keys of params.yaml, each with the values to try.

A dimension is named by its dotted path in params.yaml (``train.dpo.beta``). A trial is therefore the current parameters
with some values replaced and checked by the same code, and a winner can be written back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import exp, isfinite, log
from typing import TYPE_CHECKING, Any

from arena_learning.core import ArenaError, canonical, suggest
from arena_learning.params import Params, parse_params

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
_WHOLE = ("templates", "extra_body")  # mappings that count as one value


Values = dict[str, Any]  # by path; lists stay lists
WHERE = "the sweep's space"


@dataclass(frozen=True)
class Dimension:
    """One key of params.yaml and its values: ``choices``, or a range of numbers from ``low`` to ``high``."""

    path: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def is_range(self) -> bool:
        """Whether any number between ``low`` and ``high`` may be tried."""
        return not self.choices

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is in this dimension."""
        if self.is_range:
            return isinstance(value, int | float) and self.low <= value <= self.high
        return value in self.choices

    def at(self, share: float) -> Any:
        """Return the value at a share (0 to 1) of the dimension."""
        if self.is_range:
            if self.log:
                return exp(log(self.low) + share * (log(self.high) - log(self.low)))
            return self.low + share * (self.high - self.low)
        return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]

    def distribution(self) -> BaseDistribution:
        """Return the dimension as an Optuna distribution."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        if self.is_range:
            return FloatDistribution(self.low, self.high, log=self.log)
        return CategoricalDistribution([encode(choice) for choice in self.choices])

    def describe(self) -> dict[str, Any]:
        """Return the dimension as JSON, for hashes and reports."""
        if self.is_range:
            return {"path": self.path, "low": self.low, "high": self.high, "log": self.log}
        return {"path": self.path, "choices": list(self.choices)}


Space = tuple[Dimension, ...]


def make_space(raw: Mapping[str, Any], params: Params) -> Space:
    """Check a space and return it; values are converted like those of params.yaml, and the current ones are added.

    Args:
        raw: by path: a list of values, one value, or ``{low, high, log}``.
        params: the current parameters.

    Raises:
        ArenaError: no dimension, an unknown path, or a value that the parameters do not allow.

    Example:
        space = make_space({"train.dpo.beta": [0.1, 0.3], "dataset.max_words": [0, 200]}, params)
        size(space)  # the number of combinations
    """
    if not raw:
        raise ArenaError(
            "the search space is empty", where=WHERE, hint="name at least one key of params.yaml"
        )
    return tuple(_dimension(path, given, params) for path, given in sorted(raw.items()))


def _dimension(path: str, given: Any, params: Params) -> Dimension:
    current = value_at(params, path)
    if isinstance(given, Mapping):
        return _range(path, given, current, params)
    listed = list(given) if isinstance(given, list | tuple) else [given]
    if not listed:
        raise ArenaError(f"{path}: there is no value to try", where=WHERE, hint="list at least one value")
    choices = [value_at(override(params, {path: choice}), path) for choice in listed]
    distinct = [c for n, c in enumerate([*choices, current]) if c not in choices[:n]]
    return Dimension(path, tuple(distinct))


def _range(path: str, given: Mapping[str, Any], current: Any, params: Params) -> Dimension:
    unknown = set(given) - {"low", "high", "log"}
    ends = [_number(given.get(end)) for end in ("low", "high")]
    logarithmic = given.get("log", False)
    if unknown or None in ends or not isinstance(logarithmic, bool):
        raise ArenaError(
            f"{path}: {dict(given)} is not a range",
            where=WHERE,
            hint="write {low: NUMBER, high: NUMBER, log: true or false}",
        )
    if not isinstance(current, float):
        raise ArenaError(
            f"{path}: a range needs a key of decimal numbers; its current value is {current!r}",
            where=WHERE,
            hint="list the values to try",
        )
    low, high = (float(value_at(override(params, {path: e}), path)) for e in ends)
    if not low < high or (logarithmic and low <= 0):
        hint = "a logarithmic range needs numbers above 0" if logarithmic else "low must be below high"
        raise ArenaError(f"{path}: {low:g} to {high:g} is not a valid range", where=WHERE, hint=hint)
    if logarithmic and current <= 0:
        raise ArenaError(
            f"{path}: the current value {current:g} is always tried, but a logarithmic range cannot hold it",
            where=WHERE,
            hint="list values, leave out log: true, or first set a number above 0 in params.yaml",
        )
    return Dimension(path, low=min(low, current), high=max(high, current), log=logarithmic)


def _number(given: Any) -> float | None:
    """Return an end of a range as a finite number; YAML 1.1 reads ``1e-1`` as text, which is allowed here."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        found = float(given)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def override(params: Params, values: Mapping[str, Any]) -> Params:
    """Return the parameters with some values replaced.

    Raises:
        ArenaError: an unknown path, or values that the parameters do not allow.
    """
    tree = params.model_dump(mode="json")
    for path, value in values.items():
        section, key = _place(tree, path)
        section[key] = value
    return parse_params(tree, WHERE)


def value_at(params: Params, path: str) -> Any:
    """Return the value at a path, as JSON.

    Raises:
        ArenaError: there is no such key.
    """
    section, key = _place(params.model_dump(mode="json"), path)
    return section[key]


def key_parts(params: Params, path: str) -> list[str]:
    """Return the keys along a path (a key, such as a round's name, may contain dots)."""
    parts: list[str] = []
    _place(params.model_dump(mode="json"), path, parts)
    return parts


def _place(tree: dict[str, Any], path: str, parts: list[str] | None = None) -> tuple[dict[str, Any], str]:
    """Return the section and the key of a path; the keys on the way are appended to ``parts``."""
    section, rest = tree, path
    parts = [] if parts is None else parts
    while True:
        fits = [key for key in section if rest == key or rest.startswith(f"{key}.")]
        if not fits:
            hint = suggest(rest.split(".")[0], section)
            raise ArenaError(f"{path}: no such key in params.yaml", where=WHERE, hint=hint)
        key = max(fits, key=len)
        parts.append(key)
        if rest == key:
            return section, key
        if not isinstance(section[key], dict):
            raise ArenaError(f"{path}: '{key}' has no keys below it", where=WHERE)
        section, rest = section[key], rest[len(key) + 1 :]


def current_values(space: Space, params: Params) -> Values:
    """Return the current values of a space's keys."""
    return {dimension.path: value_at(params, dimension.path) for dimension in space}


def encode(value: Any) -> Any:
    """Return a value as Optuna can store it: a list becomes text."""
    return value if value is None or isinstance(value, str | int | float | bool) else canonical(value)


def encoded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as Optuna's parameters."""
    return {path: encode(value) for path, value in values.items()}


def decoded(space: Space, found: Mapping[str, Any]) -> Values:
    """Return Optuna's parameters as values."""
    values = {}
    for dimension in space:
        kept = found[dimension.path]
        values[dimension.path] = next((c for c in dimension.choices if encode(c) == kept), kept)
    return values


def values_digest(value: object, length: int = 8) -> str:
    """Return the start of the SHA-256 of a JSON value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def space_digest(space: Space) -> str:
    """Return the hash of a space; a changed space is another study."""
    return values_digest([dimension.describe() for dimension in space])


def size(space: Space) -> int | None:
    """Return the number of combinations, or None if the space has a range."""
    total = 1
    for dimension in space:
        if dimension.is_range:
            return None
        total *= len(dimension.choices)
    return total


def grid(space: Space) -> list[Values]:
    """Return all combinations of a space without ranges."""
    columns: Sequence[tuple[Any, ...]] = [dimension.choices for dimension in space]
    return [dict(zip((d.path for d in space), row, strict=True)) for row in product(*columns)]


def design(space: Space, seed: int) -> Iterator[Values]:
    """Yield combinations without end, such that any first part of them covers the space evenly; depends on the seed.

    Each dimension goes through its choices in rounds, in its own random order: after as many combinations as it has
    choices, each was used once. A range is divided in halves, quarters, and so on (van der Corput sequence).
    """
    row = 0
    while True:
        yield {d.path: d.at(_share(d, seed, row)) for d in space}
        row += 1


def _share(dimension: Dimension, seed: int, row: int) -> float:
    if dimension.is_range:
        shift = int(values_digest([seed, dimension.path]), 16) / 16**8
        return (_corput(row) + shift) % 1.0
    count = len(dimension.choices)
    turn, place = divmod(row, count)
    order = sorted(range(count), key=lambda n: values_digest([seed, dimension.path, turn, n], 16))
    return (order[place] + 0.5) / count


def _corput(number: int) -> float:
    share, part = 0.0, 0.5
    while number:
        share += part * (number & 1)
        number, part = number >> 1, part / 2
    return share


def flat_values(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested sections as values by their paths in params.yaml."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        path = f"{prefix}{key}"
        if isinstance(item, Mapping) and key not in _WHOLE:
            found |= flat_values(item, f"{path}.")
        else:
            found[path] = item
    return found
