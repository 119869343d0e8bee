"""Reads Parquet files, Arrow files, and the folders that `datasets.Dataset.save_to_disk` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arena_learning.core import ArenaError, missing_file

_BATCH = 1024  # rows of Parquet per batch: conversations are long
_STATE = "state.json"
# What `datasets` writes beside the rows.
DESCRIPTIONS = frozenset({_STATE, "dataset_info.json", "dataset_dict.json"})

Items = Iterator[tuple[str, Any]]


def parquet_rows(path: Path) -> Items:
    """Yield the place and the fields of each row of a Parquet file.

    Raises:
        ArenaError: the file is missing or no Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            yield from _rows(path, table.iter_batches(batch_size=_BATCH))
    except FileNotFoundError:
        raise missing_file(path) from None
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise _no_table(error, path, "Parquet") from None


def arrow_rows(path: Path) -> Items:
    """Yield the place and the fields of each row of an Arrow file, in the stream format (as `datasets`) or the file's.

    Raises:
        ArenaError: the file is missing or no Arrow.
    """
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as file:
            try:
                batches: Any = pa.ipc.open_stream(file)
            except pa.ArrowInvalid:
                file.seek(0)
                opened = pa.ipc.open_file(file)
                batches = (opened.get_batch(n) for n in range(opened.num_record_batches))
            yield from _rows(path, batches)
    except FileNotFoundError:
        raise missing_file(path) from None
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise _no_table(error, path, "Arrow") from None


def unlisted(path: Path) -> bool:
    """Return whether a file holds no rows of its own: it describes a saved data set, or is a cache beside one.

    A folder that `datasets` has saved names its files in ``state.json``. Other Arrow files in it are left from
    transformations, and would give the same rows twice.

    Raises:
        ArenaError: the ``state.json`` beside an Arrow file is malformed.
    """
    if path.name in DESCRIPTIONS:
        return True
    state = path.parent / _STATE
    if path.suffix != ".arrow" or not state.is_file():
        return False
    try:
        listed = [file["filename"] for file in json.loads(state.read_text(encoding="utf-8"))["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArenaError(
            f"the folder of a saved data set does not name its files: {error!r}",
            where=str(state),
            hint="save the data set again, or remove this file to read every .arrow file of the folder",
        ) from None
    return path.name not in listed


def _rows(path: Path, batches: Any) -> Items:
    number = 0
    for batch in batches:
        for row in _without_times(batch).to_pylist():
            number += 1
            yield f"{path}, row {number}", row


def _without_times(batch: Any) -> Any:
    """Return a batch with its times as text: no importer reads them, and Python's times have no nanoseconds."""
    import pyarrow as pa

    columns = [
        column.cast(pa.string()) if pa.types.is_temporal(column.type) else column for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _no_table(error: Exception, path: Path, kind: str) -> ArenaError:
    return ArenaError(f"not {kind}: {(str(error).splitlines() or ['?'])[0]}", where=str(path))
