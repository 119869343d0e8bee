"""Messages and progress: lines to read or JSON, quiet or verbose, and the choice holds for the stages that follow."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import arena_learning
from arena_learning.cli.main import cli
from arena_learning.core import Progress, logger, set_up_log
from arena_learning.core.messages import AS_JSON, QUIET, VERBOSE

PACKAGE = Path(arena_learning.__file__).parent
# The last words of a process that is about to be killed, the line that stays while MLflow's server runs, and what
# other processes wrote, passed on as it is.
DIRECT = {"core/messages.py", "core/stage_lock.py", "tracking/server.py", "train/launch.py"}


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    for name in (QUIET, VERBOSE, AS_JSON):
        monkeypatch.delenv(name, raising=False)
    set_up_log()
    yield
    set_up_log()


def say() -> None:
    logger.debug("found")
    logger.info("100% of 3")
    logger.warning("odd")


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({}, ["100% of 3", "warning: odd"]),
        ({"quiet": True}, ["warning: odd"]),
        ({"verbose": True}, ["found", "100% of 3", "warning: odd"]),
    ],
)
def test_lines_to_read(options, lines, capsys):
    set_up_log(**options)
    say()
    out = capsys.readouterr()
    assert out.err.splitlines() == lines
    assert out.out == ""


def test_what_a_message_quotes_acts_on_no_terminal(capsys):
    said = "refused: \x1b[31mred\u202e \x9b2J 名前 ½"
    logger.warning(said)
    assert capsys.readouterr().err == "warning: refused: \\x1b[31mred\\u202e \\x9b2J 名前 ½\n"
    set_up_log(as_json=True)
    logger.warning(said, extra={"figures": {"model": "a\x9bb"}})
    line = capsys.readouterr().err
    assert line.rstrip("\n").isprintable()
    found = json.loads(line)
    assert (found["message"], found["model"]) == (said, "a\x9bb")


def test_json_is_an_object_a_line_with_time_level_stage_and_figures(capsys, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "battle@sft-i1")
    set_up_log(as_json=True)
    logger.warning("odd")
    with Progress("answer", 2, "instructions", every=0) as progress:
        progress.advance(2)
    first, *_, last = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time").startswith("20")
    assert first == {"level": "warning", "message": "odd", "stage": "battle@sft-i1"}
    assert (last["level"], last["done"], last["total"]) == ("info", 2, 2)


def test_progress_elsewhere_than_on_a_terminal_is_lines(capsys):
    with Progress("answer", 4, "instructions", every=0) as progress:
        progress.advance()
        progress.advance(3, "waiting for 1 of another process")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2  # the last message is not said again at the end
    assert lines[0].startswith("answer: 1/4 instructions, ")
    assert lines[1].startswith("answer: 4/4 instructions, ")
    assert lines[1].endswith("done, waiting for 1 of another process")
    set_up_log(quiet=True)
    with Progress("answer", 4, "instructions", every=0) as progress:
        progress.advance(4)
    assert capsys.readouterr().err == ""


def test_work_of_a_moment_is_not_reported(capsys):
    with Progress("answer", 1, every=60.0) as progress:
        progress.advance()
    assert capsys.readouterr().err == ""


CODE = """
from arena_learning.core import Progress
with Progress("judge [x]", 3, "games") as progress:
    progress.advance(3)
"""


TWO = """
from arena_learning.core import Progress, logger
with Progress("one", 3) as one:
    with Progress("two", 5) as two:
        one.advance(3)
        logger.warning("odd")
        two.advance(5)
with Progress("three", 7) as three:
    three.advance(7)
"""
HIDE = "\x1b[?25l"  # a display that redraws itself hides the cursor when it begins


def on_a_terminal(code):
    """Return what a program shows on a terminal."""
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", code],
        stderr=theirs,
        check=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    return shown


def test_progress_on_a_terminal_is_a_bar():
    """The brackets of a label are text, not markup."""
    shown = on_a_terminal(CODE)
    assert "judge [x]: games" in shown
    assert "3/3" in shown


def test_work_at_the_same_time_has_its_bars_in_one_display():
    shown = on_a_terminal(TWO)
    assert shown.count(HIDE) == 2  # one for the two, and one for the third
    together, after = (part.partition(HIDE)[2] for part in (shown[: shown.rindex(HIDE)], shown))
    assert "warning: odd" in together
    lines = [line for line in together.splitlines() if ": items" in line]
    one, two = lines[-2:]  # as they stay on the screen
    assert ["one: items" in one, "3/3" in one, "two: items" in two, "5/5" in two] == [True] * 4
    assert "7/7" in after
    assert "━" in shown


def test_the_options_of_the_command_line_hold_for_the_processes_that_it_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(cli, ["--quiet", "--log-json", "doctor"])
    child = "from arena_learning.core import logger; logger.info('hidden'); logger.warning('shown')"
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == ["shown"]
    for name in (QUIET, AS_JSON):
        monkeypatch.delenv(name)
    CliRunner().invoke(cli, ["doctor"])
    assert os.environ.get(QUIET) is None
    both = CliRunner().invoke(cli, ["--quiet", "--verbose", "doctor"])
    assert (both.exit_code, "exclude each other" in both.output) == (2, True)


def test_messages_go_through_the_logger():
    direct = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "sys.stderr.write" in path.read_text(encoding="utf-8")
    }
    assert direct == DIRECT, "write `logger.info(...)` or `logger.warning(...)`, of arena_learning.core"
