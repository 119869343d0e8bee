"""Manages the worker process of a vLLM model: exchanges lines of JSON with it, and reports its errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from arena_learning.core import ArenaError

_PATIENCE_SECONDS = 20.0  # time for the process to end by itself
_LOG_LINES = 5


class VllmProcess:
    """Starts the worker when needed, sends it requests, and ends it.

    The worker ends when its standard input closes, so it cannot outlive this process. vLLM's log goes to a file that is
    kept, and named in the error, only if the worker fails.

    Args:
        setup: the worker's first line; see `engines.vllm.worker`.
        where: the model's section of params.yaml, for errors.
    """

    def __init__(self, setup: dict[str, Any], where: str) -> None:
        self._setup, self._where = setup, where
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[bytes] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The worker's process id, or None."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the worker and load the model, unless it is running.

        Raises:
            ArenaError: the model cannot be loaded.
        """
        if self._process is not None:
            return
        if self._closed:
            raise ArenaError("the engine is closed", where=self._where)
        self._log = tempfile.NamedTemporaryFile(prefix="arena-vllm-", suffix=".log", delete=False)  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "arena_learning.engines.vllm.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # only this process gets an interrupt, and then ends the worker
        )
        try:
            self.ask(self._setup)
        except ArenaError:
            self._end(wait=0)  # a worker without a model cannot answer
            raise

    def ask(self, request: dict[str, Any]) -> Any:
        """Return the worker's answer.

        Raises:
            ArenaError: the worker reports an error, or has ended.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        except BaseException:  # an interrupt: the reply to this request must not be read as that to the next
            self._end(wait=0)
            raise
        if not line:
            raise self._ended()
        reply = json.loads(line)
        if "error" in reply:
            error = reply["error"]
            raise ArenaError(error["what"], where=error["where"] or self._where, hint=error["hint"])
        return reply["answer"]

    def close(self) -> None:
        """End the worker; it cannot be started again."""
        self._closed = True
        self._end(wait=_PATIENCE_SECONDS)

    def _end(self, wait: float) -> int | None:
        """End the worker and its child processes; return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):  # it may have ended before
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait)
        _kill_group(process.pid)
        code = process.wait()
        process.stdout.close()
        if self._log is not None:
            self._log.close()
            Path(self._log.name).unlink(missing_ok=True)
            self._log = None
        return code

    def _ended(self) -> ArenaError:
        """Return the error of a worker that ended during a request; its log is kept."""
        assert self._log is not None
        kept, self._log = self._log, None
        code = self._end(wait=_PATIENCE_SECONDS)
        kept.close()
        lines = Path(kept.name).read_text(encoding="utf-8", errors="replace").splitlines()
        last = " / ".join([line.strip()[:200] for line in lines if line.strip()][-_LOG_LINES:])
        how = f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        return ArenaError(
            f"vLLM's process has ended ({how}): {last or 'its log is empty'}",
            where=self._where,
            hint=f"its log is {kept.name}; if memory ran out, lower vllm.memory, vllm.cache_gib or vllm.context",
        )


def _kill_group(pid: int) -> None:
    """Kill the remaining processes of the worker's group: with tensor parallelism it has children."""
    with suppress(ProcessLookupError, PermissionError):  # no process is left
        os.killpg(pid, signal.SIGKILL)
