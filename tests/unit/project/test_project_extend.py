"""`arena rounds add`: the paper's Table 1, grown stage by stage, and params.yaml's comments."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from arena_learning.cli.rounds import command
from arena_learning.core.errors import ArenaError
from arena_learning.params import load_params
from arena_learning.project.new_rounds import add_rounds, write_added
from arena_learning.schema.row_files import write_rows
from sample import table_one

SHIPPED = Path(__file__).parents[3] / "profiles" / "laptop-3.yaml"
LINKS = ("index", "method", "split", "target", "init", "adds_to", "labels")


def rounds_of(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["rounds"]


@pytest.fixture
def first(tmp_path):
    """A params.yaml that holds only SFT-I0 of the shipped schedule, with all ten splits."""
    path = tmp_path / "params.yaml"
    lines = SHIPPED.read_text(encoding="utf-8").splitlines(keepends=True)
    start = next(n for n, line in enumerate(lines) if line.startswith("  sft-i0:"))
    path.write_text("".join(lines[: start + 1]), encoding="utf-8")
    return path


def test_nine_stages_added_one_by_one_are_table_1(first):
    for _ in range(9):
        write_added(first, add_rounds(first, whole=False))
    grown, table = rounds_of(first), table_one()
    assert list(grown) == list(table)
    for name, row in table.items():
        assert {key: grown[name][key] for key in LINKS} == {key: row[key] for key in LINKS}


def test_three_iterations_are_the_same_and_keep_every_line_that_was_there(first):
    before = first.read_text(encoding="utf-8")
    for _ in range(3):
        assert len(add_rounds(first, whole=True)) == 3
        write_added(first, add_rounds(first, whole=True))
    assert list(rounds_of(first)) == list(table_one())
    assert first.read_text(encoding="utf-8").startswith(before)


def test_an_iteration_that_has_begun_is_completed(first):
    write_added(first, add_rounds(first, whole=False))
    assert [a.name for a in add_rounds(first, whole=True)] == ["dpo-i1", "ppo-i1"]


def test_thresholds_come_from_the_option_or_from_the_last_of_the_kind(first):
    write_added(first, add_rounds(first, whole=True, thresholds=(3.0, 2.5)))
    assert [rounds_of(first)[n]["threshold"] for n in ("sft-i1", "dpo-i1", "ppo-i1")] == [3.0, 2.5, 1.0]
    assert [a.fields.threshold for a in add_rounds(first, whole=True)] == [3.0, 2.5, 1.0]
    with pytest.raises(ArenaError, match="4 thresholds are given for 3 rounds"):
        add_rounds(first, whole=True, thresholds=(1, 1, 1, 1))


def test_an_eleventh_round_has_no_split_left(first):
    for _ in range(9):
        write_added(first, add_rounds(first, whole=False))
    with pytest.raises(ArenaError, match="d0 to d9 are all used"):
        add_rounds(first, whole=False)


def test_a_new_split_comes_after_those_drawn_already_and_is_as_large_as_the_last(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((SHIPPED.parent / "laptop.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    sizes = load_params(path).pool.splits
    (added,) = add_rounds(path, whole=False)
    last = max(sizes)
    assert added.fields.split == f"d{int(last[1:]) + 1}"  # never d0: it would redraw d1 to d3
    assert added.new_size == sizes[last]
    assert add_rounds(path, whole=False, size=7)[0].new_size == 7
    write_added(path, [added])
    assert load_params(path).pool.splits == {**sizes, added.fields.split: sizes[last]}


def test_a_third_stage_of_another_method_is_followed_by_its_kind(first):
    text = first.read_text(encoding="utf-8")
    write_added(first, add_rounds(first, whole=True))
    text = (
        first.read_text(encoding="utf-8").replace("ppo-i1", "rloo-i1").replace("method: ppo", "method: rloo")
    )
    first.write_text(text, encoding="utf-8")
    added = add_rounds(first, whole=True)
    assert [one.name for one in added] == ["sft-i2", "dpo-i2", "rloo-i2"]
    last = added[-1].fields
    assert (last.method, last.target, last.init, last.adds_to) == ("rloo", "dpo-i2", "dpo-i2", "none")
    assert added[0].fields.target == "rloo-i1"
    write_added(first, added)
    assert "rloo-i2" in load_params(first).rounds


def test_names_that_do_not_count_on_are_refused(first):
    text = first.read_text(encoding="utf-8").replace("  sft-i0:", "  warm-up:")
    first.write_text(text, encoding="utf-8")
    with pytest.raises(ArenaError, match="the next name does not follow"):
        add_rounds(first, whole=False)


TAILS = {
    "a comment beside the last round": "  r: 1   # beside\n",
    "a comment below it": "  r: 1\n  # below\n",
    "a block": "  r:\n    index: 0\n    method: sft   # beside\n",
}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS.keys())
def test_comments_stay_where_they_are(tail):
    from io import StringIO

    from ruamel.yaml import YAML

    from arena_learning.project.new_rounds import _append

    text = f"# head\nrounds:\n  # about\n  q: 0\n{tail}\n# the next section\nevaluate: {{x: 1}}   # end\n"
    tree = YAML().load(text)
    for name in ("s", "t"):
        _append(tree["rounds"], name, 2)
    out = StringIO()
    YAML().dump(tree, out)
    lines = out.getvalue().splitlines()
    assert [line for line in lines if line not in ("  s: 2", "  t: 2")] == text.splitlines()
    assert lines.index("  s: 2") + 1 == lines.index("  t: 2") < lines.index("# the next section")


@pytest.fixture
def with_pool(first, monkeypatch, make_instruction):
    """The project's pool as large as its splits, validation and test set: 330 + 117 + 160."""
    monkeypatch.chdir(first.parent)
    rows = [make_instruction(f"i{n}", f"Question {n}") for n in range(607)]
    write_rows(first.parent / "data" / "pool.jsonl", rows)


def test_more_than_the_pool_holds_is_said_and_nothing_is_written(first, with_pool):
    # d0 alone has instructions: the next round's split is a new one.
    text = re.sub(r"splits: \{.*\}", "splits: {d0: 18}", first.read_text(encoding="utf-8"))
    first.write_text(text, encoding="utf-8")
    # 18 + 117 + 160 + 313
    with pytest.raises(ArenaError, match="need 608 instructions, but the pool has 607"):
        CliRunner().invoke(command, ["add", "--size", "313"], catch_exceptions=False)
    assert first.read_text(encoding="utf-8") == text
    CliRunner().invoke(command, ["add", "--size", "312"], catch_exceptions=False)
    assert load_params(first).pool.splits == {"d0": 18, "d1": 312}


def test_the_command_shows_first_and_writes_then(first, with_pool):
    before = first.read_text(encoding="utf-8")
    shown = CliRunner().invoke(command, ["add", "--dry-run"], catch_exceptions=False)
    assert "sft-i1: split d1, target sft-i0, init base, adds_to sft-i0" in shown.output
    assert first.read_text(encoding="utf-8") == before
    CliRunner().invoke(command, ["add"], catch_exceptions=False)
    assert list(rounds_of(first)) == ["sft-i0", "sft-i1"]
