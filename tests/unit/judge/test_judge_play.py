from __future__ import annotations

import tracemalloc
from itertools import combinations

import pytest
from scripted import WordCountJudge

from arena_learning.core.errors import ArenaError
from arena_learning.judge.base import Verdict
from arena_learning.judge.planned import count_stored_games
from arena_learning.judge.play import Pairing, play_games, play_in_portions
from arena_learning.judge.recording import write_games
from arena_learning.params import parse_params
from arena_learning.schema.row_files import rows_file
from arena_learning.store import Account
from arena_learning.store.store import Store


@pytest.fixture
def arena(tmp_path, make_instruction, make_response):
    """Play all of three contestants on two instructions with a judge; answers may be replaced."""
    instructions = {name: make_instruction(name, category=f"c-{name}") for name in ("i1", "i2")}

    def run(
        judge,
        fresh=False,
        rename=None,
        pairs=(("a", "b"), ("a", "c"), ("b", "c")),
        disagree="average",
        retry=False,
        refused=(),
        most=0.05,
        account=None,
        **texts,
    ):
        answers = {"a": "one", "b": "one two", "c": "one two three"} | texts
        names = rename or {}
        responses = {
            (i, names.get(c, c)): make_response(i, names.get(c, c), f"{i} {text}")
            for i in instructions
            for c, text in answers.items()
        }
        for i, c in refused:
            gone = {"text": "", "finish_reason": "refused", "refusal": "a content filter"}
            responses[i, c] = responses[i, c].model_copy(update=gone)
        pairings = [Pairing(i, names.get(x, x), names.get(y, y)) for i in instructions for x, y in pairs]
        with Store(tmp_path / "store.sqlite", fresh=fresh, account=account) as store:
            return play_games(
                pairings,
                instructions,
                responses,
                judge,
                store,
                disagree=disagree,
                retry=retry,
                max_refused=most,
            )

    return run


def test_every_pair_is_played_in_both_orders_in_canonical_order(arena):
    judged = arena(WordCountJudge(), pairs=(("c", "b"), ("b", "a"), ("a", "c"), ("a", "b")))
    assert [(g.instruction_id, g.first, g.second) for g in judged.games[:6]] == [
        ("i1", "a", "b"),
        ("i1", "b", "a"),
        ("i1", "a", "c"),
        ("i1", "c", "a"),
        ("i1", "b", "c"),
        ("i1", "c", "b"),
    ]
    assert len(judged.games) == 12
    # 2, 3 and 4 words: c beats b beats a, by 1 and 2
    assert [(b.a, b.b, b.winner, b.gap, b.category) for b in judged.battles[:3]] == [
        ("a", "b", "b", 1, "c-i1"),
        ("a", "c", "b", 2, "c-i1"),
        ("b", "c", "b", 1, "c-i1"),
    ]


def test_a_second_run_pays_nothing_and_says_the_same(arena):
    first, judge = arena(WordCountJudge()), WordCountJudge()
    second = arena(judge)
    assert (first.judged, second.judged) == (12, 0)
    assert judge.presented == []
    assert (second.games, second.battles) == (first.games, first.battles)
    # 12 games of 7 tokens and a quarter of a second: what they cost ever
    assert (second.tokens, second.seconds) == (84, 3.0)


def test_fresh_pays_again(arena):
    arena(WordCountJudge())
    assert arena(WordCountJudge(), fresh=True).judged == 12


def test_a_new_contestant_pays_its_own_games_only_and_a_new_name_pays_nothing(arena):
    arena(WordCountJudge(), pairs=(("a", "b"),))
    assert arena(WordCountJudge()).judged == 8
    assert arena(WordCountJudge(), rename={"a": "zz"}).judged == 0


def test_a_new_answer_or_another_judge_pays(arena):
    arena(WordCountJudge())
    assert arena(WordCountJudge(), a="another").judged == 8
    other = WordCountJudge()
    other.fingerprint = {"judge": "word count v2"}
    assert arena(other).judged == 12


def test_unscored_games_are_kept_apart_and_asked_again_only_when_told_to(arena):
    judged = arena(WordCountJudge(), a="nonsense")
    assert [b.winner for b in judged.battles] == ["unscored", "unscored", "b"] * 2
    assert {b.unscored for b in judged.battles if b.winner == "unscored"} == {"nonsense"}
    assert judged.judged == 12
    assert arena(WordCountJudge(), a="nonsense").judged == 0
    again = arena(WordCountJudge(), a="nonsense", retry=True)
    assert again.judged == 8  # those of a, in both orders, on both instructions
    assert again.games == judged.games


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(None, None, ""),
        Verdict(11, 3, ""),
        Verdict(5, 0.5, ""),
        Verdict(float("nan"), 5, ""),
        Verdict(5, None, ""),
        Verdict(5, 5, "", unscored="refused"),
        Verdict(None, None, "", unscored=" "),
    ],
)
def test_scores_that_are_none_are_unscored_and_never_a_verdict(arena, verdict):
    for paid in (12, 0):
        judged = arena(WordCountJudge(forced=verdict))
        assert judged.judged == paid
        assert all(g.unscored and g.score_first is None for g in judged.games)
        assert {b.winner for b in judged.battles} == {"unscored"}


