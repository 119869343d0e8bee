from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from arena_learning.core.atomic import atomic_write
from arena_learning.core.errors import ArenaError, system_error

WRITER = """
import sys
from pathlib import Path
from arena_learning.core.atomic import atomic_write
with atomic_write(Path(sys.argv[1])) as written:
    written.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def start_writer(path: Path) -> subprocess.Popen[str]:
    """Start a process that writes ``path`` and does not end."""
    command = [sys.executable, "-c", WRITER, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_what_a_killed_write_left_goes_with_the_next_write_of_the_same_file(tmp_path):
    path = tmp_path / "games.jsonl"
    path.write_text("before")
    with start_writer(path) as process:
        process.send_signal(signal.SIGKILL)
    assert path.read_text() == "before"
    assert len(hidden(tmp_path)) == 1
    with atomic_write(tmp_path / "battles.jsonl") as written:
        written.write_text("another file")
    assert len(hidden(tmp_path)) == 1
    with atomic_write(path) as written:
        written.write_text("after")
    assert path.read_text() == "after"
    assert hidden(tmp_path) == []


def test_what_another_process_writes_just_now_stays(tmp_path):
    path = tmp_path / "report.json"
    with start_writer(path) as process:
        (theirs,) = hidden(tmp_path)
        with atomic_write(path) as written:
            written.write_text("mine")
        assert hidden(tmp_path) == [theirs]
        process.communicate()
    assert process.returncode == 0
    assert path.read_text() == "half"  # the last to end
    assert hidden(tmp_path) == []


def test_an_editors_own_hidden_file_stays(tmp_path):
    (tmp_path / ".params.yaml.swp").write_text("an editor's")
    with atomic_write(tmp_path / "params.yaml") as written:
        written.write_text("seed: 1")
    assert hidden(tmp_path) == [".params.yaml.swp"]


def test_an_error_leaves_what_stood_there(tmp_path):
    path = tmp_path / "a" / "b.json"
    path.parent.mkdir()
    path.write_text("before")
    with pytest.raises(TypeError), atomic_write(path) as written:
        written.write_text(5)  # type: ignore[arg-type]
    assert path.read_text() == "before"
    assert hidden(path.parent) == []


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(ArenaError, match="the disk is full") as caught, atomic_write(tmp_path / "big.gguf"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value.where).endswith("big.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_right_is_an_error_that_names_a_folder_that_can_be_asked(tmp_path):
    """A folder that may not be searched cannot even be asked whether it is one, nor can a name that is too long."""
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    told = system_error(error, tmp_path / ("x" * 300) / "rows.jsonl")
    assert told is not None
    assert told.hint.endswith(f"`chmod -R u+rwX {tmp_path}`")
