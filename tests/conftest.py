"""Makers of rows that tests share; session-wide, so that hypothesis may use them."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import HealthCheck, settings

from arena_learning.core import set_up_log
from arena_learning.schema.rows import Battle, Instruction, Response, Turn
from sample import one_iteration

# A busy machine is no failure.
settings.register_profile("arena", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("arena")


# When slow tests are no longer begun (seconds since 1970): continuous integration has a limit, and machines differ.
UNTIL = float(os.environ.get("ARENA_SLOW_TESTS_UNTIL") or "inf")


def pytest_runtest_setup(item):
    """Skip a slow test that would begin too late; the summary names it, with this reason."""
    if time.time() > UNTIL and item.get_closest_marker("slow"):
        pytest.skip("slow, and the time for slow tests (ARENA_SLOW_TESTS_UNTIL) is over on this machine")


@pytest.fixture(autouse=True)
def usual_messages():
    """Choose the usual messages again after a test that has run a command with --quiet: the choice is the process's."""
    yield
    set_up_log()


@pytest.fixture(scope="session")
def make_instruction():
    def make(name="i1", text="Name three rivers of Europe.", **fields):
        turns = fields.pop("turns", (Turn(role="user", content=text),))
        return Instruction(id=name, turns=turns, **fields)

    return make


@pytest.fixture(scope="session")
def make_response():
    def make(instruction_id="i1", contestant="base", text="The Danube.", **fields):
        shared = {"finish_reason": "stop", "prompt_tokens": 5, "completion_tokens": 3}
        return Response(
            instruction_id=instruction_id, contestant=contestant, text=text, **{**shared, **fields}
        )

    return make


@pytest.fixture(scope="session")
def make_battle():
    """Battles from scores: ``make("base", 4, "expert", 7)``; contestants in alphabetical order."""

    def make(a, score_a, b, score_b, instruction_id="i1", **fields):
        winner = "tie" if score_a == score_b else "a" if score_a > score_b else "b"
        shared = {
            "category": "other",
            "judge": "j",
            "games": 2,
            "orders_agree": True,
            "rationales": ("r1", "r2"),
        }
        return Battle(
            instruction_id=instruction_id,
            a=a,
            b=b,
            score_a=score_a,
            score_b=score_b,
            winner=winner,
            gap=abs(score_a - score_b),
            **{**shared, **fields},
        )

    return make


@pytest.fixture(scope="session")
def make_params():
    """The smallest params.yaml as a dict, with whole sections replaced."""

    def make(**sections):
        rounds = {name: this for name, this in one_iteration().items() if name != "ppo-i1"}
        return {
            "weights": {"source": "models/somewhere"},
            "pool": {"splits": {"d1": 4, "d2": 4}, "test": 4},
            "opponents": {"expert": {"engine": "recorded", "model": "expert.jsonl"}},
            "judges": {"rubric": {"kind": "rubric"}},
            "rounds": rounds,
            **sections,
        }

    return make