def test_a_crash_keeps_the_batches_before_it(arena):
    with pytest.raises(KeyboardInterrupt):
        arena(WordCountJudge(fail_after=6))
    resumed = arena(WordCountJudge())
    assert resumed.judged == 6  # 12 games in batches of 3, two batches kept
    assert resumed.games == arena(WordCountJudge(), fresh=True).games


def test_equal_answers_are_a_tie_judged_once(arena):
    judged = arena(WordCountJudge(), b="one", pairs=(("a", "b"),))
    assert judged.judged == 2  # one an instruction: both orders read the same
    assert [b.winner for b in judged.battles] == ["tie", "tie"]


class BatchDependentJudge(WordCountJudge):
    """Says in each verdict with whom it was judged, as a model does whose sums depend on the batch."""

    batch_exact = False
    batch_size = 2

    def _verdict(self, presentation):
        batch = self.presented[-(len(self.presented) % 2 or 2) :]
        return super()._verdict(presentation)._replace(rationale=" ".join(p.first.text for p in batch))


def test_a_batch_dependent_judge_says_the_same_after_an_interruption(arena):
    with pytest.raises(KeyboardInterrupt):
        arena(BatchDependentJudge(fail_after=6))
    resumed = arena(judge := BatchDependentJudge())
    assert len(judge.presented) == 6  # what was judged is kept
    assert resumed.games == arena(BatchDependentJudge(), fresh=True).games


def test_a_batch_dependent_judge_is_not_asked_again_when_a_contestant_joins(arena):
    arena(BatchDependentJudge(), pairs=(("a", "b"),))
    joined = arena(judge := BatchDependentJudge())
    assert joined.judged == len(judge.presented) == 8  # 2 instructions x 2 new pairs x 2 orders
    assert joined.games == arena(BatchDependentJudge(), fresh=True).games


def played_by_portions(tmp_path, make_instruction, make_response, instructions, size):
    """Play all of five on so many instructions and write as the judge stage does; return the record and peak memory."""
    known = {f"i{n:03d}": make_instruction(f"i{n:03d}") for n in range(instructions)}
    responses = {(i, c): make_response(i, c, f"{i} {c} " + "word " * ord(c)) for i in known for c in "abcde"}
    pairs = [Pairing(i, x, y) for i in known for x, y in combinations("abcde", 2)]
    tracemalloc.start()
    with (
        Store(tmp_path / f"{instructions}-{size}.sqlite") as store,
        rows_file(tmp_path / f"games-{instructions}-{size}.jsonl") as games,
        rows_file(tmp_path / f"battles-{instructions}-{size}.jsonl") as battles,
    ):
        parts = play_in_portions(pairs, known, responses, LongRationales(), store, size=size)
        recorded = write_games(parts, responses, games, battles, "a")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return recorded, peak


class LongRationales(WordCountJudge):
    batch_size = 20

    def score(self, presentations):
        return [
            self._verdict(p)._replace(rationale=f"{p.instruction.id} {p.first.contestant} " * 500)
            for p in presentations
        ]


def test_memory_does_not_grow_with_the_games_done(tmp_path, make_instruction, make_response):
    # 20 games an instruction, each with a rationale of three kilobytes
    _, few = played_by_portions(tmp_path, make_instruction, make_response, 10, 60)
    _, many = played_by_portions(tmp_path, make_instruction, make_response, 40, 60)
    assert many < 1.3 * few
    _, whole = played_by_portions(tmp_path, make_instruction, make_response, 40, 10**6)
    assert whole > 3 * many  # what it would be if all stayed in memory


def test_portions_change_nothing_but_the_memory(tmp_path, make_instruction, make_response):
    small, _ = played_by_portions(tmp_path, make_instruction, make_response, 9, 14)
    whole, _ = played_by_portions(tmp_path, make_instruction, make_response, 9, 10**6)
    assert small.judged == whole.judged == 180
    assert small._replace(seconds=0) == whole._replace(seconds=0)
    assert small.seconds == pytest.approx(whole.seconds)
    for what in ("games", "battles"):
        one, two = ((tmp_path / f"{what}-9-{size}.jsonl").read_text() for size in (14, 10**6))
        assert one == two
    assert len(one.splitlines()) == 90


