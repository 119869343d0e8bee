"""Reads YAML and refuses duplicate keys, of which PyYAML silently takes the last."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path

import yaml

from arena_learning.core.errors import ArenaError
from arena_learning.core.redact import redacted

_CONFLICT = re.compile(r"(<{7}|={7}|>{7})( |$)")


class _Loader(yaml.SafeLoader):
    """The safe loader, which also refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        """Build a mapping whose keys are all different."""
        seen: set[str] = set()
        for key, _ in node.value:
            if (
                isinstance(key, yaml.ScalarNode)
                and key.value in seen
                and key.tag != "tag:yaml.org,2002:merge"
            ):
                raise _DoubledKeyError(key.value, key.start_mark.line + 1)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


class _DoubledKeyError(Exception):
    """A duplicate key of a mapping, and the line of the second one."""


def read_yaml(path: Path) -> object:
    """Return the content of a YAML file.

    Raises:
        ArenaError: the file is not YAML, or has a duplicate key (with its line), or a value that contains itself.
        FileNotFoundError: there is no such file.
    """
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        if _holds_itself(value):
            raise ArenaError(
                "an alias (*) is inside the value that it repeats",
                where=str(path),
                hint="replace the alias by the value",
            )
        return value
    except RecursionError:
        raise ArenaError("lists or mappings are nested too deeply", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise ArenaError(
            f"not YAML: not UTF-8: {error.reason}", where=str(path), hint="save it as UTF-8"
        ) from None
    except yaml.YAMLError as error:
        raise _not_yaml(error, path) from None
    except _DoubledKeyError as error:
        key, line = error.args
        raise ArenaError(
            f"the key '{key}' is given twice", where=f"{path}, line {line}", hint="remove one of the two"
        ) from None


def _not_yaml(error: yaml.YAMLError, path: Path) -> ArenaError:
    """Return the error with its line, and what a person who edits the file has most likely done."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if _CONFLICT.match(line):
            return ArenaError(
                "not YAML: git has left a conflict here",
                where=f"{path}, line {number}",
                hint="keep one side, and remove the lines that begin with <<<<<<<, ======= and >>>>>>>",
            )
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or error)
    where = f"{path}, line {mark.line + 1}" if mark else str(path)
    if "\\t" in problem:
        return ArenaError("not YAML: a tab", where=where, hint="indent with spaces: YAML takes no tabs")
    if "mapping values" in problem or "expected ':'" in problem:
        hint = "write `key: value`: a colon is missing in this line or above, or a text with a colon lacks its quotes"
    else:
        hint = "check the indentation, quotes and brackets there and in the line above"
    return ArenaError(f"not YAML: {redacted(' '.join(problem.split()))}", where=where, hint=hint)


def _holds_itself(value: object, around: tuple[int, ...] = ()) -> bool:
    """Whether a mapping or list contains itself, which YAML aliases make possible."""
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return id(value) in around or any(_holds_itself(item, (*around, id(value))) for item in items)
