"""The ratings of a file as a table, JSON or CSV, for the command line."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena_learning.core import ArenaError, Table, table_text
from arena_learning.rating.bias import BattleBias, position_bias
from arena_learning.rating.bradley_terry import rate
from arena_learning.rating.elo import EloParams, online_elo
from arena_learning.rating.rates import WinRate, average_win_rates, win_rate_against
from arena_learning.rating.read import read_battles
from arena_learning.rating.result import Rating, RatingParams, RatingResult
from arena_learning.rating.style import StyleRatings, rate_with_style

if TYPE_CHECKING:
    from arena_learning.rating.agreement import Consistency

_ELO_SHUFFLES = 20


@dataclass(frozen=True)
class Extras:
    """Extra results to report besides the ratings.

    Attributes:
        style: ratings with style controlled for.
        elo: online Elo.
        baseline: win rates against this contestant.
        bias: position and length bias.
    """

    style: bool = False
    elo: bool = False
    baseline: str | None = None
    bias: bool = False


@dataclass(frozen=True)
class Report:
    """Ratings and the requested extras (None if not requested), and the number of skipped rows by reason."""

    result: RatingResult
    average_win_rates: dict[str, float]
    style: StyleRatings | None = None
    online_elo: dict[str, float] | None = None
    win_rates: list[WinRate] | None = None
    bias: BattleBias | None = None
    passed_over: dict[str, int] = field(default_factory=dict)


def parse_anchor(text: str | None) -> tuple[str, float] | None:
    """Return name and rating from ``NAME=ELO``; the name may contain equals signs.

    Raises:
        ArenaError: the name or the number is missing.
    """
    if text is None:
        return None
    name, _, number = text.rpartition("=")
    try:
        rating = float(number)
    except ValueError:
        rating = float("nan")
    if not name or rating != rating:
        raise ArenaError(
            f"{text!r} is not NAME=ELO", where="--anchor", hint="write it like --anchor mixtral-8x7b=1114"
        )
    return name, rating


def rate_file(
    path: Path, anchor: str | None, params: dict[str, Any], extras: Extras, *, skip_bad: bool = False
) -> Report:
    """Rate a battle log.

    Args:
        path: the file; see `read_battles`.
        anchor: ``NAME=ELO`` or None.
        params: other fields of `RatingParams`.
        extras: extra results to report.
        skip_bad: skip and count malformed rows.
    """
    chosen = RatingParams(anchor=parse_anchor(anchor), **params)
    battles = read_battles(path, skip_bad=skip_bad)
    return Report(
        result=rate(battles, chosen),
        average_win_rates=average_win_rates(battles),
        # A log may have millions of battles, and a resample with styles goes through all of them.
        style=rate_with_style(battles, replace(chosen, interval="sandwich")) if extras.style else None,
        online_elo=online_elo(battles, EloParams(permutations=_ELO_SHUFFLES, scale=chosen.scale))
        if extras.elo
        else None,
        win_rates=win_rate_against(battles, extras.baseline, level=chosen.level) if extras.baseline else None,
        bias=position_bias(battles) if extras.bias else None,
        passed_over=battles.passed,
    )


def render_report(report: Report, form: str) -> str:
    """Return a report as ``table``, ``json`` or ``csv``."""
    if form == "json":
        return json.dumps(to_dict(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if form == "csv":
        return _csv(report.result.ratings)
    return _table(report)


def to_dict(report: Report) -> dict[str, Any]:
    """Return a report as plain values, ready for JSON."""
    out = report.result.to_dict()
    out["average_win_rates"] = report.average_win_rates
    if report.passed_over:
        out["passed_over"] = report.passed_over
    if report.style is not None:
        out["style"] = {
            "ratings": [asdict(rating) for rating in report.style.controlled.ratings],
            "effects": [effect._asdict() for effect in report.style.effects],
        }
    if report.online_elo is not None:
        out["online_elo"] = report.online_elo
    if report.win_rates is not None:
        out["win_rates"] = [rate._asdict() for rate in report.win_rates]
    if report.bias is not None:
        out["bias"] = report.bias.to_dict()
    return out


def passed_over_lines(report: Report) -> list[str]:
    """Return a line for each reason why rows were skipped."""
    return [f"passed over: {count} rows, {reason}" for reason, count in report.passed_over.items()]


def _csv(ratings: list[Rating]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [field.name for field in fields(Rating)]
    writer.writerow(names)
    writer.writerows([getattr(rating, name) for name in names] for rating in ratings)
    return buffer.getvalue()


def _table(report: Report) -> str:
    result = report.result
    several = int(result.groups.max()) > 0
    head = [
        "rank",
        "model",
        "rating",
        f"{result.params.level:.0%} interval",
        "battles",
        "won",
        "tied",
        "lost",
        "avg win",
    ]
    if report.style is not None:
        head.append("style-controlled")
    if report.online_elo is not None:
        head.append("online Elo")
    head += ["group"] * several
    rows: list[list[str]] = []
    for rating in result.ratings:
        row = [
            f"{rating.rank_lower}-{rating.rank_upper}",
            rating.model,
            f"{rating.rating:.1f}",
            f"{rating.lower:.1f} to {rating.upper:.1f}",
            *(str(count) for count in (rating.battles, rating.wins, rating.ties, rating.losses)),
            f"{report.average_win_rates[rating.model]:.1%}",
        ]
        if report.style is not None:
            row.append(f"{report.style.controlled[rating.model].rating:.1f}")
        if report.online_elo is not None:
            row.append(f"{report.online_elo[rating.model]:.1f}")
        rows.append(row + ([str(rating.group)] if several else []))
    table = Table(head, rows, ("model",))
    lines = [table_text(table, rule=False), f"intervals by {result.cluster}, {result.clusters} of them"]
    lines += passed_over_lines(report)
    lines += [f"! {finding}" for finding in result.diagnosis]
    return "\n".join(lines + _extra_lines(report)) + "\n"


def _extra_lines(report: Report) -> list[str]:
    lines: list[str] = []
    if report.style is not None:
        lines += ["", "style, Elo for one standard deviation more than the other answer:"]
        lines += [
            f"  {e.name}: {e.elo:+.1f} ({e.lower:+.1f} to {e.upper:+.1f})" for e in report.style.effects
        ]
    if report.win_rates is not None:
        lines += ["", "win rate against the baseline:"]
        rows = [
            [w.model, f"{w.rate:.1%}", f"{w.lower:.1%} to {w.upper:.1%}", str(w.battles)]
            for w in report.win_rates
        ]
        table = Table(("model", "win rate", f"{report.result.params.level:.0%} interval", "battles"), rows)
        lines.append(table_text(table, rule=False))
    if report.bias is not None:
        lines += ["", "position and length:"]
        lines += [f"  {name}: {_plain(value)}" for name, value in report.bias.to_dict().items()]
    return lines


def _plain(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def render_consistency(found: Consistency, as_json: bool) -> str:
    """Return a comparison of two arenas as JSON or as lines to read."""
    if as_json:
        return json.dumps(found.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    shares = {
        "Spearman": found.spearman,
        "Kendall": found.kendall,
        "human agreement": found.human_agreement,
        "differentiation": found.differentiation,
        "mean (without Kendall)": found.mean,
    }
    lines = [f"{name:24}{'-' if value is None else format(value, '.4f')}" for name, value in shares.items()]
    lines.append(f"{found.models} models, {found.pairs} pairs, {found.separated} separated by the reference")
    lines += [f"conflict: bench {c.bench_winner}, reference {c.reference_winner}" for c in found.conflicts]
    return "\n".join(lines) + "\n"
