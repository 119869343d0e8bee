"""Juries through the store and the stages: what is asked, what it costs, and what readers see of the members."""

from __future__ import annotations

import pytest
from juries import Fixed, jury_of, panel, raw_judges
from scripted import WordCountJudge

from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths
from arena_learning.judge.audit.run import audit_judges, audit_table
from arena_learning.judge.health import judge_health
from arena_learning.judge.play import Pairing, play_games
from arena_learning.judge.samples import plan_samples, sample_figures, score_samples
from arena_learning.params import parse_params
from arena_learning.report.tables import _notes
from arena_learning.schema import Game, RecordedVerdict, read_rows, write_rows
from arena_learning.store import Store
from online_judges import FirstJudge, PairJudge, RuleJudge


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
    assert len(compared.played.games) == 3  # pairs; no member's score has an order
    assert [one.wins for one in compared.scores] == [0, 1, 2]


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
