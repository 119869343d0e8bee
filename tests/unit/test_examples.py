"""The examples for plug-in authors run as their docstrings say; the suites that they pass refuse what is broken."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from arena_learning.engines import Completion, Refused
from arena_learning.judge import Verdict
from arena_learning.testing import EngineConformance, JudgeConformance, check_judge

EXAMPLES = Path(__file__).parents[2] / "examples"
LONGEST = 80
Parrot = runpy.run_path(str(EXAMPLES / "add_an_engine.py"))["Parrot"]
ShortSentencesJudge = runpy.run_path(str(EXAMPLES / "add_a_judge.py"))["ShortSentencesJudge"]


def names_of_tests(suite):
    return [name for name in dir(suite) if name.startswith("test_")]


@pytest.mark.parametrize(
    ("file", "suite", "own"),
    [("add_an_engine.py", EngineConformance, 1), ("add_a_judge.py", JudgeConformance, 1)],
)
def test_an_example_passes_the_suite_with_the_command_that_it_names(file, suite, own):
    command = f"pytest examples/{file}"
    assert command in (EXAMPLES / file).read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), "-q", "-p", "no:cacheprovider"],
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{len(names_of_tests(suite)) + own} passed" in done.stdout, done.stdout


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < LONGEST


def engine_with(change):
    """A parrot whose completions are changed on the way: ``change(completion, place, conversations, sampling)``."""

    class Broken(Parrot):
        def respond(self, conversations, sampling):
            answers = super().respond(conversations, sampling)
            return [change(a, n, conversations, sampling) for n, a in enumerate(answers)]

    return Broken()


def parrot_with(**attributes):
    engine = Parrot()
    for name, value in attributes.items():
        setattr(engine, name, value)
    return engine


class Reversed(Parrot):
    def respond(self, conversations, sampling):
        return super().respond(conversations, sampling)[::-1]


class BatchOnly(Parrot):
    def respond(self, conversations, sampling):
        return super().respond(conversations[: self.batch_size], sampling)


class Deaf(Parrot):
    """Hears the last turn alone."""

    def respond(self, conversations, sampling):
        return super().respond([turns[-1:] for turns in conversations], sampling)


class Unseeded(Parrot):
    def respond(self, conversations, sampling):
        return super().respond(conversations, sampling.model_copy(update={"seed": 0}))


class Forgetful(Parrot):
    """Never says the same twice."""

    batch_exact = False
    calls = 0

    def respond(self, conversations, sampling):
        self.calls += 1
        return [a._replace(text=f"{a.text} {self.calls}") for a in super().respond(conversations, sampling)]


class Sure(Parrot):
    """Says that each token was certain, of an answer that it never gave."""

    max_top_logprobs = 1

    def respond_with_logprobs(self, conversations, sampling, top_logprobs):
        yield [(n, a._replace(text="else")) for n, a in enumerate(self.respond(conversations, sampling))]


BROKEN_ENGINES = {
    "test_has_what_the_protocol_names": lambda: parrot_with(fingerprint={"engine": "parrot"}),
    "test_answers_an_empty_list_with_an_empty_list": lambda: parrot_with(
        respond=lambda conversations, sampling: [Completion("a", "stop", 1, 1, 0.0)]
    ),
    "test_answers_in_order_whatever_the_lengths": Reversed,
    "test_greedy_answers_are_the_same_alone_and_in_a_batch": lambda: engine_with(
        lambda answer, place, conversations, sampling: answer._replace(text=f"{len(conversations)}")
    ),
    "test_takes_system_turns_and_earlier_turns": lambda: engine_with(
        lambda answer, place, conversations, sampling: (
            Refused("no system prompt") if conversations[place][0].role == "system" else answer
        )
    ),
    "test_takes_a_history_in_any_script": Deaf,
    "test_takes_any_text": lambda: engine_with(
        lambda answer, place, conversations, sampling: (
            Refused("NUL") if "\x00" in conversations[place][-1].content else answer
        )
    ),
    "test_special_tokens_in_content_stay_data": lambda: engine_with(
        lambda answer, place, conversations, sampling: answer._replace(
            text=conversations[place][-1].content[:60]
        )
    ),
    "test_respects_max_tokens": lambda: engine_with(
        lambda answer, place, conversations, sampling: answer._replace(completion_tokens=6)
    ),
    "test_more_conversations_than_the_batch": BatchOnly,
    "test_sampled_answers_repeat_with_their_seed": Unseeded,
    "test_tells_the_likeliest_tokens_or_says_that_it_cannot": Sure,
}


def test_every_test_of_the_engine_suite_has_an_engine_that_fails_it():
    assert BROKEN_ENGINES.keys() == set(names_of_tests(EngineConformance))


@pytest.mark.parametrize("name", BROKEN_ENGINES)
def test_the_engine_suite_refuses_what_is_broken(name):
    getattr(EngineConformance(), name)(Parrot())
    with pytest.raises(AssertionError):
        getattr(EngineConformance(), name)(BROKEN_ENGINES[name]())


def test_order_is_held_of_an_engine_that_is_not_batch_exact():
    engine = Reversed()
    engine.batch_exact = False
    with pytest.raises(AssertionError):
        EngineConformance().test_answers_in_order_whatever_the_lengths(engine)


def test_an_engine_that_is_not_batch_exact_must_repeat_all_the_same():
    with pytest.raises(AssertionError, match="does not repeat"):
        EngineConformance().test_greedy_answers_are_the_same_alone_and_in_a_batch(Forgetful())


class Scores(ShortSentencesJudge):
    """A judge whose verdicts are changed on the way: ``change(verdict, presentation, presentations)``."""

    def __init__(self, change):
        super().__init__()
        self.change, self.calls = change, 0

    def score(self, presentations):
        self.calls += 1
        verdicts = super().score(presentations)
        return [self.change(v, p, self) for v, p in zip(verdicts, presentations, strict=True)]


def constant(**fields):
    return Scores(lambda verdict, presentation, judge: Verdict(5.0, 5.0, "")._replace(**fields))


class CountsTheBatch(ShortSentencesJudge):
    def score(self, presentations):
        return [Verdict(float(min(10, len(presentations))), 1.0, "")] * len(presentations)


def unlabelled():
    judge = ShortSentencesJudge()
    judge.label = ""
    return judge


def always_one():
    judge = ShortSentencesJudge()
    judge.score = lambda presentations: [Verdict(5.0, 5.0, "")] * max(1, len(presentations))
    return judge


BROKEN_JUDGES = {
    "no label": unlabelled,
    "a verdict on nothing": always_one,
    "eleven points": lambda: constant(score_first=11.0),
    "not a number": lambda: constant(score_second=float("nan")),
    "no score and no reason": lambda: constant(score_first=None, score_second=None),
    "an empty reason": lambda: constant(score_first=None, score_second=None, unscored=" "),
    "a score and a reason": lambda: constant(unscored="it does not fit"),
    "another verdict each time": lambda: Scores(
        lambda verdict, presentation, judge: Verdict(1.0 + judge.calls % 9, 1.0, "")
    ),
    "the batch counts": CountsTheBatch,
    "the name counts": lambda: Scores(
        lambda verdict, presentation, judge: Verdict(float(len(presentation.first.contestant)), 1.0, "")
    ),
}


@pytest.mark.parametrize("name", BROKEN_JUDGES)
def test_the_judge_suite_refuses_what_is_broken(name):
    with pytest.raises(AssertionError):
        check_judge(BROKEN_JUDGES[name]())


def test_a_judge_says_itself_that_its_batches_count_and_a_recorded_one_goes_by_names():
    judge = CountsTheBatch()
    judge.batch_exact = False
    check_judge(judge)
    check_judge(BROKEN_JUDGES["the name counts"](), by_name=True)


def test_a_failing_assertion_of_the_suites_shows_its_values():
    """Pytest rewrites the assertions of the suites as those of a test."""
    with pytest.raises(AssertionError, match=r"11\.0"):
        check_judge(constant(score_first=11.0))


def test_the_suites_do_not_import_pytest():
    code = "import sys, arena_learning.testing as t; t.EngineConformance, t.check_judge; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
