"""A round's figures under stable names. docs/reference/metrics.md lists them; a test compares the two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from arena_learning.leaderboard import (
    Document,
    RoundFiles,
    answer_monitors,
    mapping_at,
    number_at,
    phases,
    records_at,
    round_monitors,
    training_curve,
)
from arena_learning.params import Params
from arena_learning.report import LedgerRow
from arena_learning.tracking.files import Files
from arena_learning.tracking.metric_names import apart, slug
from arena_learning.tracking.run_view import MetricPoint

Figures = dict[str, float | None]


def round_figures(name: str, files: Files) -> dict[str, float]:
    """Return all figures of a round that its files contain, by metric name."""
    this = files.rounds[name]
    figures: Figures = {
        **board_figures(name, files.board),
        **_win_rates(name, files.board),
        **_battle(this),
        **_samples(this),
        **_data(this.card),
        **_train(this.train),
        **_cost(this),
        **_spent(name, files.ledger),
        **_monitors(round_monitors(this, mapping_at(files.board, "answers"), files.arena)),
    }
    return {key: value for key, value in figures.items() if value is not None}


def flywheel_points(files: Files, params: Params) -> list[MetricPoint]:
    """Return the figures of all rounds, with the round's index as the step; the anchor is at step -1.

    Figures with many names are left out: scores by category, win rates except against the base, and reasons.
    """
    points: list[MetricPoint] = []
    anchor = params.evaluate.anchor
    if anchor not in files.rounds:
        own = answer_monitors(anchor, mapping_at(files.board, "answers"), files.arena)
        start = {**board_figures(anchor, files.board), **_monitors(own)}
        points += [MetricPoint(key, value, -1) for key, value in start.items() if value is not None]
    for name, this in files.rounds.items():
        for key, value in round_figures(name, files).items():
            if key.startswith("win_rate/") and not key.endswith("_vs_base"):
                continue
            if not key.startswith(("score/", "data/left_out/", "data/chosen_from/")):
                points.append(MetricPoint(key, value, this.this.index))
    last = max((this.this.index for this in files.rounds.values()), default=0)
    points += [
        MetricPoint(key, value, last)
        for key, value in _whole_boards(files.board).items()
        if value is not None
    ]
    return points


def _whole_boards(board: Document) -> Figures:
    """Return each judge's gain by each rule of rating, what styles are worth, and what human verdicts showed."""
    figures: Figures = {}
    for judge, own in mapping_at(board, "boards").items():
        for rule, ratings in _rules(own).items():
            for suffix, field in (("", "difference"), ("_lower", "lower"), ("_upper", "upper")):
                figures[f"gain{rule}/{slug(judge)}{suffix}"] = number_at(ratings, "gain", field)
        for effect in records_at(own, "style", "effects"):
            for suffix, field in (("", "elo"), ("_lower", "lower"), ("_upper", "upper")):
                figures[f"style/{slug(judge)}/{effect.get('name')}{suffix}"] = number_at(effect, field)
        for key in ("verdicts", "power", "worth", "agreement"):
            figures[f"calibrated/{slug(judge)}/{key}"] = number_at(own, "calibrated", key)
    return figures


def _rules(board: Document) -> dict[str, Document]:
    """Return a judge's plain board, and those by other rules or on a part, by what follows the metric's first word."""
    return {
        "": board,
        "_style": mapping_at(board, "style"),
        "_calibrated": mapping_at(board, "calibrated"),
        "_diverse": mapping_at(board, "by_part", "diverse"),
        "_hard": mapping_at(board, "by_part", "hard"),
    }


def board_figures(contestant: str, board: Document) -> Figures:
    """Return rating, interval and step from the round before on each judge's leaderboard; scores by category."""
    figures: Figures = {}
    for judge, own in mapping_at(board, "boards").items():
        for rule, by_rule in _rules(own).items():
            for rating in records_at(by_rule, "ratings"):
                if rating.get("model") == contestant:
                    figures[f"elo{rule}/{slug(judge)}"] = number_at(rating, "rating")
                    figures[f"elo{rule}/{slug(judge)}_lower"] = number_at(rating, "lower")
                    figures[f"elo{rule}/{slug(judge)}_upper"] = number_at(rating, "upper")
        for step in records_at(own, "steps"):
            if step.get("to") == contestant:
                figures[f"step/{slug(judge)}"] = number_at(step, "difference")
                figures[f"step/{slug(judge)}_lower"] = number_at(step, "lower")
                figures[f"step/{slug(judge)}_upper"] = number_at(step, "upper")
    first = board.get("judge")
    if isinstance(first, str):
        categories = mapping_at(board, "boards", first, "categories")
        for category, name in apart(categories).items():
            figures[f"score/{name}"] = number_at(categories[category], contestant)
    return figures


