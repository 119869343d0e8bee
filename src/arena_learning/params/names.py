"""Names of opponents, judges and rounds: what DVC, YAML, MLflow and the file system can all keep apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import yaml

LONGEST = 100  # two of them stand in the name of one metric, and MLflow takes 250 characters
_SHAPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# What YAML 1.2, as DVC reads it, takes for something else than text where YAML 1.1 does not: 1e5, 08, 0o17.
_NEWER = re.compile(r"(?i:true|false|null)|[0-9][0-9_]*([eE]-?[0-9_]+)?|0o[0-7_]+|0x[0-9a-fA-F_]+")
_SAFE = yaml.SafeLoader("")


def check_name(name: object) -> str:
    """Return a name if it can be one.

    DVC finds a parameter by its key with dots between the parts, in dvc.yaml as in ``dvc exp run -S``, and has no way
    to quote a part: a name with a dot would be looked for in another place. A name that YAML can take for a number, a
    date or a truth value is refused in quotes, too, for ``dvc exp run -S`` writes the file anew and leaves some out.

    Raises:
        ValueError: says what is wrong with it, and another name that would do where there is one.
    """
    if not isinstance(name, str):
        raise ValueError(
            f"YAML reads this name as {_kind(name)}, not as text; take another name (not quotes)"
        )
    hint = suggested(name)
    instead = f"; call it '{hint}'" if hint else ""
    if "." in name and _SHAPE.fullmatch(name.replace(".", "")):
        raise ValueError(f"a name may hold no dot, for DVC parts keys there{instead}")
    if not _SHAPE.fullmatch(name):
        raise ValueError(
            f"a name is made of letters a to z, digits, '-' and '_', no '-' or '_' first{instead}"
        )
    if len(name) > LONGEST:
        raise ValueError(f"a name of {len(name)} characters; {LONGEST} at most")
    if is_no_text(name):
        raise ValueError(f"YAML may read this name as a number, a date or a truth value{instead}")
    return name


def suggested(name: str) -> str:
    """Return a name like ``name`` that can be one; empty where nothing is left of it."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:LONGEST]
    return f"model-{plain}" if plain and is_no_text(plain) else plain


def is_no_text(word: str) -> bool:
    """Whether a YAML reader, of version 1.1 or 1.2, takes a bare word for something else than text."""
    tag = _SAFE.resolve(yaml.ScalarNode, word, (True, False))  # type: ignore[no-untyped-call]
    return tag != "tag:yaml.org,2002:str" or bool(_NEWER.fullmatch(word))


def merging(groups: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Yield a line for each name that only differs from an earlier one by small and capital letters.

    Such names are two here and one on a file system or in a database that knows no difference.

    Args:
        groups: by their section in params.yaml, names that must not merge with each other.
    """
    seen: dict[str, str] = {}
    for section, names in groups.items():
        for name in names:
            other = seen.setdefault(name.casefold(), name)
            if other != name:
                yield (
                    f"{section}.{name}: differs from '{other}' by small and capital letters only, and some file "
                    f"systems and databases make one of the two; take another name"
                )


def one_metric(judges: Iterable[str]) -> Iterator[str]:
    """Yield a line for each judge whose metrics in MLflow could be taken for another judge's.

    A judge's are ``elo/NAME``, ``elo/NAME_lower``, ``elo/NAME_upper`` and ``win_rate/NAME_vs_CONTESTANT``.
    """
    names = set(judges)
    for name in sorted(names):
        for end in ("_lower", "_upper"):
            if name.removesuffix(end) in names - {name}:
                yield f"judges.{name}: MLflow has '{name.removesuffix(end)}'s interval under this name; take another"
        if "_vs_" in f"{name}_":
            yield f"judges.{name}: '_vs' parts a judge from a contestant in MLflow's names; take another name"


def _kind(value: object) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"a truth value ({str(value).lower()})"
    return f"a number ({value})" if isinstance(value, int | float) else f"a date ({value})"
