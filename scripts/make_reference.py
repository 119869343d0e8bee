"""Write the pages of docs/reference that say what the code says: params.md, commands.md and rows.md.

    make reference

Parameters and rows come from the pydantic classes and the ``Attributes:`` of their docstrings, commands from click.
A test holds the committed pages against what this script makes.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
import typing
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from arena_learning import schema
from arena_learning.cli.main import cli
from arena_learning.params import Params

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
COMMAND = "make reference"
_WIDTH = 110
_NOTE = f"<!-- Made by `{COMMAND}` from the code: change the code, not this page. -->\n"
_BOUNDS = {"ge": "≥ {:g}", "gt": "> {:g}", "le": "≤ {:g}", "lt": "< {:g}"}
_PLAIN = {int: "integer", float: "number", bool: "boolean", str: "text", Any: "any"}

_PARAMS = """# Parameters: `params.yaml`

Each heading is a section, below it are its keys. An unknown key is an error that suggests a known one. A **name**
consists of letters, digits, `-` and `_`, begins with a letter or a digit, and has at most 100 characters. Words that
YAML reads as numbers, dates or truth values are no names.
"""
_COMMANDS = """# Commands

An environment variable can set an option, too: `ARENA_RATE_ANCHOR` is `arena rate --anchor`. The exit code is 0, or
2 with a line `error: ...` that says what happened, where, and how to fix it. `arena --debug COMMAND` shows the
traceback of an error and ends with 1.

Results go to standard output, messages and progress to standard error: a bar on a terminal, else a line every ten
seconds. These options stand before the command (`arena --quiet repro`) and hold for the stages that DVC starts:

| option | variable | messages |
|---|---|---|
| `--quiet` | `ARENA_QUIET=1` | warnings and errors alone, no progress |
| `--verbose` | `ARENA_VERBOSE=1` | also what was generated and what was remembered |
| `--log-json` | `ARENA_LOG_JSON=1` | a JSON object a line: time, level, message, stage, counts of progress |
"""
_ROWS = """# Rows

