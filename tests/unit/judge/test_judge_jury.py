"""Juries: how verdicts combine, what is asked, and what readers see of the members."""

from __future__ import annotations

import json

import pytest
from scripted import WordCountJudge

from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths
from arena_learning.judge.audit.run import audit_judges, audit_table
from arena_learning.judge.base import Verdict, is_batch_exact, is_pointwise, plays_both_orders
from arena_learning.judge.build import open_judge
from arena_learning.judge.health import judge_health
from arena_learning.judge.jury import Jury, Member
from arena_learning.judge.length_baseline import LengthBaselineJudge
from arena_learning.judge.play import Pairing, play_games
from arena_learning.judge.samples import plan_samples, sample_figures, score_samples
from arena_learning.params import parse_params
from arena_learning.report.tables import _notes
from arena_learning.schema import Game, JuryCount, RecordedVerdict, read_rows, write_rows
from arena_learning.store import Store
from arena_learning.testing import check_judge
from arena_learning.testing.judge_suite import present
from online_judges import FirstJudge, PairJudge, RuleJudge


class Fixed(WordCountJudge):
    """Gives the same verdict to everything; ``margin`` is its tie margin."""

    def __init__(self, name, first=None, second=None, margin=0.0, **fields):
        unscored = "it says nothing" if first is None else None
        super().__init__(
            forced=Verdict(first, second, f"says {name}", unscored, tokens=7, seconds=0.5, **fields)
        )
        self.label, self.fingerprint, self.tie_margin = name, {"judge": name}, margin


def jury_of(*judges, combine="mean", quorum=0, margin=0.0):
    jury = Jury([Member(f"m{n}", judge) for n, judge in enumerate(judges, 1)], combine, quorum)
    jury.tie_margin = margin
    return jury


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
    pairs.batch_exact, pairs.both_orders = False, False
    assert not is_batch_exact(jury_of(single, pairs))
    assert plays_both_orders(jury_of(single, pairs))
    single.both_orders = False
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


@pytest.fixture
def played(tmp_path, make_instruction, make_response):
    """Play three contestants on one instruction, each call on the same store."""

    def run(judge, refused=(), **how):
        texts = {"a": "one", "b": "one two", "c": "one two three"}
        responses = {("i1", c): make_response("i1", c, text) for c, text in texts.items()}
        for c in refused:
            gone = {"text": "", "finish_reason": "refused", "refusal": "a content filter"}
            responses["i1", c] = responses["i1", c].model_copy(update=gone)
        pairings = [Pairing("i1", x, y) for x, y in (("a", "b"), ("a", "c"), ("b", "c"))]
        with Store(tmp_path / "store.sqlite") as store:
            return play_games(pairings, {"i1": make_instruction("i1")}, responses, judge, store, **how)

    return run


def test_members_share_their_verdicts_with_juries_and_with_themselves(played):
    words, first, other = (
        WordCountJudge(),
        FirstJudge(lambda text: float(len(text)) / 2),
        Fixed("other", 5, 5),
    )
    assert played(words).judged == 6
    asked = len(words.presented)
    whole = played(jury_of(words, first))
    assert whole.judged == 6
    assert (len(words.presented) - asked, first.asked) == (0, 6)  # the first member had judged all of it
    assert played(first).judged == 0
    assert played(jury_of(first, words)).judged == 0  # in any order
    three = played(jury_of(first, other, words))
    assert (three.judged, len(other.presented)) == (6, 6)
    assert played(jury_of(words, first)).games == whole.games
    assert {game.judge for game in whole.games} == {jury_of(words, first).label}


def test_a_jury_costs_what_its_members_cost(played):
    played(WordCountJudge())
    jury = jury_of(WordCountJudge(), Fixed("other", 5, 5))
    new, stored = played(jury), played(jury)
    # six games: 7 tokens and a quarter of a second of the one, 7 and a half of the other
    assert (new.tokens, new.seconds) == (stored.tokens, stored.seconds) == (84, 4.5)
    assert {game.tokens for game in new.games} == {14}


def test_a_crash_in_the_second_member_keeps_the_verdicts_of_the_first(played):
    words = WordCountJudge()
    with pytest.raises(KeyboardInterrupt):
        played(jury_of(words, Crashing(lambda text: 5.0)))
    assert len(words.presented) == 6
    played(jury_of(words, Crashing(lambda text: 5.0, never=True)))
    assert len(words.presented) == 6


class Crashing(PairJudge):
    def __init__(self, rule, never=False):
        super().__init__(rule)
        self.never = never

    def score(self, presentations):
        if not self.never:
            raise KeyboardInterrupt
        return super().score(presentations)


def test_asking_again_asks_only_the_member_that_said_nothing(played):
    words, mute = WordCountJudge(), Fixed("mute")
    lonely = played(jury_of(words, mute))
    assert {game.unscored for game in lonely.games} == {"1 of 2 members scored, 2 must (m2: it says nothing)"}
    assert {battle.winner for battle in lonely.battles} == {"unscored"}
    assert played(jury_of(words, mute)).judged == 0
    assert played(jury_of(words, mute), retry=True).judged == 6
    assert (len(words.presented), len(mute.presented)) == (6, 12)


