"""Commands by their full path, with an environment that is not on PATH: programs are found beside the interpreter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from arena_learning.core.json_files import write_text
from arena_learning.project.doctor import examine

ARENA = [sys.executable, "-c", "from arena_learning.cli.main import main; main()"]


@pytest.fixture
def bare(tmp_path, make_params):
    """A DVC repository, and a PATH that holds git alone."""
    root, programs = tmp_path / "clone", tmp_path / "bin"
    programs.mkdir()
    (programs / "git").symlink_to(shutil.which("git"))
    root.mkdir()
    write_text(root / "params.yaml", yaml.safe_dump(make_params()))
    write_text(root / "out", "an out of a stage\n")
    write_text(root / "dvc.yaml", "stages:\n  a: {cmd: 'true', outs: [out]}\n")
    environment = {**os.environ, "PATH": str(programs), "DVC_NO_ANALYTICS": "1"}
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "VIRTUAL_ENV"):
        environment.pop(name, None)

    def call(*command, code=0):
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    call("git", "init", "-q")
    call(sys.executable, "-m", "dvc", "init", "-q")
    call(sys.executable, "-m", "dvc", "commit", "-q", "-f")
    call("git", "add", "-A")
    call.root, call.programs = root, programs
    return call


def test_cleaning_finds_dvc_without_the_environment_on_path(bare):
    cache = bare.root / ".dvc" / "cache" / "files" / "md5"
    assert list(cache.rglob("*"))
    write_text(cache / "ab" / ("c" * 30), "an object that nothing refers to")
    assert "DVC cache" in bare(*ARENA, "clean")
    bare(*ARENA, "clean", "--yes", "--only", "DVC cache")
    assert not (cache / "ab" / ("c" * 30)).exists()


def test_a_folder_of_dvcs_name_in_the_project_is_not_taken_for_the_program(bare):
    write_text(bare.root / "dvc" / "__init__.py", "raise SystemExit('the wrong one')\n")
    write_text(bare.root / "dvc" / "__main__.py", "raise SystemExit('the wrong one')\n")
    assert "DVC cache" in bare(*ARENA, "clean")


def test_where_dvc_refuses_its_words_are_shown_and_no_traceback(bare):
    shutil.rmtree(bare.root / ".git")
    shutil.rmtree(bare.root / ".dvc" / "tmp", ignore_errors=True)
    write_text(bare.root / "dvc.yaml", "stages: [")
    write_text(bare.root / ".dvc" / "cache" / "files" / "md5" / "ab" / ("c" * 30), "x")
    assert "`dvc gc" in bare(*ARENA, "clean", code=2)


def test_the_doctor_says_that_dvc_repro_would_not_find_arena(bare, monkeypatch):
    from arena_learning.core.paths import Paths

    monkeypatch.setenv("PATH", str(bare.programs))
    (found,) = [f for f in examine(Paths(bare.root)) if "not on PATH" in f.what]
    assert found.level == "warn"
    assert str(Path(sys.executable).parent) in found.hint
    (bare.programs / "arena").symlink_to(shutil.which("git", path=str(bare.programs)))
    assert not [f for f in examine(Paths(bare.root)) if "not on PATH" in f.what]
