from __future__ import annotations

import pytest

from arena_learning.arena import Contestant, ask_contestant_for
from arena_learning.arena.battle import answer_metrics, answer_test, battle_round
from arena_learning.arena.stored_answer import answer_key as key_of
from arena_learning.core.errors import ArenaError
from arena_learning.core.json_files import read_json
from arena_learning.core.paths import Paths
from arena_learning.core.thoughts import split_text
from arena_learning.engines.base import Completion, Refused
from arena_learning.params import parse_params
from arena_learning.params.contestants import Sampling
from arena_learning.schema.row_files import read_rows, write_rows
from arena_learning.schema.rows import Response
from arena_learning.store import Account
from arena_learning.store.store import Store


class Echo:
    """Answers with the last turn and the size of the batch it came in; remembers its batches."""

    def __init__(self, batch_size=3, batch_exact=True, fail_at=None):
        self.fingerprint = {"engine": "echo", "version": "1"}
        self.batch_size, self.batch_exact, self._fail_at = batch_size, batch_exact, fail_at
        self.batches = []

    def respond(self, conversations, sampling):
        if self._fail_at == len(self.batches):
            raise ArenaError("the endpoint is gone")
        self.batches.append([c[-1].content for c in conversations])
        note = "" if self.batch_exact else f" ({len(conversations)})"
        return [Completion(f"re: {c[-1].content}{note}", "stop", 4, 2, 0.5) for c in conversations]

    def close(self):
        pass


@pytest.fixture
def questions(make_instruction):
    return [make_instruction(f"i{n}", f"Question {n}") for n in range(8)]


@pytest.fixture
def put(tmp_path):
    def run(engine, instructions, name="base", fresh=False, retry=False, most=0.05, **sampling):
        with Store(tmp_path / "store.sqlite", fresh=fresh) as store:
            contestant = Contestant(name, engine, Sampling(**sampling))
            return ask_contestant_for(contestant, instructions, store, retry=retry, max_refused=most)

    return run


def sizes(engine):
    return [len(batch) for batch in engine.batches]


def test_answers_come_in_the_order_of_the_instructions(put, questions):
    asked = put(engine := Echo(), questions)
    assert [r.instruction_id for r in asked.responses] == [i.id for i in questions]
    assert asked.responses[3].text == "re: Question 3"
    assert (asked.generated, asked.tokens, asked.seconds) == (8, 16, 4.0)
    assert sizes(engine) == [3, 3, 2]


def test_a_second_run_pays_nothing_and_costs_what_it_cost(put, questions):
    first, second = put(Echo(), questions), put(engine := Echo(), questions)
    assert (second.generated, engine.batches) == (0, [])
    assert second.responses == first.responses
    assert (second.tokens, second.seconds) == (first.tokens, first.seconds)


def test_only_what_is_missing_is_asked_of_an_engine_whose_batches_do_not_matter(put, questions):
    put(Echo(), [questions[1], questions[5]])
    put(engine := Echo(), questions)
    assert engine.batches == [
        ["Question 0", "Question 2"],
        ["Question 3", "Question 4"],
        ["Question 6", "Question 7"],
    ]


def test_a_batch_is_asked_whole_or_not_at_all_where_an_answer_depends_on_it(put, questions):
    with pytest.raises(ArenaError, match="gone"):
        put(Echo(batch_exact=False, fail_at=1), questions)
    resumed = put(engine := Echo(batch_exact=False), questions)
    assert sizes(engine) == [3, 2]  # the first batch was kept whole
    undisturbed = put(Echo(batch_exact=False), questions, fresh=True)
    assert resumed.responses == undisturbed.responses


def test_a_known_answer_in_a_batch_with_a_new_one_is_asked_again_with_it(put, questions):
    put(Echo(batch_exact=False), questions[1:2])
    asked = put(engine := Echo(batch_exact=False), questions)
    assert sizes(engine) == [3, 3, 2]
    assert [r.text for r in asked.responses] == [f"re: Question {n} ({3 if n < 6 else 2})" for n in range(8)]
    assert asked.generated == 8


def test_an_answer_belongs_to_the_engine_and_not_to_the_contestants_name(put, questions):
    put(Echo(), questions, name="base")
    asked = put(engine := Echo(), questions, name="sft-i1")
    assert engine.batches == []
    assert {r.contestant for r in asked.responses} == {"sft-i1"}


def test_what_could_change_an_answer_is_paid_again(put, questions):
    put(Echo(), questions)
    other = Echo()
    other.fingerprint = {"engine": "echo", "version": "1", "system": "Be brief."}
    assert put(other, questions).generated == 8
    assert put(Echo(), questions, max_tokens=7).generated == 8
    assert put(Echo(), questions, temperature=0.5).generated == 8
    assert put(Echo(), questions, temperature=0.5, seed=1).generated == 8


