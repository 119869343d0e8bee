"""`arena plan`: what a run of the project needs, before it begins, and what it took."""

from __future__ import annotations

from typing import Any

import click

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json
from arena_learning.core import ArenaError, Paths, Table, table_markdown, table_text
from arena_learning.params import Params, check_round_name

_RATE = click.FloatRange(min=0, min_open=True)


@click.command("plan")
@click.argument("round_name", metavar="[ROUND]", required=False)
@click.option(
    "--work",
    is_flag=True,
    help="Answers, games, tokens, time, money, GPU hours and disk of each stage.  [default: all that is known]",
)
@click.option(
    "--memory", is_flag=True, help="Memory of each training on each GPU.  [default: all that is known]"
)
@click.option(
    "--against-run",
    is_flag=True,
    help="The plan that the last `arena repro` began with, beside what it took.",
)
@click.option("--anew", is_flag=True, help="Plan all stages as if nothing had been made yet.")
@click.option(
    "--answer-rate",
    type=_RATE,
    metavar="X",
    help="Tokens that a contestant generates a second.  [default: as measured here]",
)
@click.option(
    "--judge-rate",
    type=_RATE,
    metavar="X",
    help="Games that a judge scores a second.  [default: as measured here]",
)
@click.option(
    "--train-rate",
    type=_RATE,
    metavar="X",
    help="Rows that a training passes a second.  [default: as measured here]",
)
@click.option(
    "--gpus",
    multiple=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Memory: compare the strategies on N GPUs; may be repeated.  [default: what train.launch says]",
)
@click.option("--gpu-gib", default=79.0, show_default=True, help="Memory: that of one GPU in GiB.")
@click.option(
    "--model",
    default="",
    help="Memory: folder or hub id of the model.  [default: models/base, or its source]",
)
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@json_option
def command(
    round_name: str | None,
    work: bool,
    memory: bool,
    against_run: bool,
    anew: bool,
    answer_rate: float | None,
    judge_rate: float | None,
    train_rate: float | None,
    gpus: tuple[int, ...],
    gpu_gib: float,
    model: str,
    markdown: bool,
    as_json: bool,
) -> None:
    """Show what a run of params.yaml, or of ROUND alone, needs, or what the last run took.

    Answers and games that the store has cost nothing. Lengths are the means of what contestants and judges have
    answered here; without any, the longest that is allowed. Time is that of each stage's last run or of the profile
    that params.yaml equals, changed by what is to be made. Money is by `prices`. `?` is unknown and in no sum.
    """
    from arena_learning.project import Rates

    params, paths = open_project()
    if round_name is not None:
        check_round_name(round_name, params)
    # Each section is shown if its option is given; without any, what lies ahead.
    wanted = [name for name, given in (("work", work), ("memory", memory)) if given]
    if not wanted and not against_run:
        wanted = ["work"] if round_name else ["work", "memory"]
    found: dict[str, Any] = {}
    shown: list[Table | str] = []
    if "work" in wanted:
        rates = Rates(answer_rate, judge_rate, train_rate)
        found["work"] = _work(round_name, params, paths, rates, anew, shown)
    if "memory" in wanted:
        found["memory"] = _memory(params, paths, model, gpus, gpu_gib, shown, alone=memory)
    if against_run:
        found["against_run"] = _against(params, paths, shown)
    if as_json:
        print_json(found)
        return
    form = table_markdown if markdown else table_text
    click.echo("\n\n".join(form(one) if isinstance(one, Table) else one for one in shown))


def _work(
    round_name: str | None, params: Params, paths: Paths, rates: Any, anew: bool, shown: list[Table | str]
) -> dict[str, Any]:
    from arena_learning.project import forecast_dict, forecast_notes, forecast_run, forecast_table, plan_run
    from arena_learning.store import Account, Store

    plan = plan_run(["--force"] if anew else [], params, paths)
    stages = forecast_run(plan, params, paths, rates=rates, anew=anew)
    if round_name is not None:
        stages = [stage for stage in stages if stage.stage.partition("@")[2] == round_name]
    spent: dict[str, float] = {}
    if paths.store.is_file():
        with Store(paths.store, account=Account("plan", params)) as store:
            spent = store.spent()
    told = forecast_dict(stages, params, spent)
    shown.append(forecast_table(told))
    if notes := forecast_notes(told):
        shown.append("\n".join(notes))
    return told


def _memory(
    params: Params,
    paths: Paths,
    model: str,
    gpus: tuple[int, ...],
    gpu_gib: float,
    shown: list[Table | str],
    *,
    alone: bool,
) -> Any:
    """Return the memory of the trainings; beside other sections, a model that is not there yet is no error."""
    from arena_learning.train import memory_table, plan_memory

    try:
        rows = plan_memory(params, paths, model=model, gpus=gpus)
    except ArenaError as error:
        if alone:
            raise
        shown.append(f"memory of trainings: unknown ({error.what})")
        return None
    if rows:
        shown.append(memory_table(rows, gpu_gib))
    return [row.to_dict() for row in rows]


def _against(params: Params, paths: Paths, shown: list[Table | str]) -> dict[str, Any]:
    from arena_learning.project import against_run, against_table

    held = against_run(params, paths)
    shown.append(f"The run that began at {held['began']} (UTC)")
    shown.append(against_table(held))
    return held
