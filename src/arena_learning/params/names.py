"""Checks names of opponents, judges and rounds: they must be safe in DVC, YAML, MLflow and file systems."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import yaml

LONGEST = 100  # two names are part of one metric name, and MLflow allows 250 characters
_SHAPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# Words that are text in YAML 1.1 but not in YAML 1.2, which DVC reads: 1e5, 08, 0o17.
_NEWER = re.compile(r"(?i:true|false|null)|[0-9][0-9_]*([eE]-?[0-9_]+)?|0o[0-7_]+|0x[0-9a-fA-F_]+")
_SAFE = yaml.SafeLoader("")


def check_name(name: object) -> str:
    """Return ``name`` if it is valid.

    DVC addresses parameters by dotted keys and cannot quote a part of one, so a name must not contain a dot. Names that
    YAML reads as numbers, dates or truth values are refused even in quotes, because ``dvc exp run -S`` rewrites the
    file and drops some quotes.

    Raises:
        ValueError: what is wrong with the name, with a similar valid name if there is one.
    """
    if not isinstance(name, str):
        raise ValueError(
            f"YAML reads this name as {_kind(name)}, not as text; choose another name (quotes do not help)"
        )
    hint = suggested(name)
    instead = f"; call it '{hint}'" if hint else ""
    if "." in name and _SHAPE.fullmatch(name.replace(".", "")):
        raise ValueError(f"a name must not contain a dot, because DVC splits keys at dots{instead}")
    if not _SHAPE.fullmatch(name):
        raise ValueError(
            f"a name consists of letters a to z, digits, '-' and '_', and starts with a letter or digit{instead}"
        )
    if len(name) > LONGEST:
        raise ValueError(f"the name has {len(name)} characters; at most {LONGEST} are allowed")
    if is_no_text(name):
        raise ValueError(f"YAML may read this name as a number, a date or a truth value{instead}")
    return name


def suggested(name: str) -> str:
    """Return a valid name similar to ``name``; empty if no valid character is left."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:LONGEST]
    return f"model-{plain}" if plain and is_no_text(plain) else plain


def is_no_text(word: str) -> bool:
    """Whether YAML 1.1 or 1.2 reads an unquoted word as anything other than text."""
    tag = _SAFE.resolve(yaml.ScalarNode, word, (True, False))  # type: ignore[no-untyped-call]
    return tag != "tag:yaml.org,2002:str" or bool(_NEWER.fullmatch(word))


def merging(groups: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Yield an error line for each name that differs from an earlier one only in case.

    Case-insensitive file systems and databases would treat the two as one.

    Args:
        groups: names that must be distinct from each other, by their section of params.yaml.
    """
    seen: dict[str, str] = {}
    for section, names in groups.items():
        for name in names:
            other = seen.setdefault(name.casefold(), name)
            if other != name:
                yield (
                    f"{section}.{name}: differs from '{other}' only in upper and lower case, which some file systems "
                    f"and databases ignore; choose another name"
                )


def one_metric(judges: Iterable[str]) -> Iterator[str]:
    """Yield an error line for each judge whose MLflow metrics could be confused with another judge's.

    A judge's metrics are ``elo/NAME``, ``elo/NAME_lower``, ``elo/NAME_upper`` and ``win_rate/NAME_vs_CONTESTANT``.
    """
    names = set(judges)
    for name in sorted(names):
        for end in ("_lower", "_upper"):
            if name.removesuffix(end) in names - {name}:
                yield (
                    f"judges.{name}: MLflow uses this name for the interval of '{name.removesuffix(end)}'; "
                    f"choose another name"
                )
        if "_vs_" in f"{name}_":
            yield f"judges.{name}: '_vs' separates judge and contestant in MLflow's metric names; choose another name"


def _kind(value: object) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"a truth value ({str(value).lower()})"
    return f"a number ({value})" if isinstance(value, int | float) else f"a date ({value})"
