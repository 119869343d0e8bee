"""What is counted of requests, what an old store has of it, and how requests are kept within a budget."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import pytest

from arena_learning.core.deadline import STOP_AT, check_deadline, past_deadline, start_deadline
from arena_learning.core.errors import ArenaError
from arena_learning.params import parse_params
from arena_learning.store import Account, Longest, Requests, Spent, Store, within_budget

SERVED = {"engine": "openai", "model": "big", "base_url": "http://127.0.0.1:9/v1"}


@pytest.fixture
def account(make_params):
    """Make an account of parameters with an endpoint's opponent, a recorded one and a priced model."""

    def make(stage="battle", **fields):
        opponents = {
            "one": SERVED,
            "half": {**SERVED, "batch": True},
            "file": {"engine": "recorded", "model": "f.jsonl"},
        }
        prices = {"big": {"input": 1.0, "output": 4.0, "batch": 0.5}}
        raw = make_params(**{"prices": prices, **fields})
        return Account(stage, parse_params({**raw, "opponents": opponents}, "here"), "r1")

    return make


def keys(count, start=0):
    return [bytes([0, number]) * 16 for number in range(start, start + count)]


def put(store, payer, spent, count=1, start=0):
    store.put("response", {key: {"text": "x"} for key in keys(count, start)}, payer=payer, spent=spent)


def test_a_row_adds_up_what_a_run_spends_and_another_run_has_its_own(tmp_path, account):
    path = tmp_path / "store.sqlite"
    for _ in range(2):
        with Store(path, account=account()) as store:
            payer = store.account.payer("contestant", "one")
            put(store, payer, Spent(1, 1, 300, 100, 0.5))
            put(store, payer, Spent(2, 3, 700, 300, 1.5), 2, 1)
    with Store(path) as store:
        rows = store.spending_rows()
        # (400 x 1 + 600 x 4) / 1e6 = 0.0028 a run
        assert store.spent() == {"money": pytest.approx(0.0056), "tokens": 2000}
    assert [(r.stage, r.round, r.role, r.name, r.model) for r in rows] == [
        ("battle", "r1", "contestant", "one", "big")
    ] * 2
    assert [(r.made, r.requests, r.tokens, r.prompt_tokens, r.seconds) for r in rows] == [
        (3, 4, 1000, 400, 2.0)
    ] * 2
    assert [r.money for r in rows] == pytest.approx([0.0028, 0.0028])


def test_batches_have_their_price_and_recorded_answers_and_local_models_have_none(tmp_path, account):
    with Store(tmp_path / "s.sqlite", account=account()) as store:
        for name in ("half", "file", "base"):
            put(store, store.account.payer("contestant", name), Spent(1, 1, 1_000_000, 500_000, 2.0))
        found = {r.name: (r.requests, r.tokens, r.money) for r in store.spending_rows()}
    # half a million at 1 and half a million at 4, at half price
    assert found == {"half": (1, 1_000_000, 1.25), "file": (0, 0, 0.0), "base": (1, 1_000_000, 0.0)}


def test_an_unknown_price_or_split_leaves_the_money_unknown(tmp_path, account):
    with Store(tmp_path / "s.sqlite", account=account(prices={})) as store:
        put(store, store.account.payer("contestant", "one"), Spent(1, 1, 10, 5, 0.1))
    with Store(tmp_path / "s.sqlite", account=account()) as store:
        payer = store.account.payer("contestant", "one")
        put(store, payer, Spent(1, 1, 10, 5, 0.1))
        put(store, payer, Spent(1, 1, 10, None, 0.1))
        assert [r.money for r in store.spending_rows()] == [None, None]
        found = sorted((r.tokens, r.prompt_tokens, r.unsplit) for r in store.spending_rows())
    assert found == [(10, 5, 0), (20, 5, 10)]  # two runs of one second stand in any order


def test_what_was_saved_before_the_table_is_counted_apart(tmp_path, account):
    path = tmp_path / "old.sqlite"
    with Store(path) as store:
        value = {"text": "x", "prompt_tokens": 7, "completion_tokens": 3, "seconds": 0.5}
        store.put("response", {keys(1)[0]: value})
        store.put("game", {keys(1, 1)[0]: {"tokens": 40, "prompt_tokens": 30, "seconds": 2.0}})
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE memory SET created = '2025-01-01 00:00:00'")
        db.execute("DROP TABLE spending")
    with Store(path, account=account()) as store:
        assert store.spending_rows() == []
        before = {one.kind: one[1:] for one in store.earlier()}
        assert before == {"response": (1, 10, 7, 0.5), "game": (1, 40, 30, 2.0)}
        put(store, store.account.payer("contestant", "one"), Spent(1, 1, 10, 5, 0.1), 1, 2)
        assert {one.kind: one[1:] for one in store.earlier()} == before


