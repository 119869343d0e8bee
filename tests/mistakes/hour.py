"""A small project in which a test makes a mistake, reads the message, and does what the hint says."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from arena_learning.cli.main import main
from pipeline.project import call

COUNT = 30
_COMMAND = re.compile(r"`([^`]+)`")
# Where the message itself says what is right: a hint, or what a value should be.
_TELLS = re.compile(r"hint: |; |should be|needs|such as|is not one of")
_MEANT = re.compile(r"did you mean '([^']+)'")


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def hint(self) -> str:
        """The hint: what follows ``hint:``, else the whole message, whose lines end with what to do."""
        _, mark, hint = self.err.partition("hint: ")
        return hint if mark else self.err

    @property
    def command(self) -> str:
        """The command that the hint names."""
        found = _COMMAND.search(self.hint)
        assert found, f"no command in the hint: {self.text}"
        return found[1]

    @property
    def meant(self) -> str:
        """The word that the message suggests."""
        found = _MEANT.search(self.text)
        assert found, f"no suggestion: {self.text}"
        return found[1]


class Hour:
    """Runs commands in a project: `arena` in this process, where nothing else is needed."""

    def __init__(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.root, self._patch, self._capsys = root, monkeypatch, capsys

    def run(self, command: str) -> Said:
        """Run a command line: `arena` in this process, anything else and `arena repro` in a shell."""
        words = shlex.split(command)
        if words[0] != "arena" or words[1:2] == ["repro"] or any(w in ("&&", "|", ">") for w in words):
            return self.shell(command)
        self._patch.chdir(self.root)
        self._patch.setattr(sys, "argv", words)
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        said = self._capsys.readouterr()
        return Said(int(code or 0), said.out, said.err)

    def shell(self, command: str, *, path: str | None = None) -> Said:
        """Run a command line in a shell, with another ``PATH`` if one is given."""
        done = call(self.root, "bash", "-c", command, path=path, timeout=300)
        return Said(done.returncode, done.stdout, done.stderr)

    def works(self, command: str, *said: str) -> Said:
        """Run a command that must succeed, and say these words."""
        done = self.run(command)
        assert done.code == 0, f"{command} -> {done.code}\n{done.text}"
        for words in said:
            assert words in done.text, done.text
        return done

    def fails(self, command: str, *said: str) -> Said:
        """Run a command that must end in one error that a user can fix, with these words."""
        return told(self.run(command), *said)

    # What a user does to files.

    def file(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.file(name)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def read(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    def rows(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read(name).splitlines()]

    def write_rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        self.write(name, "".join(json.dumps(row) + "\n" for row in rows))

    def replace(self, old: str, new: str, name: str = "params.yaml") -> None:
        """Replace a text that stands in a file."""
        text = self.read(name)
        assert old in text, f"{old!r} is not in {name}"
        self.write(name, text.replace(old, new))

    def set(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change params.yaml as data."""
        params = yaml.safe_load(self.read("params.yaml"))
        change(params)
        self.write("params.yaml", yaml.safe_dump(params, sort_keys=False))


def told(said: Said, *words: str) -> Said:
    """Check that this is one error with exit code 2, in plain lines, with these words and a hint."""
    assert said.code == 2, f"exit code {said.code}\n{said.text}"
    assert "Traceback" not in said.text, said.text
    assert len(re.findall(r"^(?:error|Error): ", said.err, flags=re.MULTILINE)) == 1, said.text
    for one in words:
        assert one in said.err, said.text
    assert _TELLS.search(said.err), f"no hint: {said.text}"
    return said


def tiny_params(model: Path) -> Callable[[dict[str, Any]], None]:
    """Return a change that leaves one round, a few tokens an answer, and what needs no embedding."""

    def change(params: dict[str, Any]) -> None:
        params["weights"]["source"] = str(model)
        params["serving"] = {"engine": "openvino", "dtype": "f16", "batch_size": 8, "device": "cpu"}
        params["sampling"]["max_tokens"] = 8
        params["pool"]["filters"]["contamination"] = 0.0
        params["evaluate"] |= {"bootstrap": 100, "judges": ["rubric"]}
        params["train"] |= {"device": "cpu", "precision": "fp32"}
        params["rounds"] = {name: one for name, one in params["rounds"].items() if name != "rloo-i1"}

    return change
