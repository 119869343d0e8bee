"""The `train` stage: train a round's model from its rows, by params.yaml."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from arena_learning.core import ArenaError, Paths, Progress, how_to_make, suggest, write_json
from arena_learning.params import Params
from arena_learning.schema import Instruction, PreferenceRow, SftRow, read_rows
from arena_learning.train.diagnostics import no_rows
from arena_learning.train.launch import Launched, TrainingSpec, train_launched
from arena_learning.train.online import open_rewards
from arena_learning.train.report import Method, TrainReport
from arena_learning.train.save import copy_model
from arena_learning.train.worker import train_here

if TYPE_CHECKING:
    from arena_learning.params import Train
    from arena_learning.train.online import RewardInputs


def train_named(name: str, params: Params, paths: Paths) -> dict[str, Any]:
    """Train round ``name``, write its model and its metrics, and return the metrics."""
    this = params.rounds[name]
    here = params.train.launch_of(this.method).kind == "inprocess"
    # Other processes open the judges themselves.
    with open_rewards(name, params, paths) if this.online and here else nullcontext() as rewards:
        report = train_round(
            this.method,
            init=paths.model(this.init),
            out=paths.model(name),
            sft=paths.sft(name),
            preferences=paths.preferences(name),
            params=params.train,
            seed=params.seed,
            checkpoints=paths.checkpoints(name),
            trust_remote_code=params.weights.trust_remote_code,
            rewards=rewards,
            launched=Launched(name, params, paths.root),
        )
    metrics = report.to_dict()
    write_json(paths.stage_metrics(name, "train"), metrics)
    return metrics


def train_round(
    method: Method,
    *,
    init: Path,
    out: Path,
    sft: Path,
    preferences: Path,
    params: Train,
    seed: int,
    checkpoints: Path,
    trust_remote_code: bool = False,
    progress: Callable[..., Progress] = Progress,
    rewards: RewardInputs | None = None,
    launched: Launched | None = None,
) -> TrainReport:
    """Train the model at ``init`` on a round's rows and write the new one to ``out``, whole or not at all.

    A killed training resumes from its last complete checkpoint when it is called again with the same inputs, and gives
    the same result.

    Args:
        method: ``sft`` and ``rft`` read the file ``sft``; ``dpo`` and ``ppo`` read ``preferences``; ``rloo`` and
            ``grpo`` read ``rewards``.
        init: a model's folder (safetensors).
        out: the folder to write; replaced if it exists.
        sft: the round's file of `SftRow`.
        preferences: the round's file of `PreferenceRow`.
        params: how to train.
        seed: seed of everything random.
        checkpoints: a folder for this round only, outside of ``out``; removed at the end.
        trust_remote_code: run code that comes with the model.
        progress: makes a progress line; called with label, total and unit.
        rewards: ``rloo`` and ``grpo``: the instructions, the judge whose verdicts are the reward, and the monitor.
        launched: the round and its project, for trainings in other processes (``launch``): they read the files and open
            the judges themselves.

    Returns:
        The report. Without training rows, ``out`` is a copy of ``init``, `rows` is 0, and a warning says so.

    Raises:
        ArenaError: ``init`` is no model, its chat template never ends a turn, the rows are malformed, or the device
            does not exist.

    Example:
        rows = {"sft": Path("sft.jsonl"), "preferences": Path("preferences.jsonl")}
        folders = {"init": Path("models/sft-i1"), "out": Path("models/dpo-i1"), "checkpoints": Path("checkpoints")}
        train_round("dpo", **rows, **folders, params=load_params(Path("params.yaml")).train, seed=0).weight_change
    """
    if method not in get_args(Method):
        raise ArenaError(f"unknown method '{method}'", hint=suggest(method, get_args(Method)))
    if not (init / "config.json").is_file():
        raise ArenaError("there is no model in this folder", where=str(init), hint=how_to_make(init))
    launch = params.launch_of(method)
    if problems := params.launch_problems(method):
        raise ArenaError("\n  ".join(problems), where="params.yaml")
    rows, source = _rows(method, sft, preferences, rewards, launched)
    if not rows:
        copy_model(init, out)
        shutil.rmtree(checkpoints, ignore_errors=True)
        return TrainReport(method=method, rows=0, warnings=(no_rows(str(source)),))

    spec = TrainingSpec(
        method=method,
        init=str(init.absolute()),
        out=str(out.absolute()),
        sft=str(sft.absolute()),
        preferences=str(preferences.absolute()),
        train=params,
        seed=seed,
        checkpoints=str(checkpoints.absolute()),
        trust_remote_code=trust_remote_code,
    )
    if rewards is not None and launched is None and launch.kind != "inprocess":
        raise ArenaError(
            f"{launch.kind} trains in other processes, which cannot be given open judges",
            where=f"train.{method}.launch",
            hint="pass `launched`, or set kind to inprocess",
        )
    if launch.kind == "inprocess":
        report = train_here(spec, rows, progress=progress, rewards=rewards)
    else:
        report = train_launched(spec, launch, launched)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return report


def _rows(
    method: Method,
    sft: Path,
    preferences: Path,
    rewards: RewardInputs | None,
    launched: Launched | None,
) -> tuple[Sequence[SftRow] | Sequence[PreferenceRow] | Sequence[Instruction], Path]:
    """Return what is trained on, and the file that it comes from."""
    if method in ("sft", "rft"):
        return read_rows(sft, SftRow), sft
    if method in ("dpo", "ppo"):
        return read_rows(preferences, PreferenceRow), preferences
    if rewards is not None:
        return rewards.instructions, preferences
    if launched is not None:
        return read_rows(launched.split, Instruction), launched.split
    raise ArenaError(
        f"{method} needs a judge that rewards its answers, and none is given",
        where="train",
        hint="train the round by `arena train ROUND`",
    )
