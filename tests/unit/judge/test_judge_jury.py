"""Juries: how verdicts combine, and which juries there cannot be."""

from __future__ import annotations

import json

import pytest
from juries import Fixed, jury_of, panel, raw_judges
from scripted import WordCountJudge

from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths
from arena_learning.judge.base import is_batch_exact, is_pointwise, plays_both_orders
from arena_learning.judge.build import open_judge
from arena_learning.judge.length_baseline import LengthBaselineJudge
from arena_learning.params import parse_params
from arena_learning.schema import JuryCount, RecordedVerdict, write_rows
from arena_learning.testing import check_judge
from arena_learning.testing.judge_suite import present
from online_judges import PairJudge, RuleJudge


def verdict_of(*scores, **how):
    margins = how.pop("margins", (0.0,) * len(scores))
    judges = [
        Fixed(f"j{n}", *(pair or ()), margin=m)
        for n, (pair, m) in enumerate(zip(scores, margins, strict=True))
    ]
    return jury_of(*judges, **how).score([present("good", "poor")])[0]


def test_the_mean_is_over_the_members_that_scored_and_says_who_was_against():
    verdict = verdict_of((8, 4), (7, 5), (3, 6))
    # (8 + 7 + 3) / 3 and (4 + 5 + 6) / 3; the third member says the other way round
    assert verdict[:2] == (6, 5)
    # highest less lowest: 8 - 3 and 6 - 4, on average 3.5
    assert verdict.jury == JuryCount(scored=3, missing=0, against=1, spread=3.5)
    assert (verdict.attempts, verdict.tokens, verdict.seconds) == (3, 21, 1.5)
    assert verdict.rationale.splitlines() == [
        "3 of 3 members scored, 1 against the verdict; their scores are 3.5 apart",
        "m1 (8 to 4): says j0",
        "m2 (7 to 5): says j1",
        "m3 (3 to 6, against): says j2",
    ]


def test_a_member_without_a_score_is_counted_and_named():
    verdict = verdict_of((8, 4), None, (6, 4))
    assert verdict[:2] == (7, 4)
    assert verdict.jury == JuryCount(scored=2, missing=1, against=0, spread=1.0)  # of 2 and 0
    assert "m2: no score (it says nothing)" in verdict.rationale


@pytest.mark.parametrize(
    ("scores", "quorum", "needed"),
    [
        (((8, 4), None, None), 0, 2),  # more than half of three
        (((8, 4), None, (5, 4)), 3, 3),
        (((8, 4), (8, 4), None, None), 0, 3),  # two of four are no more than half
        ((None, None), 1, 1),
    ],
)
def test_too_few_members_leave_the_game_unscored_with_their_reasons(scores, quorum, needed):
    verdict = verdict_of(*scores, quorum=quorum)
    given = sum(pair is not None for pair in scores)
    assert verdict[:2] == (None, None)
    assert verdict.unscored.startswith(f"{given} of {len(scores)} members scored, {needed} must (")
    assert "m2: it says nothing" in verdict.unscored or scores[1] is not None
    assert (verdict.jury.scored, verdict.jury.missing) == (given, len(scores) - given)
    assert verdict_of((8, 4), None, quorum=1)[:2] == (8, 4)


@pytest.mark.parametrize(
    ("scores", "expected", "against"),
    [
        # two of three for the first: the mean of these two, whatever the third says
        (((8, 4), (6, 5), (1, 10)), (7, 4.5), 1),
        # two ties of three: a tie at the mean of their scores
        (((8, 4), (6, 6), (2, 2)), (4, 4), 1),
        # one vote each: nobody has most, a tie at the mean of all scores
        (((8, 4), (6, 6), (2, 4)), (5, 5), 2),
        (((8, 4), (4, 8)), (6, 6), 2),
        # four members: two votes against one and one
        (((8, 4), (9, 2), (5, 5), (4, 8)), (8.5, 3), 2),
    ],
)
def test_the_majority_names_the_outcome_and_its_members_the_scores(scores, expected, against):
    verdict = verdict_of(*scores, combine="majority")
    assert verdict[:2] == expected
    assert verdict.jury.against == against


