"""Shows progress with rate and time left: a bar on a terminal, else a message every few seconds."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from arena_learning.core.messages import logger, writes_json

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


class Progress:
    """Counts finished work and reports it on standard error; with ``--quiet`` it reports nothing.

    Args:
        label: name of the work.
        total: number of units.
        unit: name of a unit, in the plural.
        every: seconds between two messages; also the least time that work must take to be reported.

    Example::

        with Progress("judging", total=len(pairs), unit="games") as progress:
            for pair in pairs:
                judge_pair(pair)
                progress.advance()
    """

    def __init__(self, label: str, total: int, unit: str = "items", every: float = 10.0) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self._every = every
        self._start = self._last = time.monotonic()
        shown = logger.isEnabledFor(logging.INFO)
        self._bar = _bar() if shown and sys.stderr.isatty() and not writes_json() else None
        self._task = self._bar.add_task(self._text(), total=total) if self._bar else None

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add ``count`` finished units; ``note`` is appended to the line."""
        self.done += count
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, total=self.total, description=self._text(note))
            return
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._say(now, note)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            return
        now = time.monotonic()
        if self._last > self._start or now - self._start >= self._every:
            self._say(now, "" if kind is None else "stopped")

    def _text(self, note: str = "") -> str:
        from rich.markup import escape

        return escape(f"{self.label}: {self.unit}{f', {note}' if note else ''}")

    def _say(self, now: float, note: str) -> None:
        elapsed = max(now - self._start, 1e-9)
        rate = self.done / elapsed
        left = (self.total - self.done) / rate if rate and self.done < self.total else None
        told = f"{left:.0f} s left" if left is not None else "done"
        line = f"{self.label}: {self.done}/{self.total} {self.unit}, {rate:.1f}/s, {elapsed:.0f} s, {told}"
        figures = {"done": self.done, "total": self.total, "seconds": round(elapsed, 1)}
        logger.info(f"{line}, {note}" if note else line, extra={"figures": figures})


def _bar() -> Bar:
    """Return a bar with count, rate and time left, on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    return Bar(*columns, console=Console(stderr=True))


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Hide transformers' progress bars during the block: loading takes only seconds."""
    from transformers.utils import logging as library

    shown = library.is_progress_bar_enabled()
    library.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            library.enable_progress_bar()
