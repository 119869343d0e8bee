"""The ledger: what answers, verdicts and trainings have taken, by round, stage, contestant and judge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from arena_learning.core import Paths, Table, read_stage_runs
from arena_learning.leaderboard import Document, mapping_at, number_at, read_document
from arena_learning.params import Params
from arena_learning.report.terminal import Page
from arena_learning.store import Earlier, Spending, Store

_EARLIER = {"response": "answers", "game": "games"}


class LedgerRow(NamedTuple):
    """What one contestant or judge has taken in a stage of a round, in all its runs; or what a training has taken.

    Attributes:
        round: the round; empty for the test set and outside of rounds.
        stage: the stage or command that asked.
        role: ``contestant``, ``judge`` or ``training``.
        name: the contestant's, judge's or round's name in params.yaml.
        model: the model behind an endpoint; empty for what runs here.
        batch: whether it was asked by the Batch API.
        made: answers or games.
        requests: with repeated ones for malformed verdicts.
        tokens_in: tokens of prompts; None if a part of the tokens is unknown in kind.
        tokens_out: generated tokens; None likewise.
        tokens: all tokens.
        seconds: time that was spent asking or training.
        money: in the currency of `prices`; None if a price is unknown.
    """

    round: str
    stage: str
    role: str
    name: str
    model: str
    batch: bool
    made: int
    requests: int
    tokens_in: int | None
    tokens_out: int | None
    tokens: int
    seconds: float
    money: float | None


class Ledger(NamedTuple):
    """All rows, the trainings of the current rounds, and what the store holds from before spending was counted.

    ``stage_seconds`` is the time of all runs of stages under DVC, failed ones included.
    """

    rows: list[LedgerRow]
    training: list[LedgerRow]
    earlier: list[Earlier]
    stage_seconds: float


def read_ledger(params: Params, paths: Paths) -> Ledger:
    """Read the ledger of a project; it is empty where nothing was asked yet.

    Money that was spent before a model had its price is counted at the current one.

    Raises:
        ArenaError: the store or a metrics file is malformed.
    """
    earlier: list[Earlier] = []
    if paths.store.is_file():
        with Store(paths.store) as store:
            earlier = store.earlier()
    training = [
        row
        for name in params.ordered_rounds
        if (row := _training(name, read_document(paths.stage_metrics(name, "train")))) is not None
    ]
    seconds = sum(run.seconds for run in read_stage_runs(paths))
    return Ledger(read_ledger_rows(params, paths), training, earlier, seconds)


def read_ledger_rows(params: Params, paths: Paths) -> list[LedgerRow]:
    """Read what was spent alone: no value of the store is looked at.

    Raises:
        ArenaError: the store is malformed.
    """
    if not paths.store.is_file():
        return []
    with Store(paths.store) as store:
        return ledger_rows(store.spending_rows(), params)


def ledger_rows(spent: Iterable[Spending], params: Params) -> list[LedgerRow]:
    """Return spending as rows of the ledger, the runs of a stage together."""
    rows = [
        LedgerRow(
            one.round,
            one.stage,
            one.role,
            one.name,
            one.model,
            one.batch,
            one.made,
            one.requests,
            None if one.unsplit else one.prompt_tokens,
            None if one.unsplit else one.tokens - one.prompt_tokens,
            one.tokens,
            one.seconds,
            _money(one, params),
        )
        for one in spent
    ]
    return grouped(rows, lambda row: row[:6], keep=6)


def grouped(
    rows: Iterable[LedgerRow], key: Callable[[LedgerRow], tuple[object, ...]], keep: int = 0
) -> list[LedgerRow]:
    """Return one row for all rows with the same key, in the order of first appearance.

    Args:
        rows: the rows.
        key: what rows are grouped by.
        keep: how many of the first fields the rows of a group share; the others of them become empty.
    """
    groups: dict[tuple[object, ...], list[LedgerRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [_sum(group, keep) for group in groups.values()]


def ledger_view(ledger: Ledger, params: Params) -> dict[str, Any]:
    """Return the ledger as JSON values: rows, sums by round, stage, contestant and judge, and the budget."""
    rows = [*ledger.rows, *ledger.training]
    whole = _figures(_sum(rows, 0))
    money = sum(row.money or 0.0 for row in rows)
    tokens = sum(row.tokens for row in rows)
    return {
        "rows": [row._asdict() for row in rows],
        "by_round": {name or "-": _figures(row) for name, row in _by(rows, lambda row: row.round).items()},
        "by_stage": {name: _figures(row) for name, row in _by(rows, lambda row: row.stage).items()},
        "by_contestant": _by_role(rows, "contestant"),
        "by_judge": _by_role(rows, "judge"),
        "total": whole,
        "earlier": {
            _EARLIER[one.kind]: {
                "made": one.made,
                "tokens_in": one.prompt_tokens,
                "tokens_out": None if one.prompt_tokens is None else one.tokens - one.prompt_tokens,
                "tokens": one.tokens,
                "seconds": one.seconds,
                "money": None,
            }
            for one in ledger.earlier
        },
        "stage_seconds": ledger.stage_seconds,
        "budget": {
            "money": _left(params.budget.money, money),
            "tokens": _left(params.budget.tokens, tokens),
            "hours": params.budget.hours,
        },
    }


def ledger_text(view: Document, page: Page) -> str:
    """Return the ledger in tables: each round and stage by contestant or judge, then sums."""
    page.heading("Spent, by round and stage")
    head = ("round", "stage", "who", *_HEAD)
    rows = [
        (
            row["round"] or "-",
            row["stage"],
            f"{row['name']} ({row['model']}{', batch' if row['batch'] else ''})"
            if row["model"]
            else row["name"],
            *_cells(row),
        )
        for row in view["rows"]
    ]
    total = ("all", "", "", *_cells(view["total"]))
    page.table(Table(head, [*rows, total], left=("round", "stage", "who")))
    for title, key in (
        ("By round", "by_round"),
        ("By contestant", "by_contestant"),
        ("By judge", "by_judge"),
    ):
        if len(view[key]) > 1:
            page.heading(title)
            page.table(Table((title[3:], *_HEAD), [(name, *_cells(one)) for name, one in view[key].items()]))
    for name, one in view["earlier"].items():
        page.line(
            f"Before the ledger began: {one['made']:,} {name}, {one['seconds']:,.0f} s, "
            f"{_count(one['tokens_in'])} tokens in, {_count(one['tokens_out'])} out; who made them and what they cost "
            "is unknown"
        )
    page.line(
        f"All runs of stages together: {view['stage_seconds'] / 3600:.2f} hours. An unknown figure is a `?`."
    )
    for what in ("money", "tokens"):
        if left := view["budget"][what]:
            page.line(
                f"budget.{what}: {left['spent']:,.6g} of {left['most']:,.6g} spent, {left['left']:,.6g} left"
            )
    return str(page)


_HEAD = ("made", "requests", "tokens in", "tokens out", "seconds", "money")


def _cells(row: Document) -> tuple[str, ...]:
    money = row["money"]
    return (
        f"{row['made']:,}",
        f"{row['requests']:,}",
        _count(row["tokens_in"]),
        _count(row["tokens_out"]),
        f"{row['seconds']:,.1f}",
        "?" if money is None else f"{money:,.4f}" if money else "-",
    )


def _count(number: float | None) -> str:
    return "?" if number is None else f"{number:,.0f}"


def _by(rows: Sequence[LedgerRow], key: Callable[[LedgerRow], str]) -> dict[str, LedgerRow]:
    groups: dict[str, list[LedgerRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return {name: _sum(group, 0) for name, group in groups.items()}


def _by_role(rows: Sequence[LedgerRow], role: str) -> dict[str, dict[str, Any]]:
    own = [row for row in rows if row.role == role]
    return {name: _figures(row) for name, row in _by(own, lambda row: row.name).items()}


def _sum(rows: Sequence[LedgerRow], keep: int) -> LedgerRow:
    shared: tuple[Any, ...] = rows[0][:keep] if rows else ()
    empty: tuple[Any, ...] = ("", "", "", "", "", False)[keep:]
    return LedgerRow(
        *shared,
        *empty,
        sum(row.made for row in rows),
        sum(row.requests for row in rows),
        _known(row.tokens_in for row in rows),
        _known(row.tokens_out for row in rows),
        sum(row.tokens for row in rows),
        sum(row.seconds for row in rows),
        _known(row.money for row in rows),
    )


def _known(values: Iterable[Any]) -> Any:
    """Return the sum; None if a part of it is unknown."""
    listed = list(values)
    return None if None in listed else sum(listed)


def _figures(row: LedgerRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in LedgerRow._fields[6:]}


def _money(one: Spending, params: Params) -> float | None:
    price = params.prices.get(one.model)
    if one.money is not None or price is None or one.unsplit:
        return one.money
    return price.money(one.prompt_tokens, one.tokens - one.prompt_tokens, batch=one.batch)


def _left(most: float | None, spent: float) -> dict[str, float] | None:
    return None if most is None else {"most": most, "spent": spent, "left": max(0.0, most - spent)}


def _training(name: str, metrics: Document) -> LedgerRow | None:
    """Return the time of a round's last training; None if it has not run."""
    seconds = [number_at(value) or 0.0 for value in mapping_at(metrics, "cost", "seconds").values()]
    if not metrics:
        return None
    return LedgerRow(name, "train", "training", name, "", False, 0, 0, 0, 0, 0, sum(seconds), 0.0)
