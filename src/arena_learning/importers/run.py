"""`arena import`: converts another tool's files to instructions, recorded answers, verdicts and a battle log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from arena_learning.core import ArenaError
from arena_learning.importers import alpaca_eval, arena_hard, fastchat, table
from arena_learning.importers.collect import Collected
from arena_learning.importers.source import Record, other_files, records

MALFORMED = "a malformed row"
_SHOWN = 5  # number of malformed rows that are reported
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
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Read ``sources`` and write their contents below ``out``.

    It writes ``instructions.jsonl`` (a pool), ``answers/NAME.jsonl`` (recorded opponents), ``verdicts.jsonl`` (for a
    judge of kind replay), ``battles.jsonl`` (for `arena rate`) and ``labelled.jsonl`` (for `arena audit-judge`). A file
    that would be empty is not written.

    Args:
        kind: one of `KINDS`; ``jsonl`` and ``parquet`` read any table.
        sources: files or folders.
        out: folder for the results.
        judge: import only this judge's verdicts; empty for all.
        baseline: arena-hard: name of the baseline, if the files do not contain it.
        contestant: tables: name of the contestant, if no column contains it.
        columns: tables: new names of columns, by their names in the file.
        skip_bad: skip and count malformed rows; else the first one is an error.

    Returns:
        Counts by kind of row; ``renamed``: contestants whose names are not valid file names; ``passed_over``: counts by
        reason; ``columns_not_read``: number of rows by column; with ``skip_bad``, ``bad_rows``: the first malformed
        rows.

    Raises:
        ArenaError: a file cannot be read, a record is malformed or contradicts another (with file and line), or
            there is nothing to import.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "votes.csv").write_text("model_a,model_b,winner\\nx,y,A\\ny,x,tie\\n")
        >>> import_files("jsonl", [folder / "votes.csv"], folder / "imported")["battles"]
        2
    """
    takers: dict[str, tuple[Callable[[Record, Collected], None], frozenset[str]]] = {
        "alpaca-eval": (lambda row, found: alpaca_eval.take(row, found, judge), alpaca_eval.READ),
        "fastchat": (lambda row, found: fastchat.take(row, found, judge, contestant), fastchat.READ),
        "arena-hard": (lambda row, found: arena_hard.take(row, found, judge, baseline), arena_hard.READ),
        "jsonl": (lambda row, found: table.take(row, found, contestant, judge), table.READ),
        "parquet": (lambda row, found: table.take(row, found, contestant, judge), table.READ),
    }
    if kind not in takers:
        raise ArenaError(f"unknown importer '{kind}'", hint=f"use one of {', '.join(KINDS)}")
    found, bad_rows = _collected(sources, *takers[kind], columns or {}, skip_bad)
    return found.write(out) | ({"bad_rows": bad_rows} if bad_rows else {})


def _collected(
    sources: Sequence[Path],
    take: Callable[[Record, Collected], None],
    read: frozenset[str],
    columns: Mapping[str, str],
    skip_bad: bool,
) -> tuple[Collected, list[str]]:
    """Return the contents of the sources and the first malformed rows; ``read`` are the columns that ``take`` reads."""
    found, bad_rows = Collected(), list[str]()

    def pass_over(error: ArenaError) -> None:
        if not skip_bad:
            raise error
        found.passed[MALFORMED] += 1
        if len(bad_rows) < _SHOWN:
            bad_rows.append(f"{error.where}: {error.what}")

    unseen = set(columns)
    for source in sources:
        found.passed["a file of another kind"] += other_files(source)
        for record in records(source, pass_over):
            unseen -= record.fields.keys()
            if skip_bad:
                found.begin_row()
            try:
                row = _renamed(record, columns)
                take(row, found)
                for name in row.fields.keys() - read:
                    found.unread[name] += row.has(name)
            except ArenaError as error:
                found.undo_row()
                pass_over(error)
    if unseen:
        what = f"no column '{min(unseen)}' in any row"
        raise ArenaError(what, where="--column", hint="write THEIRS=OURS, with THEIRS as in the file")
    found.passed, found.unread = +found.passed, +found.unread  # drops zero counts
    return found, bad_rows


def _renamed(record: Record, columns: Mapping[str, str]) -> Record:
    if not columns:
        return record
    fields = {columns.get(name, name): value for name, value in record.fields.items()}
    if len(fields) < len(record.fields):
        twice = next(
            ours for theirs, ours in columns.items() if ours in record.fields and theirs in record.fields
        )
        raise ArenaError(
            f"the row already has a column '{twice}'", where=record.where, hint="give --column another name"
        )
    return record._replace(fields=fields)