def test_a_member_whose_engine_refuses_too_much_stops_the_jury(played):
    silent = Fixed("silent", refused=True)
    with pytest.raises(ArenaError, match=r"6 of 6 games get no verdict \(6 x it says nothing\)"):
        played(jury_of(WordCountJudge(), silent), max_refused=0.5)
    assert {
        g.unscored is None for g in played(jury_of(WordCountJudge(), silent, quorum=1), max_refused=1.0).games
    } == {True}


def test_a_refused_answer_is_shown_to_no_member(played):
    words, first = WordCountJudge(), FirstJudge(lambda text: 5.0)
    found = played(jury_of(words, first), refused=("a",))
    assert (len(words.presented), first.asked) == (2, 2)
    assert sum("no answer to judge" in (game.unscored or "") for game in found.games) == 4


def test_a_member_whose_verdicts_hang_on_their_batch_gets_the_batches_it_would_get_alone(played):
    class Batches(Fixed):
        batch_exact = False

        def score(self, presentations):
            self.batches.append([(p.first.contestant, p.second.contestant) for p in presentations])
            return super().score(presentations)

        batches: list

    alone, member = Batches("one", 5, 5), Batches("two", 5, 5)
    alone.batches, member.batches = [], []
    played(alone)
    played(jury_of(member, WordCountJudge()))
    assert member.batches == alone.batches


def test_recorded_verdicts_may_be_a_member(played, tmp_path):
    from arena_learning.judge.replay import ReplayJudge

    rows = [
        RecordedVerdict(
            instruction_id="i1", first=x, second=y, score_first=9, score_second=2, order_known=False
        )
        for x, y in (("a", "b"), ("a", "c"))
    ]
    write_rows(tmp_path / "told.jsonl", rows)
    found = played(jury_of(ReplayJudge(tmp_path / "told.jsonl"), WordCountJudge(), quorum=1))
    assert [(b.a, b.b, b.winner) for b in found.battles] == [
        ("a", "b", "a"),
        ("a", "c", "a"),
        ("b", "c", "b"),
    ]
    assert [g.jury.missing for g in found.games] == [0, 0, 0, 0, 1, 1]


def test_how_members_voted_is_counted_written_and_read(played, tmp_path):
    # By words c beats b beats a. The other member prefers what it is shown first, else the letters decide.
    jury = jury_of(WordCountJudge(), FirstJudge(lambda text: 5.0))
    found = played(jury)
    health = judge_health(found.games, found.battles, {("i1", c): _said(c) for c in "abc"})
    # Words (a 1, b 2, c 3) and 6 to 5 for the first place. Of a pair's two games, one has both members agree; in the
    # other the means of (1, 2) and (6, 5) are equal: a tie, which both are against; (1, 3) and (6, 5): the second.
    assert health["members_against"] == pytest.approx((2 + 1 + 2) / 12)
    assert health["members_missing"] == 0.0
    # a-b: 6 - 1 and 5 - 2, b-a: 6 - 2 and 5 - 1, both 4; a-c: 5 and 2, or 3 and 4: 3.5; b-c: 4 and 2, 3 and 3: 3
    assert health["members_spread"] == pytest.approx((4 + 4 + 3.5 + 3.5 + 3 + 3) / 6)
    assert "members_against" not in judge_health(
        [g.model_copy(update={"jury": None}) for g in found.games], [], {}
    )
    board = {"health": {**health, "unscored_reasons": {}}, "diagnosis": []}
    assert "jury: 41.7 % of the members' votes against the verdict, 0.0 % of them without a score" in "".join(
        _notes(board)
    )
    write_rows(tmp_path / "games.jsonl", found.games)
    assert read_rows(tmp_path / "games.jsonl", Game) == found.games
    write_rows(tmp_path / "plain.jsonl", played(WordCountJudge()).games)
    assert "jury" not in (tmp_path / "plain.jsonl").read_text()


def _said(contestant):
    from arena_learning.schema import Response

    return Response(
        instruction_id="i1",
        contestant=contestant,
        text="x",
        finish_reason="stop",
        prompt_tokens=1,
        completion_tokens=1,
    )


def test_a_jury_ranks_samples_alone_where_all_members_do(tmp_path, make_instruction, make_response):
    samples = [make_response("i1", "t", "x" * k, sample=k) for k in (2, 4, 6)]
    long, mute = RuleJudge(lambda text: float(len(text)), "long"), RuleJudge(lambda text: None, "mute")
    half = RuleJudge(lambda text: len(text) / 2, "half")

    def ranked(jury):
        plan = plan_samples(samples, jury, 0, seed=0)
        with Store(tmp_path / "store.sqlite") as store:
            return score_samples(
                plan, {"i1": make_instruction("i1")}, jury, store, disagree="average", max_refused=0.05
            )

    alone = ranked(jury_of(long, half, mute))
    assert [one.score for one in alone.scores] == [1.5, 3.0, 4.5]
    figures = sample_figures(alone)
    assert figures["members_missing"] == pytest.approx(1 / 3)
    assert figures["members_against"] is None  # the score of one answer decides nothing
    assert figures["members_spread"] == pytest.approx((1 + 2 + 3) / 3)
    compared = ranked(jury_of(long, half, combine="majority"))
    assert len(compared.played.games) == 6  # three pairs in both orders
    assert [one.wins for one in compared.scores] == [0, 1, 2]