def test_what_cannot_change_a_greedy_answer_is_not(put, questions):
    put(Echo(), questions)
    assert put(Echo(), questions, seed=1, top_p=0.5).generated == 0


def test_the_same_question_under_two_ids_is_asked_once_and_answered_twice(put, make_instruction):
    twins = [make_instruction("a", "Same?"), make_instruction("b", "Same?")]
    asked = put(Echo(batch_size=1), twins)
    assert [r.instruction_id for r in asked.responses] == ["a", "b"]
    assert asked.generated == 1


def test_metrics_count_empty_and_cut_off_answers(put, questions):
    asked = put(Echo(), questions)
    responses = [
        r.model_copy(update={"text": " ", "finish_reason": "length"}) if n < 2 else r
        for n, r in enumerate(asked.responses)
    ]
    metrics = answer_metrics(asked._replace(responses=responses))
    assert (metrics["answers"], metrics["empty"], metrics["cut_off"]) == (8, 2, 2)
    assert metrics["mean_words"] == 2.2  # six answers of three words among eight: 18 / 8 = 2.25
    assert metrics["tokens_per_second"] == 4.0


@pytest.fixture
def recorded(tmp_path, make_params, make_instruction):
    """A project of recorded contestants on split d1, one of which leaves an answer out."""
    rounds = {
        "sft-i0": {
            "index": 0,
            "method": "sft",
            "split": "d1",
            "target": "none",
            "init": "base",
            "threshold": 1,
            "labels": "expert",
        }
    }
    opponents = {name: {"engine": "recorded", "model": f"{name}.jsonl"} for name in ("expert", "torn")}
    params = parse_params(make_params(rounds=rounds, opponents=opponents), "here")
    paths = Paths(tmp_path)
    rows = [make_instruction(f"i{n}", f"Question {n}") for n in range(2)]
    for split in ("d1", "test"):
        write_rows(paths.split(split), rows)
    lines = [f'{{"id": "i{n}", "text": "Answer {n}"}}\n' for n in range(2)]
    (tmp_path / "expert.jsonl").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "torn.jsonl").write_text(lines[0], encoding="utf-8")
    return params, paths


def test_a_round_without_a_target_asks_its_labels_only(recorded):
    params, paths = recorded
    metrics = battle_round("sft-i0", params, paths)
    assert [(r.contestant, r.text) for r in read_rows(paths.responses("sft-i0"), Response)] == [
        ("expert", "Answer 0"),
        ("expert", "Answer 1"),
    ]
    assert metrics["generated"] == 2
    assert "generated" not in read_json(
        paths.stage_metrics("sft-i0", "battle")
    )  # a second run writes the same bytes


def test_a_recorded_opponent_with_a_missing_answer_is_named_and_nothing_is_written(recorded):
    params, paths = recorded
    with pytest.raises(ArenaError, match="i1") as caught:
        answer_test("torn", params, paths)
    assert "torn.jsonl" in str(caught.value)
    assert not paths.arena_responses("torn").exists()


def test_an_unknown_contestant_gets_a_suggestion(recorded):
    with pytest.raises(ArenaError, match="did you mean 'expert'"):
        answer_test("exprt", *recorded)


class Picky(Echo):
    """Refuses questions whose number it was given."""

    def __init__(self, *refused, **how):
        super().__init__(**how)
        self.refused = {f"Question {number}" for number in refused}

    def respond(self, conversations, sampling):
        answers = super().respond(conversations, sampling)
        return [
            Refused("too long") if c[-1].content in self.refused else a
            for c, a in zip(conversations, answers, strict=True)
        ]


@pytest.mark.parametrize("exact", [True, False])
def test_a_refused_item_is_a_row_with_its_reason_and_the_others_are_answered(put, questions, exact):
    asked = put(Picky(2, batch_exact=exact), questions)
    assert [r.finish_reason for r in asked.responses] == ["refused" if n == 2 else "stop" for n in range(8)]
    refused = asked.responses[2]
    assert (refused.text, refused.refusal, refused.completion_tokens) == ("", "too long", 0)
    assert asked.tokens == 14  # seven answers of two
    metrics = answer_metrics(asked)
    assert (metrics["answers"], metrics["refused"], metrics["refused_reasons"]) == (7, 1, {"too long": 1})


@pytest.mark.parametrize("exact", [True, False])
def test_a_rerun_does_not_ask_what_was_refused_unless_told_to(put, questions, exact):
    first = put(Picky(2, batch_exact=exact), questions)
    again = put(engine := Picky(2, batch_exact=exact), questions)
    assert (again.generated, engine.batches, again.responses) == (0, [], first.responses)
    mended = put(engine := Echo(batch_exact=exact), questions, retry=True)
    assert mended.generated == (1 if exact else 3)  # alone, or its batch whole
    assert mended.responses[2].text.startswith("re: Question 2")


