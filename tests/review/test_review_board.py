"""From the page's file to the leaderboard on people's scale, and to the audit of judges."""

from __future__ import annotations

import json

import pytest
from review_project import ANCHOR, NAMES, make_review_project, quality_of, true_rating

from arena_learning.judge.audit import audit_judges
from arena_learning.leaderboard import make_leaderboard
from arena_learning.leaderboard.human import read_human_verdicts
from arena_learning.params import load_params
from arena_learning.project import write_inputs
from arena_learning.review import make_app, open_session
from arena_learning.schema import Response, read_rows, write_rows

HERE = {"Host": "127.0.0.1:5001", "Origin": "http://127.0.0.1:5001"}


def evaluated(params):
    return params.model_copy(
        update={"evaluate": params.evaluate.model_copy(update={"human_verdicts": "reviews"})}
    )


def review_honestly(session):
    """Post the verdicts of somebody who sees which answer is better, through the page's form."""
    client = make_app(session, "s").test_client()
    while (shown := session.next()) is not None:
        one, two = map(quality_of, shown.answers)
        form = {"winner": "1" if one > two else "2", "replaces": ""}
        assert client.post(f"/s/battle/{shown.battle.key}", data=form, headers=HERE).status_code == 303


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory):
    """900 battles, a judge that takes alpha for 156 Elo better than people do, and 240 verdicts of the page."""
    params, paths = make_review_project(tmp_path_factory.mktemp("board"), 150)
    review_honestly(open_session("ann", params, paths, count=240))
    return evaluated(params), paths


def test_the_leaderboard_moves_from_the_biased_judges_ratings_to_peoples(reviewed):
    params, paths = reviewed
    board = make_leaderboard(params, paths)["boards"]["rubric"]
    plain, calibrated = ({r["model"]: r for r in part["ratings"]} for part in (board, board["calibrated"]))
    assert board["calibrated"]["verdicts"] == 240
    assert board["calibrated"]["passed_over"] == {}
    # The judge puts alpha, the worst, before bravo; its interval is sure of it, and wrong.
    assert plain["alpha"]["lower"] > true_rating("alpha") + 50
    assert plain["alpha"]["rating"] > plain["bravo"]["rating"]
    # On people's scale the order is the true one, and the intervals hold the truth.
    assert sorted(NAMES, key=lambda name: calibrated[name]["rating"]) == list(NAMES)
    for name in set(NAMES) - {ANCHOR}:
        assert calibrated[name]["lower"] < true_rating(name) < calibrated[name]["upper"]
    errors = [abs(ratings["alpha"]["rating"] - true_rating("alpha")) for ratings in (plain, calibrated)]
    assert errors[1] < errors[0] / 2


def test_the_audit_of_judges_reads_the_same_folder(reviewed):
    params, paths = reviewed
    found = audit_judges(paths.reviews, ["longer"], params, paths)
    assert (found["labelled"], found["pairs"]) == ("reviews", 240)
    assert found["judges"]["longer"]["all"]["scored"] == 240
    assert paths.audit("reviews").is_file()


def test_what_was_chosen_for_disagreement_is_not_calibrated_with(tmp_path):
    params, paths = make_review_project(tmp_path, 60)
    review_honestly(open_session("ann", params, paths, count=60))
    review_honestly(open_session("bob", params, paths, sampling="disagreement", count=30))
    close = open_session("eve", params, paths, sampling="close", count=20)
    review_honestly(close)
    found = read_human_verdicts(evaluated(params), paths)
    assert len(found.rows) == 80
    assert found.passed == {"chosen because judges disagree, not by chance": 30}


def test_verdicts_on_earlier_answers_are_passed_over(tmp_path):
    params, paths = make_review_project(tmp_path, 20)
    review_honestly(open_session("ann", params, paths, count=60))
    rows = read_rows(paths.arena_responses("bravo"), Response)
    write_rows(paths.arena_responses("bravo"), [row.model_copy(update={"text": "anew"}) for row in rows])
    board = make_leaderboard(evaluated(params), paths)["boards"]["rubric"]["calibrated"]
    # 10 verdicts of each pair, and bravo is in three of the six.
    assert board["passed_over"] == {"other answers than the leaderboard's": 30}
    assert (board["verdicts"], board["left_out"]) == (30, ["bravo"])
    # Those battles are asked again, and then the sample is whole again.
    again = open_session("ann", params, paths, count=60)
    assert len(again.done) == 30


def test_verdicts_none_of_which_counts_any_more_stop_no_leaderboard(tmp_path):
    params, paths = make_review_project(tmp_path, 20)
    review_honestly(open_session("ann", params, paths, count=10))
    review_honestly(open_session("bob", params, paths, sampling="disagreement", count=5))
    for name in NAMES:
        rows = read_rows(paths.arena_responses(name), Response)
        write_rows(paths.arena_responses(name), [row.model_copy(update={"text": "anew"}) for row in rows])
    board = make_leaderboard(evaluated(params), paths)["boards"]["rubric"]
    assert board["calibrated"].keys() == {"problem", "passed_over"}
    assert board["calibrated"]["passed_over"] == {
        "chosen because judges disagree, not by chance": 5,
        "other answers than the leaderboard's": 10,
    }
    assert len(board["ratings"]) == len(NAMES)


def test_dvc_sees_another_verdict(tmp_path):
    params, paths = make_review_project(tmp_path, 12)
    (paths.root / "params.yaml").write_text(
        (paths.root / "params.yaml")
        .read_text(encoding="utf-8")
        .replace("style: false", "human_verdicts: reviews"),
        encoding="utf-8",
    )
    params = load_params(paths.params)
    digests = []
    for count in (2, 2, 4):
        session = open_session("ann", params, paths, count=count)
        while (shown := session.next()) is not None:
            session.record(shown.battle.key, "tie", "", "")
        write_inputs(params, paths)
        digests.append(json.loads(paths.input("human").read_text(encoding="utf-8"))["reviews"])
    assert digests[0] == digests[1] != digests[2]