def _win_rates(name: str, board: Document) -> Figures:
    return {
        f"win_rate/{slug(judge)}_vs_{slug(other)}": number_at(rate)
        for judge, own in mapping_at(board, "boards").items()
        for other, rate in mapping_at(own, "win_rates", name).items()
    }


def _battle(this: RoundFiles) -> Figures:
    """Return the results of the round's target on its own split, a tie as half a win, and figures of its answers."""
    against = mapping_at(this.judge, "against").values()
    wins, ties, losses = (sum(number_at(o, k) or 0.0 for o in against) for k in ("wins", "ties", "losses"))
    own = mapping_at(this.battle, "contestants", this.this.target)
    answers = number_at(own, "answers")
    cut_off = number_at(own, "cut_off")
    decided = wins + ties + losses
    return {
        "battle/battles": number_at(this.judge, "battles"),
        "battle/target_win_rate": (wins + ties / 2) / decided if decided else None,
        "battle/target_mean_words": number_at(own, "mean_words"),
        "battle/target_cut_off_rate": cut_off / answers if answers and cut_off is not None else None,
        "battle/mean_gap": number_at(this.judge, "mean_gap"),
        "battle/first_position_share": number_at(this.judge, "first_position_share"),
    }


def _samples(this: RoundFiles) -> Figures:
    """How the target's own samples scored, in a round that learns from them."""
    judged = mapping_at(this.judge, "samples")
    names = {
        "count": "samples",
        "unscored": "unscored",
        "mean_score": "mean_score",
        "best_score": "best_score",
        "worst_score": "worst_score",
        "games": "games",
    }
    return {f"samples/{name}": number_at(judged, key) for name, key in names.items()}


def _data(card: Document) -> Figures:
    figures: Figures = {
        f"data/{key}": number_at(card, key)
        for key in (
            "instructions",
            "rows",
            "rows_new",
            "rows_accumulated",
            "mean_gap",
            "mean_words_learnt",
            "mean_words_rejected",
            "orders_disagree",
        )
    }
    for key in ("left_out", "chosen_from"):
        counts = mapping_at(card, key)
        figures |= {f"data/{key}/{name}": number_at(counts[what]) for what, name in apart(counts).items()}
    return figures


def _train(train: Document) -> Figures:
    points = training_curve(train)
    losses = [loss for point in points if (loss := number_at(point, "loss")) is not None]
    return {
        "train/rows": number_at(train, "rows"),
        "train/steps": sum(number_at(phase, "steps") or 0.0 for phase in phases(train)) if train else None,
        "train/loss_first": losses[0] if losses else None,
        "train/loss_last": losses[-1] if losses else None,
        "train/weight_change": number_at(train, "weight_change", "after_saving"),
        "train/weight_change_before_saving": number_at(train, "weight_change", "before_saving"),
        "train/peak_memory_mb": number_at(train, "cost", "peak_memory_mb"),
    }


def _cost(this: RoundFiles) -> Figures:
    answering = [*mapping_at(this.battle, "contestants").values(), mapping_at(this.battle, "samples")]
    judging = [this.judge, mapping_at(this.judge, "samples")]
    return {
        "seconds/answer": _total(answering, "seconds"),
        "seconds/judge": _total(judging, "seconds"),
        "seconds/train": _sum(mapping_at(this.train, "cost", "seconds").values()),
        "tokens/answer": _total(answering, "tokens"),
        "tokens/judge": _total(judging, "tokens"),
        "tokens/train": _sum(number_at(phase, "rows", "tokens") for phase in phases(this.train)),
    }


def _spent(name: str, ledger: Sequence[LedgerRow]) -> Figures:
    """Return what was requested for a round, in all its runs; nothing where nothing was."""
    own = [row for row in ledger if row.round == name]
    if not own:
        return {}
    return {
        "spent/requests": _all([row.requests for row in own]),
        "spent/tokens_in": _all([row.tokens_in for row in own]),
        "spent/tokens_out": _all([row.tokens_out for row in own]),
        "spent/seconds": sum(row.seconds for row in own),
        "spent/money": _all([row.money for row in own]),
    }


def _all(values: Sequence[float | None]) -> float | None:
    """Return the sum; None if a part of it is unknown."""
    known = [float(value) for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _monitors(found: Mapping[str, float | None]) -> Figures:
    return {f"monitor/{slug(name)}": value for name, value in found.items()}


def _sum(values: Iterable[object]) -> float | None:
    numbers = [v for value in values if (v := number_at(value)) is not None]
    return sum(numbers) if numbers else None


def _total(items: Iterable[object], key: str) -> float | None:
    return _sum([number_at(item, key) for item in items])
