"""The `train` stage: a round's rows become its model, by params.yaml."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from arena_learning.core import ArenaError, Paths, Progress, suggest, write_json
from arena_learning.params import Params
from arena_learning.schema import Instruction, PreferenceRow, SftRow, read_rows
from arena_learning.train.diagnostics import no_rows
from arena_learning.train.report import Method, TrainReport
from arena_learning.train.rewards import reward_inputs
from arena_learning.train.save import copy_model

if TYPE_CHECKING:
    from arena_learning.params import Train
    from arena_learning.train.group_judge import RewardInputs


def train_named(name: str, params: Params, paths: Paths) -> dict[str, Any]:
    """Train round ``name``, write its model and its metrics, and return the metrics."""
    this = params.rounds[name]
    with reward_inputs(name, params, paths) if this.online else nullcontext() as rewards:
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
) -> TrainReport:
    """Train the model at ``init`` on a round's rows and write the new one to ``out``, whole or not at all.

    Killed while training, it goes on from its last complete checkpoint when it is called again with the same
    inputs, and ends as if nothing had happened.

    Args:
        method: ``sft`` reads ``sft``; ``dpo`` and ``ppo`` read ``preferences``; ``rloo`` and ``grpo`` read ``rewards``.
        init: a model's folder (safetensors).
        out: the folder to write; replaced if it is there.
        sft: the round's `SftRow` file.
        preferences: the round's `PreferenceRow` file.
        params: how to train.
        seed: of everything random.
        checkpoints: a folder of this round's own, outside of ``out``; removed at the end.
        trust_remote_code: run code that comes with the model.
        progress: what makes the progress line: called with label, total and unit.
        rewards: ``rloo`` and ``grpo``: the instructions, and the judges whose word is the reward and is watched.

    Returns:
        The report. With no rows to learn from, ``out`` is a copy of ``init``, `rows` is 0, a warning says so.

    Raises:
        ArenaError: ``init`` is no model, its chat template never ends a turn, the rows are malformed, or the
            device is not there.
    """
    if method not in get_args(Method):
        raise ArenaError(f"unknown method '{method}'", hint=suggest(method, get_args(Method)))
    if not (init / "config.json").is_file():
        raise ArenaError("no model here", where=str(init), hint="run the stage that makes it")
    source = sft if method == "sft" else preferences
    rows: Sequence[SftRow] | Sequence[PreferenceRow] | Sequence[Instruction]
    if method in ("rloo", "grpo"):
        if rewards is None:
            raise ArenaError(
                f"{method} learns from what a judge says of new answers, and no judge is given",
                where="train",
                hint="train the round by `arena train ROUND`",
            )
        rows = rewards.instructions
    else:
        rows = read_rows(sft, SftRow) if method == "sft" else read_rows(preferences, PreferenceRow)
    if not rows:
        copy_model(init, out)
        shutil.rmtree(checkpoints, ignore_errors=True)
        return TrainReport(method=method, rows=0, warnings=(no_rows(str(source)),))

    from arena_learning.train.session import Session  # torch and TRL, only now

    session = Session(
        method=method,
        init=init,
        out=out,
        params=params,
        seed=seed,
        checkpoints=checkpoints,
        trust_remote_code=trust_remote_code,
        progress=progress,
        rewards=rewards,
    )
    report = session.run(rows)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return report
