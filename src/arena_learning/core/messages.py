"""Messages while something runs: one logger, on standard error, as lines to read or as JSON.

Figures and results go to standard output; only messages come here. ``ARENA_QUIET``, ``ARENA_VERBOSE`` and
``ARENA_LOG_JSON`` hold the choice for the stages that DVC starts.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime

from arena_learning.core.sanitize import line_json, sanitized

# The options of `arena`, as environment variables: click reads them by these names.
QUIET, VERBOSE, AS_JSON = "ARENA_QUIET", "ARENA_VERBOSE", "ARENA_LOG_JSON"


class _Messages(logging.Logger):
    """A logger that stays on.

    What configures logging from a file, as Alembic does under MLflow, switches all loggers off that the file does not
    name.
    """

    @property
    def disabled(self) -> bool:
        """Never."""
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        pass


def _own_logger() -> logging.Logger:
    usual = logging.getLoggerClass()
    logging.setLoggerClass(_Messages)
    try:
        return logging.getLogger("arena_learning")
    finally:
        logging.setLoggerClass(usual)


logger = _own_logger()


class _StandardError(logging.Handler):
    """Writes to what standard error is now, not to what it was when the package was imported."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message as a line."""
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # nobody reads it any more
            self.handleError(record)


class _Lines(logging.Formatter):
    """A message, safe to display; a warning begins with its level."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = sanitized(record.getMessage())  # it may quote an endpoint, a model or a file
        return f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text


class _Json(logging.Formatter):
    """A message as a JSON object with time, level, message, the stage under DVC, and figures where there are any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        found = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if stage := os.environ.get("DVC_STAGE"):
            found["stage"] = stage
        return line_json(found | getattr(record, "figures", {}))


def set_up_log(*, quiet: bool = False, verbose: bool = False, as_json: bool = False) -> None:
    """Choose what is shown and how; the choice also holds for processes that this one starts.

    Args:
        quiet: warnings and errors alone, without progress.
        verbose: what helps to find a fault, too.
        as_json: a JSON object a line.
    """
    handler = _StandardError()
    handler.setFormatter(_Json() if as_json else _Lines())
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    for name, chosen in ((QUIET, quiet), (VERBOSE, verbose), (AS_JSON, as_json)):
        if chosen:
            os.environ[name] = "1"
        else:
            os.environ.pop(name, None)


def writes_json() -> bool:
    """Whether messages are written as JSON."""
    return isinstance(logger.handlers[0].formatter, _Json)


set_up_log(
    quiet=os.environ.get(QUIET) == "1",
    verbose=os.environ.get(VERBOSE) == "1",
    as_json=os.environ.get(AS_JSON) == "1",
)
