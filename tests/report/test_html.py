"""The page: complete, self-contained, and proof against what models write."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from synthetic_project import build

from arena_learning.core import read_json, write_json
from arena_learning.report.figures import make_figures
from arena_learning.report.html import make_report


class Reader(HTMLParser):
    """Collects tags with their attributes, and the text of scripts and styles."""

    def __init__(self):
        super().__init__()
        self.tags, self.inside, self.raw, self.text = [], None, {}, []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.raw.setdefault(self.inside, []).append(data)
        else:
            self.text.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    params, paths = build(tmp_path_factory.mktemp("html"))
    make_figures(params, paths)
    return make_report(params, paths).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def read(page):
    reader = Reader()
    reader.feed(page)
    return reader


def test_what_a_model_wrote_stays_text(page, read):
    # The hostile answer holds a script, quotes, braces, Jinja, a terminal escape, a right-to-left override.
    assert "alert('x')" not in page
    said = "".join(read.text)
    assert "<script>alert('x')</script> \"quoted\" & {{ 7 * 7 }} {% raw %} {answer} " in said
    assert "שלום" in said
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "\\x1b[31mred" in said
    assert "\\u202eright to left" in said


def test_there_is_one_script_and_one_style_and_the_policy_names_both(read):
    policy = next(a["content"] for t, a in read.tags if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:;")
    for kind in ("script", "style"):
        (text,) = read.raw[kind]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
        assert sum(tag == kind for tag, _ in read.tags) == 1


def test_nothing_comes_from_outside_or_runs_from_an_attribute(read):
    for tag, attributes in read.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name != "style", tag
            if name in ("src", "href"):
                beside = value == "gate.html"  # the page of another stage, in the same folder
                assert beside or value.startswith(("data:image/png;base64,", "#")), (tag, value[:40])


def test_it_has_every_section_figure_and_round(page, read):
    ids = {a["id"] for _, a in read.tags if "id" in a}
    assert {"boards", "figures", "rounds", "monitors", "health", "battles"} <= ids
    images = [a for t, a in read.tags if t == "img"]
    assert len(images) == 4
    assert all(a["alt"] for a in images)
    assert re.search(r"dpo-i1 is \d+ Elo above base \(95 % interval", page)
    assert "no score line" in page


def test_monitors_stand_in_rows_and_what_does_not_apply_is_an_empty_cell(page):
    section = page[page.index('<section id="monitors"') : page.index('<section id="health"')]
    heads = re.findall(r'<th scope="col"[^>]*>([^<]+)</th>', section)
    assert heads == ["monitor", "of", "base", "sft-i1", "dpo-i1", "look closer when"]
    ties = re.search(
        r">ties</th><td [^>]*>its battles</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>", section
    )
    assert ties[1] == ""  # the base learns from no battles
    assert all(re.fullmatch(r"\d+\.\d %", share) for share in ties.groups()[1:])
    assert "KL" not in section  # neither round is a PPO


def test_every_control_has_a_label_and_battles_open_by_keyboard(page, read):
    controls = [t for t, _ in read.tags if t in ("select", "input")]
    assert len(controls) == page.count("<label>")
    battles = [a for t, a in read.tags if t == "details" and a.get("class", "").startswith("battle")]
    assert battles
    assert {a["data-kind"] for a in battles} == {"widest loss", "widest win", "sample"}
    assert {a["data-place"] for a in battles} == {"sft-i1", "dpo-i1", "test set"}
    assert sum(t == "summary" for t, _ in read.tags) >= len(battles)


def test_the_same_files_give_the_same_page(tmp_path):
    params, paths = build(tmp_path, rounds=("sft-i1",), instructions=3)
    first = make_report(params, paths).read_bytes()
    assert make_report(params, paths).read_bytes() == first


@pytest.mark.parametrize("rounds", [(), ("sft-i0", "dpo-i1")])
def test_no_rounds_and_a_round_without_battles_make_a_page(tmp_path, rounds):
    params, paths = build(tmp_path, rounds=rounds, instructions=3)
    page = make_report(params, paths).read_text(encoding="utf-8")
    assert ("No round has a data card yet." in page) == (not rounds)
    assert ("learns the answers of expert" in page) == bool(rounds)


def test_figures_and_rounds_that_are_not_there_are_left_out(tmp_path):
    params, paths = build(tmp_path, instructions=3)
    paths.card("dpo-i1").unlink()
    paths.battles("dpo-i1").unlink()
    page = make_report(params, paths).read_text(encoding="utf-8")
    assert "None have been drawn yet." in page
    assert "<h3>sft-i1</h3>" in page
    assert "<h3>dpo-i1</h3>" not in page


def test_a_round_that_learnt_from_samples_says_how_they_scored_and_under_which_loss(tmp_path):
    params, paths = build(tmp_path)
    make_figures(params, paths)
    judge = paths.stage_metrics("dpo-i1", "judge")
    drawn = {"samples": 8, "unscored": 1, "mean_score": 2.93, "best_score": 4.99, "worst_score": 1.3}
    write_json(judge, read_json(judge) | {"samples": drawn})
    write_json(paths.stage_metrics("dpo-i1", "train"), {"rows": 7, "settings": {"loss": "apo_zero"}})
    reader = Reader()
    reader.feed(make_report(params, paths).read_text(encoding="utf-8"))
    said = re.sub(r"\s+", " ", "".join(reader.text))
    assert said.count("The target drew") == 1
    assert (
        "The target drew 8 samples, 1 without a score. Of an instruction’s samples the worst scores 1.30 on average, "
        "the mean 2.93, the best 4.99." in said
    )
    assert "Trained on 7 rows under the loss apo_zero." in said


def test_a_leaderboard_says_how_independent_its_judge_is(make_params):
    from arena_learning.params import parse_params
    from arena_learning.report.html_context import role_sentence

    raw = make_params()
    raw["judges"] = {
        "rubric": {"kind": "rubric"},
        "content": {"kind": "rubric", "points": "content"},
        "reference": {"kind": "reference"},
    }
    raw["judge"] = {"name": "rubric"}
    rounds = {
        "dpo-i1": {
            "index": 1,
            "method": "dpo",
            "split": "d2",
            "target": "base",
            "init": "base",
            "threshold": 1.0,
        },
        "rloo-i1": {
            "index": 2,
            "method": "rloo",
            "split": "d3",
            "target": "base",
            "init": "base",
            "threshold": 0.0,
        },
    }
    raw["rounds"] = {name: one | {"adds_to": "none", "labels": "none"} for name, one in rounds.items()}
    raw["train"] = {"rloo": {"judge": "rubric", "monitor": "reference"}}
    params = parse_params(raw, "the test")
    assert "(dpo-i1, rloo-i1); its word counts for less" in role_sentence("rubric", params)
    assert "from 'rubric', which reads the same rubrics" in role_sentence("content", params)
    assert "independent" in role_sentence("reference", params)
    raw["train"] = {"rloo": {"judge": "reference", "monitor": "rubric"}}
    params = parse_params(raw, "the test")
    assert "(rloo-i1); its word counts for less" in role_sentence("reference", params)
    assert "(dpo-i1); its word counts for less" in role_sentence("rubric", params)


def test_the_pool_says_what_was_removed_and_why_and_its_texts_stay_text(tmp_path):
    params, paths = build(tmp_path)
    assert "No pool has been prepared yet." in make_report(params, paths).read_text(encoding="utf-8")
    hostile = "<img src=x onerror=alert(1)> \u202e {{ 7 * 7 }} <script>alert('y')</script>"
    card = {
        "read": 40,
        "dropped": {"near duplicate": 3, "of another version": 1, "too short": 6},
        "splits": {"d1": 20, "d2": 0, "test": 8},
        "unused": 2,
        "malformed": 1,
        "first_malformed": [f"x.jsonl, line 4: {hostile}"],
        "passed_over": {f"a conversation with a turn of '{hostile}'": 2},
        "sources": {hostile: 40},
        "examples": {
            "near duplicate": [
                {
                    "id": "q1",
                    "note": "Jaccard 0.91",
                    "text": hostile,
                    "like": "q0",
                    "like_text": "The <b>first</b>",
                }
            ]
        },
    }
    write_json(paths.prepare_card, card)
    page = make_report(params, paths).read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    said = " ".join(" ".join(reader.text).split())
    assert "40 instructions read, 28 in use , 2 left over. 1 malformed row passed over." in said
    assert "near duplicate 3 7.5 % Its word 3-grams are those of an earlier one" in said
    assert (
        said.index("too short 6 15.0 %") < said.index("near duplicate 3") < said.index("of another version 1")
    )
    assert "Removed as near duplicate: examples q1: Jaccard 0.91" in said
    assert "The <b>first</b>" in said
    assert not [tag for tag, attributes in reader.tags if attributes.get("src") == "x"]
    assert "alert('y')" not in page
    assert "\u202e" not in page
