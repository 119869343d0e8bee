"""A reviewer's file: it only grows, survives a kill, and says what is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from review_project import make_review_project

from arena_learning.core import ArenaError, append_json
from arena_learning.judge.audit import read_labelled
from arena_learning.review import VerdictConflictError, open_session, read_reviews
from arena_learning.schema import Review, read_rows


@pytest.fixture
def project(tmp_path):
    return make_review_project(tmp_path, 12)


def judge(session, winner="model_a", note=""):
    key = session.next().battle.key
    return session.record(key, winner, note, "")


def test_what_is_done_is_not_shown_again_and_each_verdict_is_in_the_file_at_once(project):
    params, paths = project
    session = open_session("ann", params, paths, count=5)
    first = judge(session, "both_bad", "neither counts")
    assert read_rows(paths.review("ann"), Review) == [first]
    judge(session, None)
    again = open_session("ann", params, paths, count=5)
    assert list(again.done) == list(session.done)
    assert again.next() == session.next()
    for _ in range(3):
        judge(again)
    assert again.next() is None
    assert len({row.battle for row in read_rows(paths.review("ann"), Review)}) == 5
    more = open_session("ann", params, paths, count=8)
    assert (len(more.done), more.total) == (5, 8)


def test_reviewers_see_the_same_battles_in_an_order_and_on_sides_of_their_own(project):
    params, paths = project
    ann, bob = (open_session(name, params, paths, count=72) for name in ("ann", "bob"))
    orders = [list(one._shown) for one in (ann, bob)]
    assert set(orders[0]) == set(orders[1])
    assert orders[0] != orders[1]
    sides = [{key: one.shown(key).names for key in orders[0]} for one in (ann, bob)]
    assert sides[0] != sides[1]
    first = Counter(names[0] < names[1] for names in sides[0].values())
    assert min(first.values()) > 20  # of 72: a fair coin misses this once in 4,000 times
    for key in orders[0]:
        shown = ann.shown(key)
        texts = {shown.battle.a: shown.battle.text_a, shown.battle.b: shown.battle.text_b}
        assert shown.answers == tuple(texts[name] for name in shown.names)


def test_a_change_is_another_row_that_every_reader_takes_for_the_first(project):
    params, paths = project
    session = open_session("ann", params, paths, count=3)
    first = judge(session, "model_a")
    second = judge(session, "model_b")
    before = paths.review("ann").read_bytes()
    changed = session.record(first.battle, "tie", "after all", first.id)
    assert paths.review("ann").read_bytes().startswith(before)
    assert (changed.replaces, changed.id.rpartition(".")[2]) == (first.id, "2")
    assert {row.id for row in read_reviews(paths)} == {second.id, changed.id}
    labelled = read_labelled(paths.reviews)
    assert {pair.id: pair.label for pair in labelled.pairs} == {second.id: "model_b", changed.id: "tie"}
    assert session.before(None) == changed.battle


def test_a_verdict_on_what_has_changed_meanwhile_is_refused(project):
    params, paths = project
    session = open_session("ann", params, paths, count=3)
    first = judge(session)
    for held in ("", "made-up"):
        with pytest.raises(VerdictConflictError):
            session.record(first.battle, "tie", "", held)
    assert len(read_rows(paths.review("ann"), Review)) == 1


def test_a_random_draw_takes_over_what_was_judged_for_disagreement(project):
    params, paths = project
    divided = open_session("ann", params, paths, sampling="disagreement", count=72)
    while divided.next():
        judge(divided, "model_b", "divided")
    drawn = open_session("ann", params, paths, count=30)
    both = set(drawn.done)
    assert 0 < len(both) < 30
    rows = {row.battle: row for row in read_reviews(paths)}
    assert {key for key, row in rows.items() if row.sampling == "random"} == both
    assert all((row.winner, row.note) == ("model_b", "divided") for row in rows.values())
    size = paths.review("ann").stat().st_size
    assert list(open_session("ann", params, paths, count=30).done) == list(drawn.done)
    assert paths.review("ann").stat().st_size == size
    # The other way round a verdict stays what it is, also when it is changed.
    again = open_session("ann", params, paths, sampling="disagreement", count=72)
    key = next(iter(both))
    assert again.record(key, "tie", "", again.done[key].id).sampling == "random"


def test_a_line_that_a_kill_cut_is_removed_and_the_battle_is_asked_again(project, caplog):
    params, paths = project
    session = open_session("ann", params, paths, count=3)
    judge(session)
    whole = paths.review("ann").read_bytes()
    judge(session)
    paths.review("ann").write_bytes(paths.review("ann").read_bytes()[:-40])
    assert len(open_session("ann", params, paths, count=3).done) == 1
    assert paths.review("ann").read_bytes() == whole


def test_a_last_line_without_a_line_break_is_kept(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a":1}\n{"b":2}', encoding="utf-8")
    append_json(file, {"c": 3})
    assert [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] == [
        {"a": 1},
        {"b": 2},
        {"c": 3},
    ]


WRITER = """
import sys
from pathlib import Path
from arena_learning.core import append_json
for number in range(1000000):
    append_json(Path(sys.argv[1]), {"writer": sys.argv[2], "number": number, "text": "x" * 5000})
    print(number, flush=True)
"""


def test_writers_that_are_killed_lose_nothing_that_they_reported(tmp_path):
    file = tmp_path / "rows.jsonl"
    call = [sys.executable, "-c", WRITER, str(file)]
    writers = [subprocess.Popen([*call, name], stdout=subprocess.PIPE, text=True) for name in "ab"]
    for writer in writers:
        for _ in range(40):
            writer.stdout.readline()
    reported = {}
    for name, writer in zip("ab", writers, strict=True):
        writer.kill()
        reported[name] = 39 + len(writer.stdout.read().split())
        writer.stdout.close()
        writer.wait()
    append_json(file, {"writer": "c"})
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for name, last in reported.items():
        numbers = [row["number"] for row in rows if row["writer"] == name]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > last


def test_on_a_full_disk_nothing_is_added_and_the_error_says_so(tmp_path, monkeypatch):
    """A first write that fits in part, then one to /dev/full, which answers as a full disk does."""
    file, real = tmp_path / "rows.jsonl", os.write
    append_json(file, {"a": 1})
    before = file.read_bytes()
    with open("/dev/full", "wb", buffering=0) as full, monkeypatch.context() as patched:
        writes = iter(
            [lambda handle, data: real(handle, data[:3]), lambda handle, data: real(full.fileno(), data)]
        )
        patched.setattr(os, "write", lambda handle, data: next(writes)(handle, data))
        with pytest.raises(ArenaError, match="the disk is full"):
            append_json(file, {"b": 2})
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("../ann", "ann"),
        ("ann b", "ann-b"),
        ("", "ann"),
        (".hidden", "hidden"),
        ("a/b", "a-b"),
        ("..", "ann"),
    ],
)
def test_a_name_that_is_no_files_name_is_refused(project, name, instead):
    with pytest.raises(ArenaError) as caught:
        open_session(name, *project)
    assert caught.value.where == "--reviewer"
    assert caught.value.hint.endswith(f"such as --reviewer {instead}")
