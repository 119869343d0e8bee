"""Agreement of reviewers with each other and with the judges."""

from __future__ import annotations

import re

import numpy as np
import pytest
from review_project import NAMES, make_review_project, quality_of

from arena_learning.judge.audit import OUTCOMES
from arena_learning.review import open_session, review_summary, summary_text
from arena_learning.review.summary import _coincidences, krippendorff_alpha
from arena_learning.schema import Battle, Response, read_rows, write_rows


def judge_all(session, say):
    while (shown := session.next()) is not None:
        session.record(shown.battle.key, say(shown), "", "")


def honest(shown):
    one, two = map(quality_of, shown.answers)
    return "model_a" if one > two else "model_b"


def test_alpha_by_hand():
    """Two reviewers on ten pairs agree on six (four on a, two on b) and are divided on four.

    The table of coincidences has 8 for a with a, 4 for b with b and 4 for a with b, twice; n is 20, 12 values are a
    and 8 are b. Of n(n - 1) = 380 ordered pairs of values 2 * 12 * 8 = 192 differ by chance, and 8 of 20 are seen to
    differ: alpha is 1 - (8 / 20) / (192 / 380) = 1 - 19 / 24.
    """
    units = [["a", "a"]] * 4 + [["b", "b"]] * 2 + [["a", "b"]] * 4
    assert krippendorff_alpha(sum(map(_coincidences, units))) == pytest.approx(5 / 24)


def test_alpha_of_reviewers_who_leave_some_out():
    """Three reviewers, not all of them everywhere: aab, aa, bb, b.

    The single b counts nowhere. Coincidences: aab gives a-a 2/2, a-b 2/2 and b-a 2/2; aa gives a-a 2; bb gives b-b 2.
    So a-a 3, b-b 2, a-b 1 and b-a 1: n = 7, four a and three b. alpha = 1 - (7 - 1) * 2 / (2 * 4 * 3) = 1/2.
    """
    units = [["a", "a", "b"], ["a", "a"], ["b", "b"]]
    assert krippendorff_alpha(sum(map(_coincidences, units))) == pytest.approx(0.5)
    assert _coincidences(["tie", "tie"])[OUTCOMES.index("tie"), OUTCOMES.index("tie")] == 2
    everywhere_the_same = np.diag([4.0, 0.0, 0.0])
    assert np.isnan(krippendorff_alpha(everywhere_the_same))  # without variation nothing can be said


def test_the_agreement_with_a_judge_is_the_share_of_battles_in_which_both_name_the_better_answer(tmp_path):
    params, paths = make_review_project(tmp_path, 20)
    for name in ("ann", "bob"):
        judge_all(open_session(name, params, paths, count=120), honest)
    found = review_summary(params, paths)
    (pair,) = found["pairs"]
    # Each sees sides of their own, but the same contestants win.
    assert (pair["reviewers"], pair["scored"], pair["agreement"]["value"]) == (["ann", "bob"], 120, 1.0)
    assert (found["alpha"]["value"], found["alpha"]["battles"]) == (1.0, 120)
    texts = {
        (name, row.instruction_id): row.text
        for name in NAMES
        for row in read_rows(paths.arena_responses(name), Response)
    }
    for judge in ("rubric-all v1", "reference v1"):
        battles = [b for b in read_rows(paths.arena_battles, Battle) if b.judge == judge]
        better = [
            quality_of(texts[b.a, b.instruction_id]) > quality_of(texts[b.b, b.instruction_id])
            for b in battles
        ]
        right = [(b.winner == "a") == first for b, first in zip(battles, better, strict=True)]
        for line in (line for line in found["judges"] if line["judge"] == judge):
            assert line["agreement"]["value"] == pytest.approx(sum(right) / 120)
            assert line["agreement"]["lower"] < line["agreement"]["value"] < line["agreement"]["upper"]
    text = summary_text(found)
    assert re.search(r"^ann and bob +120 +100\.0% \(100%-100%\)", text, re.M)
    assert "Krippendorff's alpha of all reviewers: 1.00 (1.00 to 1.00), 120 battles of several" in text


def test_one_who_says_the_opposite_has_a_kappa_below_zero_and_skips_count_nowhere(tmp_path):
    params, paths = make_review_project(tmp_path, 20)
    other = {"model_a": "model_b", "model_b": "model_a"}
    judge_all(open_session("ann", params, paths, count=30), honest)
    judge_all(open_session("bob", params, paths, count=20), lambda shown: other[honest(shown)])
    judge_all(open_session("eve", params, paths, count=5), lambda shown: None)
    found = review_summary(params, paths)
    assert [line["skipped"] for line in found["reviewers"]] == [0, 0, 5]
    (pair,) = found["pairs"]
    assert (pair["scored"], pair["agreement"]["value"]) == (20, 0.0)
    assert pair["kappa"]["value"] < -0.5
    assert {line["reviewer"] for line in found["judges"]} == {"ann", "bob"}


def test_verdicts_on_answers_that_are_others_now_are_counted_and_not_compared(tmp_path):
    params, paths = make_review_project(tmp_path, 20)
    judge_all(open_session("ann", params, paths, count=60), honest)
    rows = read_rows(paths.arena_responses("alpha"), Response)
    write_rows(
        paths.arena_responses("alpha"), [row.model_copy(update={"text": f"{row.text}!"}) for row in rows]
    )
    found = review_summary(params, paths)
    assert found["outdated"] == 30  # 10 battles of each pair, and alpha is in three of the six
    assert [line["scored"] for line in found["judges"]] == [30, 30]
    assert "30 verdicts are on answers that are others now" in summary_text(found)
