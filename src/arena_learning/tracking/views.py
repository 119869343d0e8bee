"""Make runs from the files: one for the flywheel, a child for each round, and below it the round's training."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from arena_learning.core import Paths, redacted
from arena_learning.engines import weights_digest
from arena_learning.leaderboard import RoundFiles, mapping_at, number_at, phases, records_at, training_curve
from arena_learning.params import LATER, Params
from arena_learning.tracking.figures import flywheel_points, round_figures
from arena_learning.tracking.files import Files
from arena_learning.tracking.metric_names import slug
from arena_learning.tracking.run_view import AttachedFile, LoggedModel, MetricPoint, RunView, md5
from arena_learning.tracking.tables import battle_table, cut, datasets, elo_table, ledger_table

FLYWHEEL = "flywheel"  # also the run's name, except in a DVC experiment, which has its own name
LONGEST_PARAM = 6000  # characters; MLflow refuses longer values
_PICTURES = (".png", ".svg")


def experiment() -> str:
    """Return the name of the DVC experiment that this process runs in, or an empty string."""
    return os.environ.get("DVC_EXP_NAME", "")


def run_views(files: Files, params: Params, paths: Paths) -> list[RunView]:
    """Return the runs, parents before children, without rounds that have no files."""
    rounds = [this for this in files.rounds.values() if not this.empty]
    if not rounds and not files.board:
        return []
    shown = [_flywheel(files, params, paths)]
    for this in rounds:
        shown.append(_round(this, files, params, paths))
        if training_curve(this.train):
            shown.append(_training(this, paths))
    return shown


def stale(files: Files, params: Params) -> list[str]:
    """Return a warning for each round whose files were made with other parameters than the current ones."""
    found = []
    for name, this in files.rounds.items():
        settings = {**LATER, **getattr(params.train, this.this.method).learnt_by()}
        ran = mapping_at(this.train, "settings")
        pairs = [
            ("dataset", key, number_at(this.card, key), getattr(this.this, key)) for key in ("threshold",)
        ]
        pairs += [
            ("train", key, was, settings[key])
            for key, was in ({**LATER, **ran} if ran else ran).items()
            if key in settings
        ]
        for stage, key, was, now in pairs:
            if was is not None and _differ(was, now):
                found.append(
                    f"{stage}@{name} ran with {key} {was}, params.yaml says {now}: run `arena repro`"
                )
    return found


def _differ(was: object, now: object) -> bool:
    """Whether two values differ; of two sections, in a key that both have, as later versions have more keys."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        return any(_differ(value, now[key]) for key, value in was.items() if key in now)
    return was != now


def _flywheel(files: Files, params: Params, paths: Paths) -> RunView:
    seconds = sum(_seconds(this) for this in files.rounds.values())
    gain = mapping_at(files.board, "gain")
    said = (
        f"{gain.get('from')} to {gain.get('to')}: {number_at(gain, 'difference'):+.0f} Elo "
        f"[{number_at(gain, 'lower'):+.0f}, {number_at(gain, 'upper'):+.0f}], {gain.get('verdict', '')}"
        if None not in (number_at(gain, "difference"), number_at(gain, "lower"), number_at(gain, "upper"))
        else "not evaluated yet"
    )
    return RunView(
        key=FLYWHEEL,
        title=experiment() or FLYWHEEL,
        params=_flywheel_params(params),
        tags={"arena.kind": "flywheel", "mlflow.note.content": _board_note(files, said)},
        points=tuple(flywheel_points(files, params)),
        tables=(*elo_table(files.board), *ledger_table(files.ledger)),
        files=(*_pictures(paths), *_attached([paths.leaderboard, paths.prepare_card], "")),
        seconds=seconds,
        ended=_newest([paths.leaderboard, *_round_paths(files.rounds, paths)]),
    )


def _round(this: RoundFiles, files: Files, params: Params, paths: Paths) -> RunView:
    name, made = this.name, this.this
    figures = round_figures(name, files)
    folder = paths.model(name)
    model = None
    if any(folder.glob("*.safetensors")):
        model = LoggedModel(
            name.replace(".", "-"), folder.relative_to(paths.root).as_posix(), weights_digest(folder)
        )
    note = (
        f"Round {made.index}, {made.method}: {made.target} battles on {made.split}, "
        f"training starts from {made.init}, gaps of {made.threshold:g} or more are learnt."
    )
    return RunView(
        key=f"round {name}",
        title=name,
        parent=FLYWHEEL,
        params=round_params(name, params),
        tags={
            "arena.kind": "round",
            "arena.round": name,
            "arena.method": made.method,
            "mlflow.note.content": note,
        },
        # Without a step, MLflow draws a bar for each round side by side; the flywheel's run has the steps.
        points=tuple(MetricPoint(key, value) for key, value in figures.items()),
        tables=(*elo_table(files.board), *battle_table(this, paths)),
        files=(*_pictures(paths), *_attached([paths.card(name)], "")),
        data=tuple(datasets(this, paths)),
        model=model,
        seconds=_seconds(this),
        ended=_newest(_round_paths([name], paths)),
    )


