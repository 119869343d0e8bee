"""`arena import`: from files of another tool to instructions, recorded answers, verdicts and a battle log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from arena_learning.errors import ArenaError
from arena_learning.importers import alpaca_eval, arena_hard, fastchat, table
from arena_learning.importers.collect import Collected
from arena_learning.importers.source import Record, records

KINDS = ("alpaca-eval", "fastchat", "arena-hard", "jsonl", "parquet")


def import_files(
    kind: str,
    sources: Sequence[Path],
    out: Path,
    *,
    judge: str = "",
    baseline: str = "",
    contestant: str = "",
    columns: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Read ``sources`` and write what is in them below ``out``.

    Written are ``instructions.jsonl`` (a pool), ``answers/NAME.jsonl`` (recorded opponents), ``verdicts.jsonl`` (for a
    judge of kind replay) and ``battles.jsonl`` (for `arena rate`), each if there is something for it.

    Args:
        kind: one of `KINDS`; ``jsonl`` and ``parquet`` read any table.
        sources: files, or folders of them.
        out: the folder.
        judge: only this judge's verdicts.
        baseline: arena-hard: the baseline, where the files do not name it.
        contestant: tables: who answered, where no column says so.
        columns: tables: our names of columns that are called otherwise, by their names.

    Returns:
        What was found, by kind, and ``passed_over`` with reasons.

    Raises:
        ArenaError: a file that cannot be read, a malformed record or a contradiction (with file and line), or
            nothing found.
    """
    takers: dict[str, Callable[[Record, Collected], None]] = {
        "alpaca-eval": lambda record, found: alpaca_eval.take(record, found, judge),
        "fastchat": lambda record, found: fastchat.take(record, found, judge),
        "arena-hard": lambda record, found: arena_hard.take(record, found, judge, baseline),
        "jsonl": lambda record, found: table.take(record, found, contestant),
        "parquet": lambda record, found: table.take(record, found, contestant),
    }
    if kind not in takers:
        raise ArenaError(f"no importer '{kind}'", mend=f"one of {', '.join(KINDS)}")
    found = Collected()
    for source in sources:
        for record in records(source):
            takers[kind](_renamed(record, columns or {}), found)
    found.passed += type(found.passed)()  # drops what was counted as zero times
    return found.write(out)


def _renamed(record: Record, columns: Mapping[str, str]) -> Record:
    if not columns:
        return record
    return record._replace(fields={columns.get(name, name): value for name, value in record.fields.items()})
