"""Few human verdicts and many of a biased judge give ratings on the human scale, with intervals that cover."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.rating import RatingParams, TooFewVerdictsError, calibrate, rate

UNIT = 400 / np.log(10)
NAMES = np.array(["a", "b", "c", "d"])
STRENGTH = np.array([0.0, 0.4, 0.8, 1.2])
# The judge takes a for 0.9 (156 Elo) better than people do, as it would if a's answers were long.
BIAS = np.array([0.9, 0.0, 0.0, 0.0])
HOW = RatingParams(anchor=("d", 1000.0), interval="sandwich")


def verdicts(generator, prompts=150):
    """All pairs on each prompt: a frame with the judge's winner, and people's.

    Both see the same difference: it has a share in common that is drawn once for an answer, so verdicts agree more
    often than strengths alone would make them. The logistic noise of people's is whole: their Bradley-Terry is exact.
    """
    a, b = np.array(list(combinations(range(4), 2))).T
    noise = generator.gumbel(size=(prompts, 4))
    strange = generator.gumbel(size=(prompts, 4))
    human = STRENGTH + noise
    judge = STRENGTH + BIAS + 0.8 * noise + 0.6 * strange
    rows = {"model_a": np.tile(NAMES[a], prompts), "model_b": np.tile(NAMES[b], prompts)}
    rows["prompt_id"] = np.repeat(np.arange(prompts), len(a)).astype(str)
    for name, seen in (("human", human), ("judge", judge)):
        rows[name] = np.where(seen[:, a] > seen[:, b], "model_a", "model_b").ravel()
    return pd.DataFrame(rows)


def of(frame, who):
    return frame.drop(columns=["human", "judge"]).assign(winner=frame[who])


def drawn(generator, frame, number):
    return of(frame.iloc[np.sort(generator.choice(len(frame), number, replace=False))], "human")


def test_intervals_cover_the_human_ratings_where_the_judges_do_not():
    generator = np.random.default_rng(3)
    truth = dict(zip(NAMES, 1000 + UNIT * (STRENGTH - STRENGTH[3]), strict=True))
    covered, plain, narrower = [], [], []
    for _ in range(150):
        frame = verdicts(generator)
        labels = drawn(generator, frame, 180)
        found = calibrate(of(frame, "judge"), labels, HOW)
        judged, alone = rate(of(frame, "judge"), HOW), rate(labels, HOW)
        for name in "abc":
            one, other = found.result[name], judged[name]
            covered.append(one.lower <= truth[name] <= one.upper)
            plain.append(other.lower <= truth[name] <= other.upper)
            narrower.append((one.upper - one.lower) / (alone[name].upper - alone[name].lower))
    # 450 intervals; the three of a run are not independent, so the share's standard error is up to 0.018.
    assert 0.90 < np.mean(covered) < 0.985
    # Those of the judge miss a nearly always: its bias of 156 Elo is several times their half-width.
    assert np.mean(plain) < 0.75
    assert np.mean(plain[::3]) < 0.1
    # The judge's verdicts are of use: intervals are narrower than those of the human verdicts alone.
    assert np.mean(narrower) < 0.97


def test_with_human_verdicts_on_everything_the_ratings_are_theirs():
    generator = np.random.default_rng(5)
    frame = verdicts(generator)
    found = calibrate(of(frame, "judge"), of(frame, "human"), HOW)
    human = rate(of(frame, "human"), HOW)
    for name in NAMES:
        assert found.result[name].rating == pytest.approx(human[name].rating, abs=1e-4)
    assert found.verdicts == len(frame)
    assert found.by_model == dict.fromkeys(NAMES, 450)  # three opponents on 150 prompts
    assert found.agreement == (frame.human == frame.judge).mean()


def test_a_judge_that_answers_as_people_do_counts_in_full():
    generator = np.random.default_rng(6)
    frame = verdicts(generator)
    found = calibrate(of(frame, "human"), drawn(generator, frame, 120), HOW)
    human = rate(of(frame, "human"), HOW)
    # people - judge is 0 on every battle: what is left is the mean of all the judge's verdicts.
    assert found.power == pytest.approx(1.0)
    assert found.agreement == 1.0
    assert found.worth > 3
    for name in NAMES:
        assert found.result[name].rating == pytest.approx(human[name].rating, abs=1e-4)


def test_a_judge_that_guesses_is_left_out():
    generator = np.random.default_rng(7)
    frame = verdicts(generator, prompts=300)
    frame["judge"] = np.where(generator.random(len(frame)) < 0.5, "model_a", "model_b")
    labels = drawn(generator, frame, 600)
    found = calibrate(of(frame, "judge"), labels, HOW)
    assert found.power < 0.15
    assert found.worth < 1.05


def test_a_pair_by_hand():
    # Judge: x wins 6 of 8. People judge p1 to p4: x wins p1 and p2, where the judge says x, x, x, y.
    # At power 1 the points of x are 8 * (2/4 + 6/8 - 3/4) = 4 of 8: level. At power 0 they are 8 * 2/4: level too.
    asked = [f"p{i}" for i in range(1, 9)]
    judged = pd.DataFrame({"model_a": "x", "model_b": "y", "prompt_id": asked})
    judged["winner"] = [
        "model_a",
        "model_a",
        "model_a",
        "model_b",
        "model_a",
        "model_a",
        "model_a",
        "model_b",
    ]
    people = judged.iloc[:4].assign(winner=["model_a", "model_a", "model_b", "model_b"])
    found = calibrate(judged, people, RatingParams(anchor=("y", 1000.0)))
    assert found.result["x"].rating == pytest.approx(1000.0)
    assert found.agreement == 0.75
    # The order of the two sides says nothing.
    swapped = people.rename(columns={"model_a": "model_b", "model_b": "model_a"})
    swapped["winner"] = swapped.winner.map({"model_a": "model_b", "model_b": "model_a"})
    again = calibrate(judged, swapped, RatingParams(anchor=("y", 1000.0)))
    assert again.result["x"] == found.result["x"]


def test_several_people_on_one_battle_count_as_their_mean():
    generator = np.random.default_rng(8)
    frame = verdicts(generator)
    labels = drawn(generator, frame, 120)
    twice = pd.concat([labels, labels.iloc[:40]])
    one, other = (calibrate(of(frame, "judge"), table, HOW) for table in (labels, twice))
    assert one.verdicts == other.verdicts == 120
    assert one.result.ratings == other.result.ratings


def test_whom_people_did_not_judge_has_no_rating_and_what_only_they_judged_is_counted():
    generator = np.random.default_rng(9)
    frame = verdicts(generator)
    labels = drawn(generator, frame[(frame.model_a != "a") & (frame.model_b != "a")], 120)
    more = labels.iloc[:3].assign(prompt_id=["new-1", "new-2", "new-2"])
    found = calibrate(of(frame, "judge"), pd.concat([labels, more]), HOW)
    assert found.left_out == ("a",)
    assert found.result.models == ("b", "c", "d")
    assert found.unmatched == len(more.drop_duplicates(["prompt_id", "model_a", "model_b"]))


def test_what_cannot_be_calibrated_says_why():
    generator = np.random.default_rng(10)
    frame = verdicts(generator)
    judge, people = of(frame, "judge"), of(frame, "human")
    with pytest.raises(TooFewVerdictsError, match="no pair has 2 human verdicts"):
        calibrate(judge, people.iloc[:6], HOW)
    with pytest.raises(TooFewVerdictsError, match="d, the anchor, meets nobody"):
        calibrate(judge, people[(people.model_a != "d") & (people.model_b != "d")], HOW)
    won = people[people.model_b == "d"].assign(winner="model_b")
    with pytest.raises(TooFewVerdictsError, match="set no limit to the ratings: in some pairs"):
        calibrate(judge[judge.model_b == "d"].assign(winner="model_b"), won.iloc[:60], HOW)
    with pytest.raises(ArenaError, match="a and b are judged twice on 0"):
        calibrate(pd.concat([judge, judge.iloc[:1]]), people, HOW)
    with pytest.raises(ArenaError, match="no column 'prompt_id'"):
        calibrate(judge, people.drop(columns="prompt_id"), HOW)
    with pytest.raises(ArenaError, match="does not support ties: drop"):
        calibrate(judge, people, RatingParams(ties="drop"))