def test_a_battle_without_an_answer_is_unscored_and_no_judge_is_asked(arena):
    judge = WordCountJudge()
    judged = arena(judge, refused=[("i1", "a")])
    assert [b.winner for b in judged.battles] == ["unscored", "unscored", "b", "b", "b", "b"]
    assert judged.battles[0].unscored == "no answer to judge: a content filter"
    assert judged.judged == len(judge.presented) == 8


class RefusingJudge(WordCountJudge):
    """Its engine gives no verdict on presentations that hold a word."""

    def __init__(self, word, **how):
        super().__init__(**how)
        self._word = word

    def _verdict(self, presentation):
        if self._word in (presentation.first.text.split()[-1], presentation.second.text.split()[-1]):
            return Verdict(None, None, "", "the judge was refused: too long", refused=True)
        return super()._verdict(presentation)


def test_a_game_that_the_judges_engine_refuses_is_unscored_and_remembered(arena):
    judged = arena(RefusingJudge("one"), pairs=(("a", "b"),))
    assert {g.unscored for g in judged.games} == {"the judge was refused: too long"}
    assert arena(RefusingJudge("one"), pairs=(("a", "b"),)).judged == 0
    assert arena(WordCountJudge(), pairs=(("a", "b"),), retry=True).battles[0].winner == "b"


def test_a_stage_stops_where_the_judge_refuses_too_much_and_asks_again_later(arena):
    with pytest.raises(
        ArenaError, match=r"7 of 12 games get no verdict \(7 x the judge was refused: too long\)"
    ) as caught:
        arena(RefusingJudge("one"))
    assert "serving.max_refused" in caught.value.hint
    mended = arena(WordCountJudge())
    assert all(g.unscored is None for g in mended.games)
    assert 8 <= mended.judged <= 12  # what was refused is asked again, what was scored before is not
    assert arena(RefusingJudge("one"), most=0.7, fresh=True).judged == 12


class RereadJudge(WordCountJudge):
    """Keeps what it was told; a later version reads it otherwise."""

    parser_version = "1"

    def _verdict(self, presentation):
        return super()._verdict(presentation)._replace(replies=(("draft", "stop"), ("9 to 2", "stop")))

    def reread(self, presentation, replies):
        if self.parser_version == "2":
            return Verdict(None, None, "", f"no verdict in {replies[-1][0]}")
        return self._verdict(presentation)


def test_a_changed_parser_reads_again_what_was_replied_and_asks_nothing(arena):
    first = arena(RereadJudge())
    assert all(g.unscored is None for g in first.games)
    later = RereadJudge()
    later.parser_version = "2"
    again = arena(later)
    assert (again.judged, later.presented) == (0, [])
    assert {g.unscored for g in again.games} == {"no verdict in 9 to 2"}
    assert again.tokens == first.tokens


def test_a_batch_inexact_judge_that_leaves_games_unscored_is_asked_nothing_on_a_rerun(arena):
    first = arena(BatchDependentJudge(), a="nonsense")
    assert sum(g.unscored is not None for g in first.games) == 8
    again = arena(judge := BatchDependentJudge(), a="nonsense")
    assert (again.judged, judge.presented, again.games) == (0, [], first.games)


def test_a_budget_that_is_used_up_stops_no_judge_that_takes_no_tokens(arena, make_params):
    params = parse_params(make_params(budget={"tokens": 0}), "here")
    free = WordCountJudge(forced=Verdict(6.0, 5.0, "the first"))
    assert arena(free, account=Account("judge", params)).judged == 12
    costly = WordCountJudge()  # 7 tokens a verdict, which it does not say beforehand
    with pytest.raises(ArenaError, match=r"21 tokens of the budget of 0 tokens are spent.*missing: 9 games"):
        arena(costly, fresh=True, account=Account("judge", params))


def test_a_plan_counts_no_game_with_a_refused_answer_as_one_to_be_made(
    arena, tmp_path, make_instruction, make_response
):
    judge = WordCountJudge()
    assert arena(judge, refused=[("i1", "a")]).judged == 8  # of 12 games four have the refused answer
    instructions = {name: make_instruction(name, category=f"c-{name}") for name in ("i1", "i2")}
    texts = {"a": "one", "b": "one two", "c": "one two three"}
    responses = {
        (i, c): make_response(i, c, f"{i} {text}") for i in instructions for c, text in texts.items()
    }
    pairings = [Pairing(i, a, b) for i in instructions for a, b in combinations("abc", 2)]
    with Store(tmp_path / "store.sqlite") as store:
        assert count_stored_games(pairings, instructions, responses, judge, store, both=True) == 8
        gone = {"text": "", "finish_reason": "refused", "refusal": "a content filter"}
        responses["i1", "a"] = responses["i1", "a"].model_copy(update=gone)
        assert count_stored_games(pairings, instructions, responses, judge, store, both=True) == 12
