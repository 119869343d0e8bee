"""The ledger: what answers, verdicts and trainings have taken, by round, stage, contestant and judge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from arena_learning.core import Paths, read_stage_runs
from arena_learning.leaderboard import Document, mapping_at, number_at, read_document
from arena_learning.params import Params
from arena_learning.store import Account, Earlier, Spending, Store

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
        requests: with repeated ones for malformed verdicts; None: unknown.
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
    requests: int | None
    tokens_in: int | None
    tokens_out: int | None
    tokens: int
    seconds: float
    money: float | None


class Ledger(NamedTuple):
    """What was spent.

    Attributes:
        rows: what was asked, by round, stage, contestant and judge.
        training: the last trainings of the current rounds.
        earlier: what the store holds from before spending was counted.
        files: what the stages' metrics files tell of contestants and judges that ``rows`` does not have: the present
            results' cost, from before spending was counted.
        stage_seconds: time of all runs of stages under DVC, failed ones included.
        spent: known ``money`` and ``tokens`` of all rows, as the budget counts them.
    """

    rows: list[LedgerRow]
    training: list[LedgerRow]
    earlier: list[Earlier]
    files: list[LedgerRow]
    stage_seconds: float
    spent: dict[str, float]


def read_ledger(params: Params, paths: Paths) -> Ledger:
    """Read the ledger of a project; it is empty where nothing was asked yet.

    Money that was spent before a model had its price is counted at the current one.

    Raises:
        ArenaError: the store or a metrics file is malformed.
    """
    earlier: list[Earlier] = []
    spent = {"money": 0.0, "tokens": 0.0}
    if paths.store.is_file():
        with Store(paths.store, account=Account("ledger", params)) as store:
            earlier, spent = store.earlier(), store.spent()
    training = [
        row
        for name in params.ordered_rounds
        if (row := _training(name, read_document(paths.stage_metrics(name, "train")))) is not None
    ]
    seconds = sum(run.seconds for run in read_stage_runs(paths))
    rows = read_ledger_rows(params, paths)
    known = {(row.round, row.stage, row.name) for row in rows}
    files = [row for row in _from_files(params, paths) if (row.round, row.stage, row.name) not in known]
    return Ledger(rows, training, earlier, files if earlier else [], seconds, spent)


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
            one.priced(params.prices),
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
        "files": [row._asdict() for row in ledger.files],
        "stage_seconds": ledger.stage_seconds,
        "budget": {
            "money": _left(params.budget.money, ledger.spent["money"]),
            "tokens": _left(params.budget.tokens, ledger.spent["tokens"]),
            "hours": params.budget.hours,
        },
    }


def _by(rows: Sequence[LedgerRow], key: Callable[[LedgerRow], str]) -> dict[str, LedgerRow]:
    groups: dict[str, list[LedgerRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return {name: _sum(group, 0) for name, group in groups.items()}


def _by_role(rows: Sequence[LedgerRow], role: str) -> dict[str, dict[str, Any]]:
    own = [row for row in rows if row.role == role]
    return {name: _figures(row) for name, row in _by(own, lambda row: row.name).items()}


def _sum(rows: Sequence[LedgerRow], keep: int) -> LedgerRow:
    """Return one row for several; the first ``keep`` fields are those of the first row, the rest of its words empty."""
    nobody: tuple[Any, ...] = ("", "", "", "", "", False)
    words = [*(rows[0][:keep] if rows else ()), *nobody[keep if rows else 0 :]]
    return LedgerRow._make(
        [
            *words,
            sum(row.made for row in rows),
            _known(row.requests for row in rows),
            _known(row.tokens_in for row in rows),
            _known(row.tokens_out for row in rows),
            sum(row.tokens for row in rows),
            sum(row.seconds for row in rows),
            _known(row.money for row in rows),
        ]
    )


def _known(values: Iterable[Any]) -> Any:
    """Return the sum; None if a part of it is unknown."""
    listed = list(values)
    return None if None in listed else sum(listed)


def _figures(row: LedgerRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in LedgerRow._fields[6:]}


def _left(most: float | None, spent: float) -> dict[str, float] | None:
    return None if most is None else {"most": most, "spent": spent, "left": max(0.0, most - spent)}


def _from_files(params: Params, paths: Paths) -> Iterator[LedgerRow]:
    """Yield what the metrics files of the stages tell; requests, prompts and money are not in them."""
    for name in params.ordered_rounds:
        battle = read_document(paths.stage_metrics(name, "battle"))
        for who, told in mapping_at(battle, "contestants").items():
            parts = [told, mapping_at(battle, "samples")] if who == params.rounds[name].target else [told]
            yield from _told(name, "battle", "contestant", who, parts, "answers", params)
        judge = read_document(paths.stage_metrics(name, "judge"))
        parts = [judge, mapping_at(judge, "samples")]
        yield from _told(name, "judge", "judge", params.judge.name, parts, "games", params)
    for who, told in read_document(paths.arena_metrics).items():
        yield from _told("", "evaluate", "judge", who, [told], "games", params)


def _told(
    round_name: str, stage: str, role: str, who: str, parts: Sequence[Any], unit: str, params: Params
) -> Iterator[LedgerRow]:
    made, tokens, seconds = (
        sum(number_at(part, key) or 0.0 for part in parts) for key in (unit, "tokens", "seconds")
    )
    one = (params.judges if role == "judge" else params.opponents).get(who)
    if not made or (one is not None and one.engine == "recorded"):
        return
    served = one.model if one is not None and one.engine == "openai" else ""
    batch = bool(served and one and one.batch)
    nothing = not tokens  # a judge without a model takes no tokens
    out = int(tokens) if role == "contestant" else 0 if nothing else None
    unknown = 0 if nothing else None
    money = None if served else 0.0
    yield LedgerRow(
        round_name,
        stage,
        role,
        who,
        served,
        batch,
        int(made),
        None,
        unknown,
        out,
        int(tokens),
        seconds,
        money,
    )


def _training(name: str, metrics: Document) -> LedgerRow | None:
    """Return the time of a round's last training; None if it has not run."""
    seconds = [number_at(value) or 0.0 for value in mapping_at(metrics, "cost", "seconds").values()]
    if not metrics:
        return None
    return LedgerRow(name, "train", "training", name, "", False, 0, 0, 0, 0, 0, sum(seconds), 0.0)
