"""The criteria of a rubric: reading them, and checking a text against them without a model."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, NamedTuple

from arena_learning.core import ArenaError, sentences, suggest, with_single_spaces, word_pattern, words

FORMATS = ("bullets", "numbered", "lines", "sentences", "paragraphs", "json", "code", "table")
CONTENT_KINDS = ("states", "avoids", "number", "semantic")
_FIELDS: dict[str, set[str]] = {
    "states": {"any"},
    "avoids": {"any"},
    "number": {"value", "tolerance"},
    "length": {"min", "max"},
    "format": {"form", "min", "max", "keys"},
    "semantic": {"text"},
}
_UNITS = dict(
    zip(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split(),
        range(20),
        strict=True,
    )
)
_TENS = dict(
    zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10), strict=True)
)
# Thousands separators precede groups of three digits: "1,250", "1 250"; "3, 4" and "3 4" are two numbers.
_NUMBER = re.compile(r"(?<![\w.])[-−]?(?:\d{1,3}(?:[,\u00a0\u202f ]\d{3})+(?!\d)|\d+)(?:\.\d+)?")
# A call, an assignment, an option, or a line that ends in { } or ;. Colons and brackets also occur in prose.
_CODE = re.compile(r"^.*(?:\w\(|[\w\])] ?[-+*/|]?= ?\S|\s--\w|[{};]$)", re.M)
_LONGEST = 40  # digits; longer digit strings are ignored


@dataclass(frozen=True)
class Criterion:
    """One weighted criterion of a rubric; see docs/reference/judges.md for the kinds and their fields."""

    kind: str
    weight: float
    any: tuple[str, ...] = ()
    value: float = 0.0
    tolerance: float = 0.0
    min: int | None = None
    max: int | None = None
    form: str = ""
    keys: tuple[str, ...] = ()
    text: str = ""

    @property
    def is_content(self) -> bool:
        """Whether the criterion is about content rather than length or format."""
        return self.kind in CONTENT_KINDS

    def describe(self) -> str:
        """Return a short description of the criterion, for a rationale."""
        bounds = "-".join("" if b is None else str(b) for b in (self.min, self.max))
        return {
            "states": f"states {' / '.join(repr(a) for a in self.any[:3])}",
            "avoids": f"avoids {' / '.join(repr(a) for a in self.any[:3])}",
            "number": f"gives the number {self.value:g}",
            "length": f"{bounds} words",
            "format": f"{self.form} {bounds}".strip(" -"),
            "semantic": f"conveys: {self.text}",
        }[self.kind]


class CriterionResult(NamedTuple):
    """How far a text meets a criterion (0 to 1), and what was found in the text."""

    met: float
    seen: str


def parse_criterion(raw: object, where: str) -> Criterion:
    """Read one rubric criterion from a pool row.

    Args:
        raw: the JSON value.
        where: file, line and position, for the error.

    Raises:
        ArenaError: an unknown kind or field, a missing field, or a value out of range.

    Example:
        >>> parse_criterion({"kind": "number", "value": 7, "tolerance": 1, "weight": 3}, "here").describe()
        'gives the number 7'
    """
    if not isinstance(raw, dict):
        raise ArenaError(f"a rubric criterion must be an object, not {type(raw).__name__}", where=where)
    kind = raw.get("kind")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise ArenaError(
            f"unknown rubric criterion kind {kind!r}", where=where, hint=suggest(str(kind), _FIELDS)
        )
    unknown = set(raw) - _FIELDS[kind] - {"kind", "weight", "note"}
    if unknown:
        raise ArenaError(
            f"unknown field {sorted(unknown)[0]!r} in a {kind!r} criterion",
            where=where,
            hint=suggest(sorted(unknown)[0], _FIELDS[kind] | {"kind", "weight", "note"}),
        )
    try:
        criterion = Criterion(
            kind=kind,
            weight=float(raw.get("weight", 0.0)),
            any=_strings(raw.get("any", ())),
            value=float(raw.get("value", 0.0)),
            tolerance=float(raw.get("tolerance", 0.0)),
            min=_whole(raw.get("min")),
            max=_whole(raw.get("max")),
            form=str(raw.get("form", "")),
            keys=_strings(raw.get("keys", ())),
            text=str(raw.get("text", "")),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise ArenaError(f"bad {kind!r} criterion: {error}", where=where) from None
    _demand(criterion, raw, where)
    return criterion


def check_criterion(criterion: Criterion, text: str) -> CriterionResult:
    """Check ``text`` against a criterion of any kind except ``semantic``, which needs embeddings (see `judge.rubric`).

    Example:
        >>> check_criterion(Criterion("number", weight=3, value=7, tolerance=1), "Boil it for six minutes.")
        CriterionResult(met=1.0, seen='found')
    """
    if criterion.kind == "states":
        found = find_phrase(criterion.any, text)
        return CriterionResult(1.0 if found else 0.0, f"{found!r}" if found else "not stated")
    if criterion.kind == "avoids":
        found = find_phrase(criterion.any, text)
        return CriterionResult(0.0 if found else 1.0, f"{found!r} occurs" if found else "avoided")
    if criterion.kind == "number":
        near = [n for n in find_numbers(text) if abs(n - criterion.value) <= criterion.tolerance + 1e-9]
        return CriterionResult(1.0 if near else 0.0, "found" if near else "not found")
    if criterion.kind == "length":
        count = len(words(text))
        return CriterionResult(_within(count, criterion.min, criterion.max), f"{count} words")
    if criterion.kind == "format":
        return _check_format(criterion, text)
    raise ValueError(f"{criterion.kind} criteria are not checked here")


def find_phrase(phrases: tuple[str, ...], text: str) -> str | None:
    """Return the first of ``phrases`` that occurs in ``text`` as whole words, or None.

    A ``*`` at the end of a word matches any ending. Case and punctuation are ignored.

    Example:
        >>> find_phrase(("red", "blu*"), "Of a bluish grey")
        'blu*'
    """
    folded = " " + " ".join(_tokens(text)) + " "
    for phrase in phrases:
        parts = [p + ("*" if star else "") for p, star in _phrase_tokens(phrase)]
        pattern = " ".join(re.escape(p[:-1]) + r"\S*" if p.endswith("*") else re.escape(p) for p in parts)
        if parts and re.search(f" {pattern} ", folded):
            return phrase
    return None


def find_numbers(text: str) -> list[float]:
    """Return the numbers in ``text``: digits (with thousands separators) and English words up to ninety-nine."""
    found = []
    for match in _NUMBER.findall(with_single_spaces(text)):
        plain = match.replace("−", "-")
        # "100 200" may be one number or two: both readings are returned.
        for reading in {re.sub(r"[,\s]", "", plain), *plain.split()}:
            digits = reading.replace(",", "")
            if len(digits) <= _LONGEST:
                # A dash may be a minus sign or not: both readings are returned.
                found += [float(digits), abs(float(digits))] if digits.startswith("-") else [float(digits)]
    tokens = words(text.replace("-", " "))
    for i, word in enumerate(tokens):
        if word in _UNITS:
            found.append(float(_UNITS[word]))
        if word in _TENS:
            following = _UNITS.get(tokens[i + 1], 99) if i + 1 < len(tokens) else 99
            found.append(float(_TENS[word] + (following if 1 <= following <= 9 else 0)))
    return found


def _tokens(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", plain)
    return re.findall(rf"\d+(?:\.\d+)+|{word_pattern(plain).pattern}|[+#=<>%^]+", plain)


def _phrase_tokens(phrase: str) -> list[tuple[str, bool]]:
    out = []
    for chunk in phrase.split():
        pieces = _tokens(chunk.rstrip("*"))
        out += [(piece, False) for piece in pieces[:-1]]
        if pieces:
            out.append((pieces[-1], chunk.endswith("*")))
    return out


def _check_format(criterion: Criterion, text: str) -> CriterionResult:
    if criterion.form == "json":
        value = _read_json(text)
        missing = [k for k in criterion.keys if not _has_key(value, k)]
        return CriterionResult(
            0.0 if value is None or missing else 1.0,
            "no JSON" if value is None else f"keys missing: {missing}" if missing else "JSON",
        )
    if criterion.form == "code":
        code = "```" in text or _CODE.search(text)
        return CriterionResult(1.0 if code else 0.0, "code" if code else "no code")
    if criterion.form == "table":
        rows = len(re.findall(r"^[^\S\n]*\|.*\|[^\S\n]*$", text, re.M))
        return CriterionResult(1.0 if rows >= 3 else 0.0, f"{rows} table rows")
    count = _count(criterion.form, text)
    return CriterionResult(_within(count, criterion.min, criterion.max), f"{count} {criterion.form}")


def _count(form: str, text: str) -> int:
    if form == "bullets":
        return len(re.findall(r"^[^\S\n]*[-*•–][^\S\n]+\S", text, re.M))
    if form == "numbered":
        return len(re.findall(r"^[^\S\n]*(?:\*\*)?\(?\d{1,2}[.):][^\S\n]*\S", text, re.M))
    if form == "lines":
        return sum(1 for line in text.splitlines() if line.strip())
    if form == "paragraphs":
        return sum(1 for part in re.split(r"\n\s*\n", text) if part.strip())
    return len(sentences(text))


def _read_json(text: str) -> Any:
    fenced = re.search(r"```(?:json)?[^\S\n]*\n(.*?)```", text, re.S)
    body = fenced.group(1) if fenced else text
    start = min((i for i in (body.find("{"), body.find("[")) if i >= 0), default=-1)
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(body[start:])
    except (ValueError, RecursionError):
        return None
    return value


def _has_key(value: Any, key: str) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) and key in v for v in value)


def _within(count: int, low: int | None, high: int | None) -> float:
    """Return 1 within the bounds; outside it falls linearly to 0 at half the lower or twice the upper bound."""
    if low is not None and count < low:
        return max(0.0, 2 * count / low - 1)
    if high is not None and count > high:
        return max(0.0, 2 - count / high) if high else 0.0
    return 1.0


def _strings(raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list | tuple) or not all(isinstance(r, str) and r.strip() for r in raw):
        raise ValueError("expected a list of non-empty strings")
    return tuple(raw)


def _whole(raw: object) -> int | None:
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 0:
        raise ValueError(f"expected a whole number of at least 0, not {raw!r}")
    return raw


def _demand(criterion: Criterion, raw: dict[str, Any], where: str) -> None:
    problems = []
    if "weight" not in raw:
        problems.append("'weight' is missing")
    elif not 0 < criterion.weight <= 10:
        problems.append(f"weight {criterion.weight:g} is outside 0 to 10")
    if criterion.kind in ("states", "avoids") and not criterion.any:
        problems.append("'any' needs at least one phrase")
    problems += [
        f"no word in the phrase {phrase!r}" for phrase in criterion.any if not _phrase_tokens(phrase)
    ]
    if criterion.kind == "number" and "value" not in raw:
        problems.append("'value' is missing")
    if not isfinite(criterion.value):
        problems.append(f"value {criterion.value} is not a finite number")
    if not 0 <= criterion.tolerance < inf:
        problems.append(f"tolerance {criterion.tolerance:g} must be a finite number of at least 0")
    if criterion.kind == "semantic" and not criterion.text.strip():
        problems.append("'text' is empty")
    if criterion.kind == "length" and criterion.min is None and criterion.max is None:
        problems.append("'min' or 'max' is missing")
    if criterion.kind == "format" and criterion.form not in FORMATS:
        problems.append(f"unknown form {criterion.form!r}; {suggest(criterion.form, FORMATS)}")
    if criterion.min is not None and criterion.max is not None and criterion.min > criterion.max:
        problems.append(f"min {criterion.min} is above max {criterion.max}")
    if problems:
        raise ArenaError(f"bad {criterion.kind!r} criterion: {'; '.join(problems)}", where=where)