Every data file is JSON Lines in UTF-8. There is one row a line, keys are sorted, and rows have a fixed order, so
that equal content gives equal bytes. Unknown keys are refused; the error names file and line. The criteria of a
rubric are described with [the judges](judges.md#rubric-criteria).

| file | rows |
|---|---|
| `data/pool.jsonl`, `data/prepared/SPLIT.jsonl` | [Instruction](#instruction) |
| `data/prepared/dropped.jsonl` | `{"id": "cook-007", "like": "", "note": "2 characters", "reason": "too short"}` |
| `data/rounds/ROUND/responses.jsonl`, `data/arena/responses/CONTESTANT.jsonl` | [Response](#response) |
| `games.jsonl` in `data/rounds/ROUND` and `data/arena` | [Game](#game) |
| `battles.jsonl` in the same folders | [Battle](#battle) |
| `data/rounds/ROUND/sft.jsonl` | [SftRow](#sftrow) |
| `data/rounds/ROUND/preferences.jsonl` | [PreferenceRow](#preferencerow) |
| `data/rounds/ROUND/samples.jsonl` | [Response](#response) |
| `data/rounds/ROUND/sample_scores.jsonl` | [SampleScore](#samplescore) |
| `registry.json`: a JSON object, `decisions` is a list of these | [Decision](#decision) |
| `feedback.jsonl`: what `arena track` reads from MLflow | [FeedbackVerdict](#feedbackverdict) |
| `reviews/NAME.jsonl` | [Review](#review) |
| the file of a judge `replay` | [RecordedVerdict](#recordedverdict) |
| the file or folder `evaluate.human_verdicts` (also JSON, CSV or Parquet) | [HumanVerdict](#humanverdict) |
| the file of an opponent `recorded` | `{"id": "cook-007", "text": "..."}` |
"""
_ASKED = [{"role": "user", "content": "How long do I boil an egg?"}]
_SHORT, _RIGHT = "Boil it.", "Seven minutes, then cold water."
_JUDGE, _WHY = "rubric-all v1", "First: 10 ... Second: 1 ..."
_PROVENANCE = {
    "round": "dpo-i1",
    "instruction_id": "cook-007",
    "category": "cooking",
    "winner": "expert",
    "loser": "sft-i1",
    "score_winner": 10.0,
    "score_loser": 1.0,
    "gap": 9.0,
    "threshold": 2.0,
    "orders_agree": True,
    "judge": _JUDGE,
    "rationales": [_WHY],
}
_VERDICT = {
    "instruction_id": "cook-007",
    "first": "expert",
    "second": "sft-i1",
    "score_first": 10,
    "score_second": 1,
}
# One question on its way through a round: an example of each row.
EXAMPLES: dict[str, dict[str, Any]] = {
    "Turn": {},
    "Instruction": {
        "id": "cook-007",
        "turns": _ASKED,
        "category": "cooking",
        "rubric": [
            {"kind": "number", "value": 7, "tolerance": 1, "weight": 3},
            {"kind": "length", "max": 30, "weight": 1},
        ],
        "reference": _RIGHT,
    },
    "Response": {
        "instruction_id": "cook-007",
        "contestant": "sft-i1",
        "text": _SHORT,
        "finish_reason": "stop",
        "prompt_tokens": 14,
        "completion_tokens": 4,
    },
    "Game": {**_VERDICT, "judge": _JUDGE, "rationale": _WHY},
    "JuryCount": {},
    "Battle": {
        "instruction_id": "cook-007",
        "category": "cooking",
        "judge": _JUDGE,
        "a": "expert",
        "b": "sft-i1",
        "score_a": 10.0,
        "score_b": 1.0,
        "winner": "a",
        "gap": 9.0,
        "orders_agree": True,
        "games": 2,
        "rationales": [_WHY],
    },
    "Provenance": {},
    "SftRow": {
        "prompt": _ASKED,
        "completion": [{"role": "assistant", "content": _RIGHT}],
        "provenance": {**_PROVENANCE, "round": "sft-i1"},
    },
    "PreferenceRow": {
        "prompt": _ASKED,
        "chosen": [{"role": "assistant", "content": _RIGHT}],
        "rejected": [{"role": "assistant", "content": _SHORT}],
        "provenance": _PROVENANCE,
    },
    "SampleScore": {
        "instruction_id": "cook-007",
        "sample": 3,
        "judge": _JUDGE,
        "score": 6.5,
        "rationales": [_WHY],
    },
    "RecordedVerdict": _VERDICT,
    "HumanVerdict": {
        "instruction_id": "cook-007",
        "model_a": "expert",
        "model_b": "sft-i1",
        "winner": "model_a",
    },
    "FeedbackVerdict": {
        "id": "3f0a9c",
        "round": "test",
        "instruction_id": "cook-007",
        "judge": _JUDGE,
        "model_a": "sft-i1",
        "model_b": "expert",
        "label": "model_b",
        "said": "second",
        "reviewer": "ann",
        "when": "2026-01-01T12:00:00Z",
        "note": "It says how long.",
        "turns": _ASKED,
        "response_a": _SHORT,
        "response_b": _RIGHT,
        "category": "cooking",
    },
    "Review": {
        "id": "1f0c6b7e2a94d385.ann.1",
        "battle": "1f0c6b7e2a94d385",
        "place": "arena",
        "instruction_id": "cook-007",
        "category": "cooking",
        "source": "own",
        "turns": _ASKED,
        "model_a": "sft-i1",
        "model_b": "expert",
        "response_a": _SHORT,
        "response_b": _RIGHT,
        "winner": "model_b",
        "note": "the first one says no time",
        "reviewer": "ann",
        "sampling": "random",
        "seed": 20240715,
        "at": "2026-01-01T12:00:00Z",
        "replaces": "",
    },
    "Decision": {
        "kind": "promote",
        "when": "2026-01-01T12:00:00Z",
        "round": "dpo-i1",
        "weights": "9f2c...",
        "against": "sft-i1",
        "accepted": False,
        "reasons": ["cut-off answers: 0.200, of sft-i1 0.066: a change of +0.134, above the limit of 0.05"],
        "leaderboard": "5d41...",
    },
}


def pages() -> dict[str, str]:
    """Return each page's file name and text."""
    made = {"params.md": params_page(), "commands.md": commands_page(), "rows.md": rows_page()}
    return {name: _NOTE + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n" for name, text in made.items()}


def params_page() -> str:
    """Return the page of all parameters: a heading a section, then the sections that several share."""
    homes: dict[type[BaseModel], str] = {}
    _find_sections("", Params, homes)
    todo = list(homes)
    for kind in todo:  # grows: a base may have bases of its own
        for base in _bases(kind):
            if base not in homes:
                homes[base] = base.__name__
                todo.append(base)
    parts = [_PARAMS]
    for kind, place in homes.items():
        parts += [_heading(place), _about(kind)]
        also = [f"[`{homes[base]}`]({_anchor(homes[base])})" for base in _bases(kind)]
        if also:
            parts.append(f"The keys of {' and '.join(also)} belong here too.")
        own = {key: info for key, info in kind.model_fields.items() if key in kind.__annotations__}
        parts += [_fields(kind, own, homes)] if own else []
    return "\n\n".join(parts)


def commands_page() -> str:
    """Return the page of all commands; options of more than two commands stand once, and so do those of a group."""
    found = list(_commands(cli, click.Context(cli, info_name="arena")))
    counted = Counter(record for one in found for record in one.options)
    common = [record for record, count in counted.items() if count > 2]
    parts = [_COMMANDS, "## Common options", _listed(common)]
    once = set(common)
    for one in found:
        text = inspect.cleandoc(one.command.help or "").replace("\b\n", "")
        if one.path == "arena":
            continue
        if isinstance(one.command, click.Group):
            within = Counter(
                r for other in found if other.path.startswith(f"{one.path} ") for r in other.options
            )
            shared = [record for record, count in within.items() if count > 1 and record not in common]
            once |= set(shared)
            parts += [_heading(one.path), text]
            parts += ["Options of more than one of them:", _listed(shared)] if shared else []
            continue
        also = ", ".join(f"`{record[0].split()[0]}`" for record in one.options if record in once)
        own = _listed([record for record in one.options if record not in once])
        usage = f"    {one.usage}" if one.usage != one.path else ""
        parts += [_heading(one.path, "###" if one.path.count(" ") > 1 else "##"), usage, text, own]
        parts += [f"{'And' if own else 'Options:'} {also}."] if also else []
    return "\n\n".join(part for part in parts if part)


def rows_page() -> str:
    """Return the page of all rows, each with an example, which its class has read."""
    parts = [_ROWS]
    for name, example in EXAMPLES.items():
        kind: type[BaseModel] = getattr(schema, name)
        parts += [f"## {name}", _about(kind), _fields(kind, kind.model_fields, {})]
        if example:
            row = kind.model_validate(example).model_dump(mode="json", exclude_unset=True)
            parts.append(f"```json\n{_json(row)}\n```")
    return "\n\n".join(parts)


class _Command(typing.NamedTuple):
    """A command or group: its path, how it is called, and its options with their help."""

    path: str
    command: click.Command
    usage: str
    options: list[tuple[str, str]]


def _commands(command: click.Command, context: click.Context) -> Iterator[_Command]:
    path = context.command_path
    pieces = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    records = [param.get_help_record(context) for param in command.params if isinstance(param, click.Option)]
    yield _Command(path, command, " ".join([path, *pieces]), [record for record in records if record])
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, name
            yield from _commands(inner, click.Context(inner, info_name=name, parent=context))


def _listed(records: Sequence[tuple[str, str]]) -> str:
    return "\n".join(_wrapped(f"- `{option}`: {' '.join(text.split())}") for option, text in records)


def _wrapped(item: str) -> str:
    return textwrap.fill(item, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _find_sections(place: str, kind: type[BaseModel], homes: dict[type[BaseModel], str]) -> None:
    """Note where each section stands, in the order of the file; one that is a base of others has its own place."""
    homes[kind] = place
    for key, info in kind.model_fields.items():
        for inner in _kinds(info.annotation):
            name = f"{place}.{key}".strip(".") + (".NAME" if get_origin(info.annotation) is dict else "")
            if inner not in homes and not any(inner in _bases(known) for known in (*homes, *_siblings(kind))):
                _find_sections(name, inner, homes)


def _siblings(kind: type[BaseModel]) -> list[type[BaseModel]]:
    return [inner for info in kind.model_fields.values() for inner in _kinds(info.annotation)]


def _bases(kind: type[BaseModel]) -> list[type[BaseModel]]:
    return [base for base in kind.__bases__ if issubclass(base, BaseModel) and base.model_fields]


def _kinds(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for part in get_args(annotation) for kind in _kinds(part)]


def _heading(place: str, depth: str = "") -> str:
    return f"{depth or '##'} `{place}`" if place else "## Top level"


def _anchor(place: str) -> str:
    return "#" + re.sub(r"[^a-z0-9_ -]", "", place.lower()).replace(" ", "-")


def _fields(kind: type[BaseModel], fields: dict[str, FieldInfo], homes: dict[type[BaseModel], str]) -> str:
    """Return a list of fields: name, type and range, default, meaning."""
    said, lines = _meanings(kind), []
    for key, info in fields.items():
        inner = next((one for one in _kinds(info.annotation) if one in homes), None)
        shown = f"[section]({_anchor(homes[inner])})" if inner else _type(info.annotation, info.metadata)
        default = f", {_default(info)}" if _default(info) else ""
        meaning = f": {said[key]}" if key in said else ""
        lines.append(_wrapped(f"- **`{key}`** ({shown}{default}){meaning}"))
    return "\n".join(lines)


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Return a type and its range in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        held = [
            one for part in parts[1:] for one in (part.metadata if isinstance(part, FieldInfo) else [part])
        ]
        return _type(parts[0], held)
    if origin is Literal:
        return ", ".join(f"`{part}`" if part else "empty" for part in parts)
    if origin is tuple:
        return f"list of {_type(parts[0])}"
    if origin is dict:
        return f"map of {_type(parts[0])} to {_type(parts[1])}"
    if parts:
        return " or ".join(_type(part, metadata) for part in parts)
    if annotation is type(None):
        return "none"
    if any(getattr(getattr(one, "func", None), "__name__", "") == "check_name" for one in metadata):
        return "name"
    plain = _PLAIN.get(annotation, "")
    if not plain:
        return f"[{annotation.__name__}]({_anchor(annotation.__name__)})"
    limits = [
        text.format(getattr(one, name))
        for one in metadata
        for name, text in _BOUNDS.items()
        if hasattr(one, name)
    ]
    return " ".join([plain, ", ".join(limits)]).strip()


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return ""
    return (
        "default none"
        if value is None
        else f"default `{value if isinstance(value, str) and value else _json(value)}`"
    )


def _meanings(kind: type[BaseModel]) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say of each field below ``Attributes:``."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        block = re.search(r"^Attributes:\n((?:[ ]{4}.*\n?|\n)+)", inspect.cleandoc(one.__doc__ or ""), re.M)
        for item in re.findall(r"^ {4}(\w+): ((?:.*\n?(?= {8}|$))+)", block[1] if block else "", re.M):
            found[item[0]] = _inline(item[1])
    return found


def _about(kind: type[BaseModel]) -> str:
    """Return a class's docstring without attributes and example, wrapped."""
    whole = inspect.cleandoc(kind.__doc__ or "")
    text = re.sub(r"^(?:Attributes|Example):\n(?:[ ]{4}.*\n?|\n)+", "", whole, flags=re.M)
    return "\n\n".join(textwrap.fill(_inline(part), _WIDTH) for part in text.split("\n\n") if part.strip())


def _inline(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _json(value: Any, indent: str = "") -> str:
    """Return JSON in which what fits a line stands on one."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(line) <= _WIDTH - 20 or not isinstance(value, dict | list):
        return line
    keys = [f"{json.dumps(key)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
    items = value.values() if isinstance(value, dict) else value
    inner = [f"{indent}  {key}{_json(item, f'{indent}  ')}" for key, item in zip(keys, items, strict=True)]
    opens, closes = "{}" if isinstance(value, dict) else "[]"
    return f"{opens}\n" + ",\n".join(inner) + f"\n{indent}{closes}"


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")
        print(f"{FOLDER.name}/{name}: {len(text.split())} words")


if __name__ == "__main__":
    main()
