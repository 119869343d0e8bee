"""Engines for tests of replicas; a module of its own, which the processes of Ray import."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from arena_learning.core.errors import ArenaError
from arena_learning.engines.base import Completion, Conversation, Refused
from arena_learning.params import Sampling


class Logged:
    """Answers with what it was asked and the batch that it stood in; notes each batch and its process in a folder.

    ``die:`` in a conversation ends the process, ``die once:`` only the first time; ``refuse:`` and ``fail:`` are what
    they say.
    """

    batch_size, batch_exact = 3, False

    def __init__(self, folder: Path, wait: float = 0.0, own: str = "", *, reopens: bool = True) -> None:
        self.folder, self.wait = folder, wait
        if not reopens and (folder / "died").exists():
            raise ArenaError("its weights are gone")
        self.fingerprint = {"engine": "logged", "version": "1", "own": own.format(pid=os.getpid())}

    def respond(
        self, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Completion | Refused]:
        texts = [turns[-1].content for turns in conversations]
        name = f"{texts[0].replace(' ', '_')}.{time.monotonic_ns()}.{os.getpid()}"
        (self.folder / name).write_text("")
        first = not (self.folder / "died").exists()
        if any(text.startswith("die:") or (first and text.startswith("die once:")) for text in texts):
            (self.folder / "died").write_text("")
            os._exit(1)
        if any(text.startswith("fail:") for text in texts):
            raise ArenaError("it cannot", where="there", hint="mend it")
        time.sleep(self.wait)
        whole = "+".join(texts)
        return [
            Refused("too long")
            if text.startswith("refuse:")
            else Completion(f"{text} in {whole}", "stop", 2, 3, 9.0)
            for text in texts
        ]

    def close(self) -> None:
        """Nothing to give back."""
