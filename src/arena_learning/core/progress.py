"""Shows progress with rate and time left: an updated line on a terminal, else a new line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class Progress:
    """Counts finished work and reports it on standard error.

    Args:
        label: name of the work.
        total: number of units.
        unit: name of a unit, in the plural.
        every: seconds between two reports (a tenth of that on a terminal).

    Example::

        with Progress("judging", total=len(pairs), unit="games") as progress:
            for pair in pairs:
                judge_pair(pair)
                progress.advance()
    """

    def __init__(self, label: str, total: int, unit: str = "items", every: float = 10.0) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self._terminal = sys.stderr.isatty()
        self._every = every / 10 if self._terminal else every
        self._start = self._last = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add ``count`` finished units; ``note`` is appended to the line."""
        self.done += count
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._write(now, note)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        now = time.monotonic()
        if self._last > self._start or now - self._start >= self._every:
            self._write(now, "" if kind is None else "stopped")
            if self._terminal:
                sys.stderr.write("\n")

    def _write(self, now: float, note: str) -> None:
        elapsed = max(now - self._start, 1e-9)
        rate = self.done / elapsed
        left = f"{(self.total - self.done) / rate:.0f} s left" if rate and self.done < self.total else "done"
        line = f"{self.label}: {self.done}/{self.total} {self.unit}, {rate:.1f}/s, {elapsed:.0f} s, {left}"
        line = f"{line}, {note}" if note else line
        sys.stderr.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        sys.stderr.flush()


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Hide transformers' progress bars during the block: loading takes only seconds."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