def asked(store, name="one", batch=8, whole=False):
    payer = store.account.payer("contestant", name)
    return Requests(payer, batch, whole, lambda _: Longest(10, 30), lambda: f"some of '{name}'")


def ask(store, number, tokens, **fields):
    """Ask for answers of so many tokens each; return how many were made, and the error if there was one."""
    made = 0
    try:
        for part in within_budget(store, keys(number), asked(store, **fields)):
            spent = Spent(len(part), len(part), tokens * len(part), 0, 0.0)
            store.put(
                "response",
                {key: {"text": "x"} for key in part},
                payer=asked(store, **fields).payer,
                spent=spent,
            )
            made += len(part)
    except ArenaError as error:
        return made, error
    return made, None


def test_without_a_budget_all_is_asked_at_once(tmp_path, account):
    with Store(tmp_path / "s.sqlite", account=account()) as store:
        assert list(within_budget(store, keys(50), asked(store))) == [keys(50)]
        assert list(within_budget(store, [], asked(store))) == []
    assert list(within_budget(None, keys(3), asked(store))) == [keys(3)]


@pytest.mark.parametrize("tokens", [0, 39, 40, 100, 399, 1000])
def test_no_request_is_sent_that_might_exceed_the_tokens(tmp_path, account, tokens):
    """A request may take 40 tokens and takes 10: asking goes on until fewer than 40 are left."""
    with Store(tmp_path / "s.sqlite", account=account(budget={"tokens": tokens})) as store:
        made, error = ask(store, 200, 10)
        assert store.spent()["tokens"] == 10 * made <= tokens
        assert tokens - 10 * made < 40
        assert error.where == "params.yaml, budget.tokens"
        assert "missing: some of 'one'" in str(error)


def test_money_is_kept_too_and_what_costs_nothing_goes_on(tmp_path, account):
    # a request: at most (10 x 1 + 30 x 4) / 1e6 = 0.00013
    with Store(tmp_path / "s.sqlite", account=account(budget={"money": 0.001})) as store:
        made, error = ask(store, 200, 10)
        assert made > 0
        assert store.spent()["money"] <= 0.001
        assert "budget.money" in error.where
        assert ask(store, 50, 10, name="base") == (50, None)
        assert ask(store, 50, 10, name="file") == (50, None)


def test_a_batch_that_must_be_whole_is_asked_whole_or_not(tmp_path, account):
    with Store(tmp_path / "s.sqlite", account=account(budget={"tokens": 400})) as store:
        assert ask(store, 11, 10, whole=True)[0] == 0  # 11 x 40 = 440
        assert ask(store, 10, 10, whole=True) == (10, None)


def test_the_hours_of_a_run_end_between_requests(tmp_path, account, monkeypatch):
    monkeypatch.delenv(STOP_AT, raising=False)
    start_deadline(None)
    assert not past_deadline()
    monkeypatch.setenv(STOP_AT, f"{time.time() + 60} 0.5")
    start_deadline(9.0)  # the stage of a run keeps the run's
    with Store(tmp_path / "s.sqlite", account=account()) as store:
        parts = within_budget(store, keys(20), asked(store))
        assert len(next(parts)) == 8
        monkeypatch.setenv(STOP_AT, f"{time.time() - 1} 0.5")
        with pytest.raises(ArenaError, match=r"used up its 0.5 hours; missing: some of 'one'"):
            next(parts)
    with pytest.raises(ArenaError, match="the rest"):
        check_deadline("the rest")


def test_what_had_no_price_when_it_was_spent_counts_at_the_present_one(tmp_path, account):
    """Else a budget that is set later would begin with money that is spent already."""
    path = tmp_path / "s.sqlite"
    with Store(path, account=account(prices={})) as store:
        put(store, store.account.payer("contestant", "one"), Spent(1, 1, 1000, 400, 0.1))
        put(store, store.account.payer("contestant", "half"), Spent(1, 1, 1000, None, 0.1))  # of unknown kind
        assert store.spent() == {"money": 0.0, "tokens": 2000}
    with Store(path, account=account(budget={"money": 0.0029})) as store:
        # (400 x 1 + 600 x 4) / 1e6 = 0.0028, and the next request may take 0.00013
        assert store.spent()["money"] == pytest.approx(0.0028)
        made, error = ask(store, 5, 10)
    assert made == 0
    assert error.what.startswith("0.0028 of the budget of 0.0029 are spent")


def test_large_numbers_of_tokens_are_told_in_full(tmp_path, account):
    with Store(tmp_path / "s.sqlite", account=account(budget={"tokens": 2_000_000})) as store:
        payer = store.account.payer("contestant", "one")
        put(store, payer, Spent(1, 1, 1_999_990, 5, 0.1))
        _, error = ask(store, 1, 10)
    assert error.what.startswith("1,999,990 tokens of the budget of 2,000,000 tokens are spent")