def raw_judges(**judges):
    return {"longer": {"kind": "longer"}, "rubric": {"kind": "rubric"}, **judges}


def panel(*members, **fields):
    return {"kind": "jury", "members": list(members), **fields}


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


def test_the_stages_judge_with_a_jury_and_the_leaderboard_shows_how_it_voted(
    make_params, make_instruction, make_response, tmp_path
):
    from arena_learning.core import read_json
    from arena_learning.judge import judge_round
    from arena_learning.leaderboard import evaluate_test, make_leaderboard
    from arena_learning.report.html import make_report

    raw = make_params(
        judges={
            "longer": {"kind": "longer"},
            "told": {"kind": "replay", "model": "told.jsonl"},
            "panel": panel("longer", "told", quorum=1),
        },
        judge={"name": "panel"},
        evaluate={"judges": ["panel", "longer"], "bootstrap": 20},
    )
    params, paths = parse_params(raw, "params.yaml"), Paths(tmp_path)
    texts = {"base": "one", "expert": "one two three", "sft-i1": "one two", "dpo-i1": "one two three four"}
    told = []
    for split, sizes in (("d1", 2), ("test", 2)):
        write_rows(paths.split(split), [make_instruction(f"{split}-{n}") for n in range(sizes)])
    write_rows(
        paths.responses("sft-i1"),
        [make_response(f"d1-{n}", who, texts[who]) for n in range(2) for who in ("base", "expert")],
    )
    for who, text in texts.items():
        write_rows(paths.arena_responses(who), [make_response(f"test-{n}", who, text) for n in range(2)])
    # Recorded for one of the two instructions: the shorter answer wins by far.
    for x, y in (("base", "expert"), ("expert", "base")):
        scores = {"base": 10, "expert": 1}
        told.append(
            RecordedVerdict(
                instruction_id="d1-0", first=x, second=y, score_first=scores[x], score_second=scores[y]
            )
        )
    write_rows(tmp_path / "told.jsonl", told)
    metrics = judge_round("sft-i1", params, paths)
    # Of two games both have two votes, and one is against the mean; of the other two games the record is missing.
    assert (metrics["members_against"], metrics["members_missing"]) == (2 / 6, 2 / 8)
    assert metrics["judge"].startswith("jury mean longer+told ")
    evaluated = evaluate_test(params, paths)
    assert evaluated["panel"]["members_missing"] == 0.5
    assert "members_missing" not in evaluated["longer"]
    # Six pairs in two orders; both instructions ask the same, and the round has judged base and expert. The jury's member
    # is asked nothing as the second judge of the leaderboard.
    assert evaluated["judged"] == 12 - 2
    board = make_leaderboard(params, paths)
    found = {one["model"]: one for one in board["monitors"]}
    assert found["sft-i1"]["members_against"] == 2 / 6
    assert found["base"]["members_against"] is None
    page = make_report(params, paths).read_text(encoding="utf-8")
    assert '<th scope="col">against</th><th scope="col">missing</th>' in page
    assert "<td>0.0 %</td><td>50.0 %</td>" in page  # of the test set: one vote a game, and one missing
    assert read_json(paths.leaderboard)["boards"]["panel"]["health"]["members_missing"] == 0.5


def test_an_audit_measures_a_jury_beside_its_members(make_params, tmp_path):
    from test_judge_labelled import PAIR, write

    shown = [
        {**PAIR, "id": f"p{n}", "instruction": f"Q{n}", "response_a": "a b c", "response_b": "a"}
        for n in range(4)
    ]
    file = write(tmp_path / "pairs.jsonl", *shown)
    raw = make_params(
        judges=raw_judges(
            told={"kind": "replay", "model": "told.jsonl"},
            panel=panel("longer", "told", quorum=1),
        )
    )
    write_rows(
        tmp_path / "told.jsonl",
        [
            RecordedVerdict(instruction_id=f"p{n}", first=x, second=y, score_first=5, score_second=5)
            for n in range(2)
            for x, y in (("a", "b"), ("b", "a"))
        ],
    )
    params, paths = parse_params(raw, "params.yaml"), Paths(tmp_path)
    result = audit_judges(file, ["panel"], params, paths)
    own = result["judges"]["panel"]["all"]
    assert own["scored"] == 4
    assert own["members_missing"] is not None
    assert "panel, its members: " in audit_table(result)
    assert "longer, its members" not in audit_table(result)
