"""What requests cost, in a table of the store: a row for each run of a stage and each contestant or judge.

A row is written in the transaction that saves the answers or verdicts which it counts. Values that were saved by
versions without this table are counted apart: who made them is unknown.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping
from typing import Literal, NamedTuple

from arena_learning.core import now_text
from arena_learning.params import Budget, Params, Price

Role = Literal["contestant", "judge"]

_NUMBERS = ("made", "requests", "tokens", "prompt_tokens", "unsplit", "seconds", "money")
SCHEMA = """
CREATE TABLE IF NOT EXISTS spending (
    run TEXT NOT NULL, stage TEXT NOT NULL, round TEXT NOT NULL, role TEXT NOT NULL, name TEXT NOT NULL,
    model TEXT NOT NULL, batch INTEGER NOT NULL, began TEXT NOT NULL, ended TEXT NOT NULL,
    made INTEGER NOT NULL, requests INTEGER NOT NULL, tokens INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
    unsplit INTEGER NOT NULL, seconds REAL NOT NULL, money REAL,
    PRIMARY KEY (run, role, name, model, batch)
) WITHOUT ROWID
"""
# A price that is unknown for a part leaves the whole unknown: NULL and a number are NULL.
_ADD = f"""
INSERT INTO spending (run, stage, round, role, name, model, batch, began, ended, {", ".join(_NUMBERS)})
VALUES ({", ".join("?" * (9 + len(_NUMBERS)))})
ON CONFLICT (run, role, name, model, batch) DO UPDATE SET ended = excluded.ended, {
    ", ".join(f"{name} = {name} + excluded.{name}" for name in _NUMBERS)
}
"""
_READ = f"SELECT stage, round, role, name, model, batch, began, ended, {', '.join(_NUMBERS)} FROM spending"
_ORDER = "ORDER BY began, run, role, name, model, batch"
# A game's ``tokens`` include its prompts'; an answer has both parts and no sum.
_EARLIER = """
SELECT kind, COUNT(*), SUM(COALESCE(json_extract(value, '$.tokens'),
  COALESCE(json_extract(value, '$.prompt_tokens'), 0) + COALESCE(json_extract(value, '$.completion_tokens'), 0))),
  SUM(json_extract(value, '$.prompt_tokens')), SUM(json_extract(value, '$.seconds'))