def test_a_members_own_margin_makes_its_vote_a_tie():
    pairs = ((6, 5), (6, 5), (9, 2))
    assert verdict_of(*pairs, combine="majority")[:2] == (7, 4)
    tied = verdict_of(*pairs, combine="majority", margins=(1.0, 1.0, 1.0))
    assert tied[:2] == (5.5, 5.5)  # two ties: the mean of 6, 5, 6 and 5
    assert tied.jury.against == 1
    # In a mean it says only who is against.
    assert verdict_of(*pairs, margins=(1.0, 1.0, 1.0)).jury.against == 2
    assert verdict_of(*pairs, margins=(1.0, 1.0, 1.0), margin=4.0).jury.against == 1


def test_a_jury_conforms_and_takes_its_nature_from_its_members():
    check_judge(jury_of(LengthBaselineJudge(), WordCountJudge()))
    check_judge(jury_of(LengthBaselineJudge(), WordCountJudge(), combine="majority", quorum=2))
    single, other, pairs = (kind(len, f"{n} v1") for n, kind in enumerate((RuleJudge, RuleJudge, PairJudge)))
    assert is_pointwise(jury_of(single, other))
    assert not is_pointwise(
        jury_of(single, other, combine="majority")
    )  # its score depends on the other answer
    assert not is_pointwise(jury_of(single, pairs))
    pairs.batch_exact = False
    assert not is_batch_exact(jury_of(single, pairs))
    assert plays_both_orders(jury_of(single, pairs))  # for `pairs`: a score of one answer has no order
    pairs.both_orders = False
    assert not plays_both_orders(jury_of(single, pairs))


def test_two_members_that_are_one_judge_are_refused():
    with pytest.raises(ArenaError, match=r"m1 and m2 are the same judge \(longer v1\)"):
        jury_of(LengthBaselineJudge(), LengthBaselineJudge())


def test_all_that_changes_a_verdict_changes_label_and_fingerprint():
    def named(*judges, **how):
        jury = jury_of(*judges, **how)
        return jury.label, json.dumps(jury.fingerprint)

    one, two, three = (Fixed(name, 5, 5) for name in "xyz")
    found = [
        named(one, two),
        named(one, three),
        named(one, two, three),
        named(one, two, quorum=1),
        named(one, two, combine="majority"),
        named(one, Fixed("y", 5, 5, margin=1.0), combine="majority"),
    ]
    assert len({label for label, _ in found}) == len({whole for _, whole in found}) == len(found)
    assert found[0][0].startswith("jury mean m1+m2 ")


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        (panel(), "a jury needs two members or more, and members has 0"),
        (panel("longer"), "a jury needs two members or more, and members has 1"),
        (panel("longer", "longer"), "members names 'longer' twice"),
        (panel("longer", "rubric", quorum=3), "quorum is 3, and the jury has 2 members"),
        (panel("longer", "rubrik"), "judges.panel.members: no judge 'rubrik'; did you mean 'rubric'?"),
        (panel("longer", "panel"), "judges.panel.members: the jury cannot be a member of itself"),
        (
            panel("longer", "other"),
            "judges.panel.members: 'other' is a jury itself; name its members instead",
        ),
        ({"kind": "longer", "members": ["rubric"]}, "'members' are for a judge of kind jury"),
        (panel("longer", "rubric", combine="median"), "judges.panel.combine"),
    ],
)
def test_a_jury_that_cannot_be_is_refused_by_its_place(make_params, judge, said):
    raw = make_params(judges=raw_judges(panel=judge, other=panel("longer", "rubric")))
    with pytest.raises(ArenaError) as caught:
        parse_params(raw, "params.yaml")
    assert said in str(caught.value)


def test_a_jury_is_opened_from_params_and_what_cannot_be_opened_closes_the_rest(
    make_params, tmp_path, monkeypatch
):
    raw = make_params(
        judges=raw_judges(
            told={"kind": "replay", "model": "told.jsonl", "tie_margin": 0.5},
            panel=panel("longer", "told", combine="majority", quorum=1, tie_margin=0.25),
        )
    )
    params, paths = parse_params(raw, "params.yaml"), Paths(tmp_path)
    closed = []
    monkeypatch.setattr(LengthBaselineJudge, "close", lambda self: closed.append(self))
    with pytest.raises(ArenaError, match=r"told\.jsonl"):
        open_judge("panel", params, paths)
    assert len(closed) == 1
    write_rows(
        tmp_path / "told.jsonl",
        [RecordedVerdict(instruction_id="i1", first="a", second="b", score_first=9, score_second=1)],
    )
    jury = open_judge("panel", params, paths)
    assert [name for name, _ in jury.members] == ["longer", "told"]
    assert (jury.quorum, jury.tie_margin, jury.members[1].judge.tie_margin) == (1, 0.25, 0.5)
