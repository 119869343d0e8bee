"""Shows progress with rate and time left: a bar on a terminal, else a message every few seconds.

Work that is done at the same time, in threads, has its bars below each other in one display: two displays of one
terminal would overwrite each other.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from arena_learning.core.messages import logger, writes_json

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


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
        self._said = -1
        self._every = every
        self._start = self._last = time.monotonic()
        self._bar: Bar | None = None
        self._task: TaskID | None = None

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
        if logger.isEnabledFor(logging.INFO) and sys.stderr.isatty() and not writes_json():
            self._bar = _display.begin()
            self._task = self._bar.add_task(self._text(), total=self.total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            _display.end()
            return
        if kind is None and self._said == self.done:  # the last unit's message was the last one
            return
        now = time.monotonic()
        if self._last > self._start or now - self._start >= self._every:
            self._say(now, "" if kind is None else "stopped")

    def _text(self, note: str = "") -> str:
        from rich.markup import escape

        return escape(f"{self.label}: {self.unit}{f', {note}' if note else ''}")

    def _say(self, now: float, note: str) -> None:
        self._said = self.done
        elapsed = max(now - self._start, 1e-9)
        rate = self.done / elapsed
        left = (self.total - self.done) / rate if rate and self.done < self.total else None
        told = f"{left:.0f} s left" if left is not None else "done"
        line = f"{self.label}: {self.done}/{self.total} {self.unit}, {rate:.1f}/s, {elapsed:.0f} s, {told}"
        figures = {"done": self.done, "total": self.total, "seconds": round(elapsed, 1)}
        logger.info(f"{line}, {note}" if note else line, extra={"figures": figures})


class _Display:
    """The display of all work that is going on; it begins with the first and ends with the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: Bar | None = None
        self._going_on = 0

    def begin(self) -> Bar:
        """Return the display for one more."""
        with self._lock:
            if self._shown is None:
                self._shown = _bar()
                self._shown.start()
            self._going_on += 1
            return self._shown

    def end(self) -> None:
        """One has ended; its bar stays as it is until the last one ends."""
        with self._lock:
            self._going_on -= 1
            if self._shown is not None and not self._going_on:
                self._shown.stop()
                self._shown = None


_display = _Display()


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