def _training(this: RoundFiles, paths: Paths) -> RunView:
    """Return the run of a training curve, with metrics such as ``ppo/kl`` by figure and phase."""
    points = [
        MetricPoint(f"{slug(str(point.get('phase') or this.this.method))}/{_metric(key)}", value, int(step))
        for point in training_curve(this.train)
        if (step := number_at(point, "step")) is not None
        for key in point
        if key not in ("phase", "step") and (value := number_at(point, key)) is not None
    ]
    settings = {
        f"train.{key}": value for key, value in flat_params(mapping_at(this.train, "settings")).items()
    }
    versions = {
        f"version.{key}": value for key, value in flat_params(mapping_at(this.train, "versions")).items()
    }
    device = this.train.get("device")
    return RunView(
        key=f"training {this.name}",
        title=f"{this.name} training",
        parent=f"round {this.name}",
        params=as_params({**settings, **versions, **({"device": device} if device else {})}),
        tags={
            "arena.kind": "training",
            "arena.round": this.name,
            "arena.method": this.this.method,
            "mlflow.note.content": _warnings_note(this),
        },
        points=tuple(points),
        seconds=sum(number_at(v) or 0.0 for v in mapping_at(this.train, "cost", "seconds").values()),
        ended=_newest([paths.stage_metrics(this.name, "train")]),
    )


def round_params(name: str, params: Params) -> dict[str, str]:
    """Return the parameters that rounds are compared by; hyper-parameters have the same names for all methods."""
    method = getattr(params.train, params.rounds[name].method).model_dump(mode="json")
    reward = method.pop("reward", {})
    kept = ("epochs", "learning_rate", "batch_size", "max_length")
    chosen: dict[str, Any] = {
        **{f"round.{key}": value for key, value in params.rounds[name].model_dump(mode="json").items()},
        **{f"train.{key}": value for key, value in method.items()},
        **{f"train.reward.{key}": reward[key] for key in kept if key in reward},
        "train.precision": params.train.precision,
        "judge.name": params.judge.name,
        "judge.kind": params.judges[params.judge.name].kind,
        "judge.disagree": params.judge.disagree,
        "battle.mode": params.battle.mode,
        **_sampled(name, params),
        "dataset.pairs": params.dataset.pairs,
        "dataset.max_words": params.dataset.max_words,
        # Keys that came later are shown where they change something: runs of before stay as they are.
        **{f"dataset.{key}": value for key, value in params.dataset.changed_choice().items()},
        "weights.source": params.weights.source,
        "serving.engine": params.serving.engine,
        "serving.dtype": params.serving.dtype,
        "sampling.max_tokens": params.sampling.max_tokens,
        "seed": params.seed,
    }
    return as_params(chosen)


def _sampled(name: str, params: Params) -> dict[str, Any]:
    """Return how the samples of a round that learns from them are drawn and ranked."""
    if not params.samples_of(name):
        return {}
    kept = ("samples", "sample_temperature", "sample_top_p", "sample_games")
    return {f"battle.{key}": getattr(params.battle, key) for key in kept}


def _flywheel_params(params: Params) -> dict[str, str]:
    rounds = {
        f"rounds.{name}": f"{r.method} on {r.split}: {r.target} battles, from {r.init}, K={r.threshold:g}"
        for name, r in params.rounds.items()
    }
    return as_params(
        {
            "seed": params.seed,
            "weights.source": params.weights.source,
            "serving.engine": params.serving.engine,
            "serving.dtype": params.serving.dtype,
            "opponents": ", ".join(params.opponents),
            "judge.name": params.judge.name,
            "evaluate.judges": ", ".join(params.evaluate.judges),
            "evaluate.anchor": params.evaluate.anchor,
            "pool.test": params.pool.test,
            **dict(list(rounds.items())[:80]),
        }
    )


def as_params(values: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters in MLflow's form: texts, long ones cut, passwords in URLs removed."""
    return {key: cut(redacted(str(value)), LONGEST_PARAM - 40) for key, value in values.items()}


def flat_params(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings with dotted names."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found |= flat_params(item, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = item
    return found


def _metric(key: str) -> str:
    return "/".join(slug(part) for part in key.split("/"))


def _board_note(files: Files, said: str) -> str:
    """Return the first judge's leaderboard as Markdown, for the run's description."""
    rows = [
        f"| {r.get('model')} | {r.get('rating'):.0f} | {r.get('lower'):.0f} to {r.get('upper'):.0f} |"
        for r in records_at(files.board, "ratings")
        if None not in (number_at(r, "rating"), number_at(r, "lower"), number_at(r, "upper"))
    ]
    head = ["", "| contestant | Elo | 95 % |", "|---|---|---|"] if rows else []
    return "\n".join([said, *head, *rows])


def _warnings_note(this: RoundFiles) -> str:
    said = this.train.get("warnings")
    lines = [f"- {line}" for line in said] if isinstance(said, list) else []
    trainers = ", ".join(str(phase.get("name")) for phase in phases(this.train)) or this.this.method
    return "\n".join([f"Training curve of {this.name} ({trainers}).", *lines])


def _seconds(this: RoundFiles) -> float:
    answering = (number_at(c, "seconds") or 0.0 for c in mapping_at(this.battle, "contestants").values())
    training = (number_at(s) or 0.0 for s in mapping_at(this.train, "cost", "seconds").values())
    return sum(answering) + (number_at(this.judge, "seconds") or 0.0) + sum(training)


def _pictures(paths: Paths) -> list[AttachedFile]:
    if not paths.figures.is_dir():
        return []
    return _attached(sorted(p for p in paths.figures.iterdir() if p.suffix in _PICTURES), "figures")


def _attached(candidates: Iterable[Path], folder: str) -> list[AttachedFile]:
    return [AttachedFile(path, folder, md5(path)) for path in candidates if path.is_file()]


def _round_paths(names: Iterable[str], paths: Paths) -> list[Path]:
    return [
        path
        for name in names
        for path in (
            *(paths.stage_metrics(name, stage) for stage in ("battle", "judge", "train")),
            paths.card(name),
        )
    ]


def _newest(candidates: Iterable[Path]) -> float:
    """Return when the newest of the files was written, in seconds since 1970; 0 if there are none."""
    return max((path.stat().st_mtime for path in candidates if path.is_file()), default=0.0)