def test_a_refusal_that_may_pass_is_asked_again_on_a_rerun(put, questions):
    class Failing(Picky):
        def respond(self, conversations, sampling):
            return [
                a._replace(passing=True) if isinstance(a, Refused) else a
                for a in super().respond(conversations, sampling)
            ]

    assert put(Failing(2), questions).responses[2].refusal == "too long"
    assert put(Echo(), questions).responses[2].text == "re: Question 2"


def test_a_stage_stops_where_more_than_five_and_more_than_the_share_are_refused(put, make_instruction):
    def many(count):
        return [make_instruction(f"i{n}", f"Question {n}") for n in range(count)]

    assert put(Picky(*range(5)), many(8)).responses[0].refusal  # five of eight: a handful never stops it
    assert put(Picky(*range(6)), many(120), name="b").responses[0].refusal  # six of 120 are five in a hundred
    with pytest.raises(
        ArenaError, match=r"'base' refuses 6 of 119 instructions \('i100': too long; "
    ) as caught:
        put(Picky(*range(100, 106)), many(119), most=0.05, fresh=True)
    assert "serving.max_refused" in caught.value.hint
    assert put(Picky(*range(100, 106)), many(119), most=0.06, fresh=True).generated == 119


def test_refusals_of_a_stage_that_stopped_are_asked_again(put, questions):
    with pytest.raises(ArenaError, match="refuses 6 of 8"):
        put(Picky(0, 1, 2, 3, 4, 5), questions)
    mended = put(engine := Echo(), questions)
    assert [r.text for r in mended.responses] == [f"re: Question {n}" for n in range(8)]
    assert sum(sizes(engine)) == 8


def test_thoughts_are_counted_and_a_thought_that_was_cut_off_is_said(put, questions, capsys):
    class Thinker(Echo):
        def respond(self, conversations, sampling):
            return [
                a._replace(text="", thought="Hm", thought_tokens=2, finish_reason="length")
                if c[-1].content == "Question 0"
                else a._replace(thought="Hm", thought_tokens=1)
                for c, a in zip(conversations, super().respond(conversations, sampling), strict=True)
            ]

    asked = put(Thinker(), questions)
    assert (asked.responses[1].text, asked.responses[1].thought) == ("re: Question 1", "Hm")
    metrics = answer_metrics(asked)
    assert (metrics["thoughts"], metrics["thoughts_cut_off"], metrics["empty"]) == (8, 1, 1)
    assert metrics["mean_thought_tokens"] == 1.1  # (2 + 7 x 1) / 8
    assert metrics["mean_words"] == 2.6  # "re: Question 1" is 3 words, one answer is empty: 21 / 8


def test_an_answer_remembered_with_its_thought_is_split_now_and_asks_nothing(tmp_path, questions):
    class Versioned(Echo):
        def variant(self, conversation):
            return ""

        def said(self, text):
            return split_text(text)

    contestant = Contestant("base", Versioned(), Sampling())
    old = {
        "text": "<think>Sky.</think>Blue.",
        "finish_reason": "stop",
        "prompt_tokens": 4,
        "completion_tokens": 24,
    }
    with Store(tmp_path / "old.sqlite") as store:
        store.put("response", {key_of(contestant, questions[0]): old | {"seconds": 0.5}})
        asked = ask_contestant_for(contestant, questions[:1], store)
    (response,) = asked.responses
    assert (asked.generated, response.text, response.thought) == (0, "Blue.", "Sky.")
    assert 0 < response.thought_tokens < 24


def test_a_question_that_is_asked_otherwise_than_it_was_is_asked_again(put, questions):
    class Old(Echo):
        def variant(self, conversation):
            return ""

        def said(self, text):
            return split_text(text)

    class New(Old):
        def variant(self, conversation):
            return "2" if conversation[-1].content == "Question 3" else ""

    put(Old(), questions)
    put(engine := New(), questions)
    assert engine.batches == [["Question 3"]]


@pytest.mark.parametrize(("system", "asked"), [("Be brief.", 1), ("x" * 4000, 0)])
def test_the_system_prompt_counts_for_the_budget(tmp_path, make_params, make_instruction, system, asked):
    """4,000 bytes may be 2,000 tokens: more than the 500 that are left."""
    params = parse_params(make_params(budget={"tokens": 500}), "here")
    engine = Echo()
    engine.fingerprint["system"] = system
    contestant = Contestant("base", engine, Sampling(max_tokens=100))
    with Store(tmp_path / "s.sqlite", account=Account("battle", params)) as store:
        if not asked:
            with pytest.raises(ArenaError, match=r"0 tokens of the budget of 500 tokens are spent"):
                ask_contestant_for(contestant, [make_instruction("q")], store)
        else:
            assert ask_contestant_for(contestant, [make_instruction("q")], store).generated == 1
    assert len(engine.batches) == asked
