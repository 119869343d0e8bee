"""Names that people give freely, in MLflow: none is refused, and no two become one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_learning.core.json_files import write_text
from arena_learning.tracking import track_project
from arena_learning.tracking.metric_names import LONGEST, apart, slug
from arena_learning.tracking.mlflow_store import opened
from arena_learning.tracking.prompts import registry_name

ODD = [
    *("C", "C++", "C#", "C/C++", "c", "C ", " C", "_C", "C_", "C!", "C?"),
    *("数学", "物理", "हिन्दी", "हिनदी", "العربية", "Ελληνικά", "café", "cafe\u0301", "cafe"),
    *("", " ", "!!!", "???", ".", "..", "none", "🎨", "🎭"),
    *("a b", "a_b", "a'b", "a  b", "a\tb", "a\nb", "a-b", "a.b"),
    *("x" * 300, "x" * 301, "x" * 100, "数" * 300, "x" * 299 + "!"),
    *("score/x", "../x", "a//b", "%20", "a:b", "ｆｕｌｌ", "\u200b", "²"),
]


@pytest.mark.parametrize("plain", ["writing", "math", "C", "other", "v1.5", "multi-turn", "a_b", "STEM"])
def test_a_plain_name_stays_as_it_is(plain):
    assert slug(plain) == plain


@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("creative writing", "creative_writing"),
        ("the winner's answer is too long", "the_winner_s_answer_is_too_long"),
        ("gap below the threshold", "gap_below_the_threshold"),
    ],
)
def test_words_keep_the_name_they_had(name, old):
    assert slug(name) == old


@given(st.lists(st.text(max_size=130), unique=True, max_size=12))
def test_no_two_names_become_one(names):
    found = apart(names)
    assert list(found) == names
    assert len(set(found.values())) == len(names)
    assert all(0 < len(one) <= LONGEST for one in found.values())


def test_all_categories_reach_mlflow_each_by_its_own_name(project):
    params, paths = project
    board = json.loads(paths.leaderboard.read_text(encoding="utf-8"))
    board["boards"][board["judge"]]["categories"] = {
        name: dict.fromkeys(params.contestants, 1 + n / 10) for n, name in enumerate(ODD)
    }
    write_text(paths.leaderboard, json.dumps(board))
    report = track_project(params, paths)
    assert (report.warnings, report.failed) == ([], False)
    with opened(paths) as store:
        runs = store.client.search_runs([store.experiment], "tags.`arena.kind` = 'round'")
        metrics = runs[0].data.metrics
    held = {key: value for key, value in metrics.items() if key.startswith("score/")}
    assert sorted(held.values()) == pytest.approx([1 + n / 10 for n in range(len(ODD))])
    assert held["score/C"] == 1.0


@pytest.mark.parametrize("name", ["数学", "it's", 'say "hi"', "a`b", "100%", "plain-1"])
def test_an_experiment_of_any_name_is_found_again_beside_others(project, monkeypatch, name):
    params, paths = project
    monkeypatch.setenv("DVC_EXP_NAME", f"{name}!")
    other = len(track_project(params, paths).logged)
    monkeypatch.setenv("DVC_EXP_NAME", name)
    first, second = track_project(params, paths), track_project(params, paths)
    assert (first.failed, second.failed) == (False, False)
    assert (len(first.logged), len(second.logged), len(second.unchanged)) == (other, 0, other)
    with opened(paths) as store:
        found = store.client.search_runs([store.experiment], "tags.`arena.key` = 'flywheel'")
    assert {run.info.run_name for run in found} == {name, f"{name}!"}


def test_templates_of_any_script_are_prompts_of_their_own():
    names = [
        "pairwise-score",
        "prompts/mine.jinja",
        "my judge.jinja",
        "数学.jinja",
        "物理.jinja",
        "a+b",
        "a&b",
    ]
    found = [registry_name(name) for name in names]
    assert len(set(found)) == len(names)
    assert found[:3] == ["arena-judge-pairwise-score", "arena-judge-prompts-mine", "arena-judge-my-judge"]