FROM memory WHERE created < ? GROUP BY kind
"""


class Payer(NamedTuple):
    """A contestant or judge whose requests are counted.

    Attributes:
        role: which of the two.
        name: its name in params.yaml, or the judge's label where it has none.
        model: its model behind an endpoint; empty for a local one, which costs no money.
        price: what the model costs; None if unknown.
        batch: whether requests go by the Batch API.
        recorded: whether its answers come from a file and take no tokens.
    """

    role: Role
    name: str
    model: str = ""
    price: Price | None = None
    batch: bool = False
    recorded: bool = False

    def money(self, prompt: float, generated: float) -> float | None:
        """Return what these tokens cost; None if the price is unknown."""
        if not self.model:
            return 0.0
        return self.price.money(prompt, generated, batch=self.batch) if self.price else None


class Spent(NamedTuple):
    """What some requests took.

    Attributes:
        made: answers or verdicts that they gave.
        requests: their number, those without an answer included.
        tokens: of prompts and answers.
        prompt_tokens: of prompts; None if it is unknown which of ``tokens`` they are.
        seconds: the time spent.
    """

    made: int
    requests: int
    tokens: int
    prompt_tokens: int | None
    seconds: float


class Spending(NamedTuple):
    """What one run of a stage has spent on one contestant or judge; the fields as in `Payer` and `Spent`.

    Attributes:
        round: the round that it was spent for; empty for the test set and outside of rounds.
        began: when the stage began (UTC, ISO 8601); ``ended``: its last request's time.
        unsplit: tokens of which it is unknown whether they are prompts'.
        money: None if the price is unknown.
    """

    stage: str
    round: str
    role: str
    name: str
    model: str
    batch: bool
    began: str
    ended: str
    made: int
    requests: int
    tokens: int
    prompt_tokens: int
    unsplit: int
    seconds: float
    money: float | None

    def priced(self, prices: Mapping[str, Price]) -> float | None:
        """Return the money; what had no price yet counts at that of ``prices``, None where it is unknown still."""
        price = prices.get(self.model)
        if self.money is not None or price is None or self.unsplit:
            return self.money
        return price.money(self.prompt_tokens, self.tokens - self.prompt_tokens, batch=self.batch)


class Earlier(NamedTuple):
    """What the store holds from before its table of spending: answers or games, without who made them.

    ``prompt_tokens`` is None where only the sum was kept.
    """

    kind: str
    made: int
    tokens: int
    prompt_tokens: int | None
    seconds: float


class Account:
    """For what an open store's requests are made, and what they may cost.

    Args:
        stage: the stage or command.
        params: the parameters with prices and budget; None: no prices, no budget.
        round_name: the round, if any.

    Example:
        >>> Account("battle", round_name="sft-i1").payer("contestant", "base").model
        ''
    """

    def __init__(self, stage: str, params: Params | None = None, round_name: str = "") -> None:
        self.stage, self.round = stage, round_name
        self.run, self.began = uuid.uuid4().hex, now_text()
        self.budget = params.budget if params else Budget()
        self.prices: Mapping[str, Price] = params.prices if params else {}
        self._params = params

    def payer(self, role: Role, name: str) -> Payer:
        """Return who pays for the requests of a contestant or judge."""
        if self._params is None:
            return Payer(role, name)
        known = self._params.opponents if role == "contestant" else self._params.judges
        one = known.get(name)
        if one is None or one.engine != "openai":
            return Payer(role, name, recorded=one is not None and one.engine == "recorded")
        return Payer(role, name, one.model, self.prices.get(one.model), one.batch)

    def row(self, payer: Payer, spent: Spent) -> tuple[object, ...]:
        """Return the values of a row of the table."""
        if payer.recorded:
            spent = Spent(spent.made, 0, 0, 0, 0.0)
        prompt = spent.prompt_tokens
        money = payer.money(prompt, spent.tokens - prompt) if prompt is not None else payer.money(0, 0)
        if prompt is None and payer.model and spent.tokens:
            money = None
        who = (self.run, self.stage, self.round, payer.role, payer.name, payer.model, int(payer.batch))
        unsplit = spent.tokens if prompt is None else 0
        told = (spent.made, spent.requests, spent.tokens, prompt or 0, unsplit, spent.seconds, money)
        return (*who, self.began, now_text(), *told)


def add(db: sqlite3.Connection, account: Account, payer: Payer, spent: Spent) -> None:
    """Add to the account's row of ``payer``; must run inside a write transaction."""
    db.execute(_ADD, account.row(payer, spent))


def read(db: sqlite3.Connection) -> list[Spending]:
    """Return all rows, the oldest first."""
    return _rows(db, f"{_READ} {_ORDER}")


def _rows(db: sqlite3.Connection, query: str) -> list[Spending]:
    return [Spending(*row)._replace(batch=bool(row[5])) for row in db.execute(query).fetchall()]


def read_earlier(db: sqlite3.Connection) -> list[Earlier]:
    """Return what was saved before the first row."""
    (first,) = db.execute("SELECT MIN(began) FROM spending").fetchone()
    rows = db.execute(_EARLIER, (first or "9999",)).fetchall()
    return [
        Earlier(kind, made, int(tokens or 0), None if prompt is None else int(prompt), float(seconds or 0.0))
        for kind, made, tokens, prompt, seconds in rows
    ]


def total_spent(db: sqlite3.Connection, prices: Mapping[str, Price]) -> dict[str, float]:
    """Return the known money and all tokens that were spent; see `Spending.priced`."""
    money, tokens = db.execute("SELECT SUM(money), SUM(tokens) FROM spending").fetchone()
    later = sum(one.priced(prices) or 0.0 for one in _rows(db, f"{_READ} WHERE money IS NULL"))
    return {"money": float(money or 0.0) + later, "tokens": float(tokens or 0)}


def mean(db: sqlite3.Connection, account: Account, payer: Payer, what: str) -> tuple[int, float | None]:
    """Return how many answers or verdicts the account's run has of a payer, and their mean ``money`` or ``tokens``."""
    row = db.execute(
        "SELECT SUM(made), SUM(money), SUM(tokens) FROM spending WHERE run = ? AND role = ? AND name = ?",
        (account.run, payer.role, payer.name),
    ).fetchone()
    made, whole = int(row[0] or 0), row[1 if what == "money" else 2]
    return made, whole / made if made and whole is not None else None
