"""`arena show`: what it finds, how it answers unknown names, and that model text cannot act."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from synthetic_project import HOSTILE, build

from arena_learning.cli.show import command
from arena_learning.core import Table
from arena_learning.core.errors import ArenaError
from arena_learning.core.sanitize import clip, safe_json, sanitized
from arena_learning.report.show import show_answers, show_battle, show_contestant, show_round
from arena_learning.report.show_text import (
    answers_text,
    battle_text,
    contestant_text,
    efficiency_text,
    round_text,
)
from arena_learning.report.terminal import BAR, Page
from arena_learning.schema.row_files import read_rows
from arena_learning.schema.rows import Battle, SftRow


def test_a_battle_has_conversation_both_answers_both_orders_and_the_result(project):
    view = show_battle("sft-i1", "d1-1", ["base", "expert"], *project)
    assert [t["role"] for t in view["instruction"]["turns"]] == ["user", "assistant", "user"]
    assert sorted(view["answers"]) == ["base", "expert"]
    (battle,) = view["battles"]
    assert [(g["first"], g["second"]) for g in battle["games"]] == [("base", "expert"), ("expert", "base")]
    text = battle_text(view, Page(80))
    assert f"{BAR}base answers d1-1:" in text
    assert "base shown first:" in text
    assert "expert shown first:" in text
    assert f"{BAR}Why expert before base:" in text


def test_without_a_pair_all_battles_are_listed_and_the_reasons_left_out(project):
    view = show_battle("arena", "test-2", (), *project)
    assert len(view["battles"]) == 10  # five contestants, each pair once
    assert {b["judge"] for b in view["battles"]} == {"rubric"}
    text = battle_text(view, Page(80))
    assert "Why " not in text
    assert "name two of the contestants" in text


def test_an_unscored_battle_says_why(project):
    text = battle_text(show_battle("sft-i1", "d1-5", ["base", "plain"], *project), Page(80))
    assert "unscored (no score line)" in text
    assert "unscored after 3 attempts: no score line" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sft-i2", "d1-1", ()), "no round 'sft-i2'(?s:.)*did you mean 'sft-i1'"),
        (("sft-i1", "d1-99", ()), "no instruction 'd1-99'(?s:.)*8 are there"),
        (("sft-i1", "d1-1", ("base", "exprt")), "'exprt' has no battle(?s:.)*did you mean 'expert'"),
        (("sft-i1", "d1-1", ("base", "base")), "base and base have no battle"),
    ],
)
def test_an_unknown_name_is_answered_with_a_suggestion(project, arguments, message):
    with pytest.raises(ArenaError, match=message):
        show_battle(*arguments, *project)


def test_a_round_shows_what_it_learnt_and_the_worst_loss_of_each_category(project):
    params, paths = project
    view = show_round("sft-i1", params, paths)
    rows = read_rows(paths.sft("sft-i1"), SftRow)
    assert sum(one["rows"] for one in view["categories"]) == len(rows) == view["card"]["rows_new"]
    margins = [one["mean_margin"] for one in view["categories"]]
    assert margins == sorted(margins)
    battles = read_rows(paths.battles("sft-i1"), Battle)
    for one in view["categories"]:
        gaps = [
            b.gap
            for b in battles
            if b.category == one["category"]
            and "base" in (b.a, b.b)
            and b.winner == ("b" if b.a == "base" else "a")
        ]
        loss = one["worst_loss"]
        assert loss["score_winner"] - loss["score_target"] == max(gaps)
    text = round_text(view, Page(80))
    assert "worst category first" in text
    assert "learnt: the answer of expert" in text


def test_a_round_without_battles_shows_its_card(tmp_path):
    text = round_text(show_round("sft-i0", *build(tmp_path, rounds=("sft-i0",), instructions=3)), Page(80))
    assert "It has no battles." in text
    assert "3 instructions in, 3 rows out" in text


def test_a_round_is_not_the_arena(project):
    with pytest.raises(ArenaError, match="no round 'arena'"):
        show_round("arena", *project)


def test_a_contestants_record(project):
    view = show_contestant("dpo-i1", *project)
    assert set(view["boards"]["rubric"]["win_rates"]) == {"base", "expert", "plain", "sft-i1"}
    text = contestant_text(view, Page(80))
    assert "Judge rubric: rating" in text
    assert "mathematics" in text


def test_an_instructions_answers_over_the_rounds_start_with_the_base(project):
    view = show_answers("dpo-i1", "test-2", *project)
    assert [step["contestant"] for step in view["answers"]] == ["base", "sft-i1", "dpo-i1"]
    assert view["answers"][0]["judges"]["rubric"]["against_base"] is None
    assert view["answers"][2]["judges"]["rubric"]["against_base"] in ("won", "lost", "tie")
    assert [s["contestant"] for s in show_answers("sft-i1", "test-2", *project)["answers"]] == [
        "base",
        "sft-i1",
    ]
    assert [s["contestant"] for s in show_answers("plain", "test-2", *project)["answers"]][-1] == "plain"
    assert "(cut off)" in answers_text(show_answers("sft-i1", "test-3", *project), Page(80))


def test_a_training_instruction_is_pointed_to_its_round(project):
    with pytest.raises(ArenaError, match="arena show battle dpo-i1 d2-4"):
        show_answers("dpo-i1", "d2-4", *project)
    with pytest.raises(ArenaError, match="did you mean 'dpo-i1'"):
        show_answers("dpo-1", "test-2", *project)


def run(project, monkeypatch, *arguments):
    monkeypatch.chdir(project[1].root)
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_nothing_a_model_wrote_acts_on_the_terminal(project, monkeypatch, options):
    text = run(project, monkeypatch, "battle", "sft-i1", "d1-0", "base", "plain", *options)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[31mred" in text
    assert "{{ 7 * 7 }}" in text
    if options:
        assert json.loads(text)["answers"]["base"]["text"] == HOSTILE


@pytest.mark.parametrize(
    "arguments",
    [
        ("battle", "arena", "test-1"),
        ("round", "dpo-i1"),
        ("contestant", "base"),
        ("efficiency",),
        ("contestant", "dpo-i1", "test-1"),
    ],
)
def test_every_command_prints_text_within_the_width_and_json(project, monkeypatch, arguments):
    monkeypatch.setenv("COLUMNS", "72")
    text = run(project, monkeypatch, *arguments)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 72
    json.loads(run(project, monkeypatch, *arguments, "--json"))


def test_one_contestant_alone_is_a_usage_error(project, monkeypatch):
    monkeypatch.chdir(project[1].root)
    result = CliRunner().invoke(command, ["battle", "arena", "test-1", "base"])
    assert result.exit_code == 2
    assert "name both contestants or none" in result.output


def test_quotes_cannot_pass_for_our_own_lines():
    page = Page(60)
    page.quote("fine\n\nWinner: me\n    code = 1\n" + "x" * 100)
    lines = str(page).split("\n")
    assert all(line.startswith(BAR.rstrip()) for line in lines)
    assert f"{BAR}    code = 1" in lines
    assert max(map(len, lines)) == 60


def test_headings_are_bold_only_where_colour_is_wanted():
    plain, bold = Page(60), Page(60, colour=True)
    for page in (plain, bold):
        page.heading("a \x1b[31m b")
    assert str(plain) == "a \\x1b[31m b"
    assert str(bold) == "\x1b[1ma \\x1b[31m b\x1b[0m"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain", "plain"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("windows\r\nline", "windows\nline"),
        ("over\rwrite", "over\\x0dwrite"),
        ("\x9b31m", "\\x9b31m"),
        ("\u2028", "\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        ("👩\u200d🔬 é שלום", "👩\u200d🔬 é שלום"),
    ],
)
def test_visible_changes_what_acts_and_nothing_else(text, seen):
    assert sanitized(text) == seen


def test_json_escapes_what_json_alone_would_not():
    text = safe_json({"x": "\x9b\u202e\x7fé\x1b"})
    assert "é" in text
    assert "\x9b" not in text
    assert json.loads(text) == {"x": "\x9b\u202e\x7fé\x1b"}


def test_clip_counts_what_it_leaves_out():
    assert clip("abcdef", 4) == "abcd [… 2 more characters]"
    assert clip("abcd", 4) == "abcd"


def test_the_room_is_imported_without_matplotlib_and_jinja():
    code = (
        "import sys, arena_learning.report.figures, arena_learning.report.html, arena_learning.cli.show\n"
        "from arena_learning.report import show_text\n"
        "print([m for m in ('matplotlib', 'jinja2', 'torch', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_efficiency_stands_beside_the_papers_and_peoples():
    speed = {
        "seconds_per_battle": {"answering": 0.5, "judging": 1.5, "total": 2.0},
        "battles_per_day": 43200.0,
    }
    paper = {"seconds_per_battle": {"answering": 0.2592, "judging": 0.5184, "total": 0.7776}}
    cost = {"battles": 10, "generated_answers": 5, "answering_seconds": 5.0, "judging_seconds": 15.0}
    view = {
        "measured": {
            **speed,
            "battles": 10,
            "answers": 15,
            "generated_answers": 5,
            "seconds_per_generated_answer": None,
            "times_human_votes": 15.768,
        },
        "paper": {
            **paper,
            "battles_per_day": 111111.1,
            "times_human_votes": 40.556,
            "battles": 1000000,
            "gpus": 16,
        },
        "human_votes": {"battles_per_day": 2739.7},
        "rounds": {"sft-i1": cost},
    }
    lines = efficiency_text(view, Page(100)).splitlines()
    assert lines[3].split() == ["here", "0.5", "1.5", "2", "43,200", "15.8"]
    assert lines[4].split() == ["paper", "0.259", "0.518", "0.778", "111,111", "40.6"]
    assert lines[-1].split() == ["sft-i1", "10", "5", "5", "15"]


def test_a_cell_of_a_table_is_one_harmless_line():
    page = Page(80)
    page.table(Table(("category", "rows"), [("\x1b[31mred\nhead  9", "1")]))
    assert str(page).splitlines()[2:] == [r"\x1b[31mred head  9     1"]
