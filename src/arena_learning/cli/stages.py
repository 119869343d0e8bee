"""The stages of the pipeline, one command each: dvc.yaml runs them, or a user by hand."""

from __future__ import annotations

import click

from arena_learning.cli.common import (
    fresh_option,
    json_option,
    metric_lines,
    open_project,
    retry_option,
    run_stage,
)
from arena_learning.cli.main import print_json
from arena_learning.core import hold_stage_lock, read_json, timed_stage


@click.command("inputs")
@json_option
def inputs(as_json: bool) -> None:
    """Write digests of the files that params.yaml names, so that `dvc repro` sees edits."""
    from arena_learning.project import write_inputs

    run_stage("inputs", None, write_inputs, as_json=as_json)


@click.command("prepare")
@json_option
def prepare(as_json: bool) -> None:
    """Filter, deduplicate, decontaminate and split the instruction pool."""
    from arena_learning.pool import prepare_pool

    run_stage("prepare", None, prepare_pool, as_json=as_json)


@click.command("embed")
@json_option
def embed(as_json: bool) -> None:
    """Compute the pool's sentence embeddings ahead of `arena prepare`, which then only looks them up.

    They are kept by text in .arena/embeddings for all later runs. After a kill, the next call computes only the rest.
    """
    from arena_learning.pool import embed_pool

    run_stage("embed", None, embed_pool, as_json=as_json)


@click.command("difficulty")
@fresh_option
@retry_option
@json_option
def difficulty(fresh: bool, retry: bool, as_json: bool) -> None:
    """Let `pool.difficulty_judge` rate the candidates of a hard test set, 0 to 10; write `pool.difficulties`.

    Replies are stored: after a kill, the next call asks only for the rest.
    """
    from arena_learning.judge import rate_difficulties

    run_stage(
        "difficulty",
        None,
        lambda params, paths: rate_difficulties(params, paths, fresh=fresh, retry=retry),
        as_json=as_json,
    )


@click.command("weights")
@json_option
def weights(as_json: bool) -> None:
    """Write the base model's folder (fp32 safetensors, tokenizer) from weights.source."""
    from arena_learning.engines import make_weights

    run_stage("weights", None, make_weights, as_json=as_json)


@click.command("battle")
@click.argument("round_name", metavar="ROUND")
@fresh_option
@retry_option
@json_option
def battle(round_name: str, fresh: bool, retry: bool, as_json: bool) -> None:
    """Let the target and its opponents answer ROUND's split."""
    from arena_learning.arena import battle_round

    run_stage(
        "battle",
        round_name,
        lambda params, paths: battle_round(round_name, params, paths, fresh=fresh, retry=retry),
        as_json=as_json,
    )


@click.command("judge")
@click.argument("round_name", metavar="ROUND")
@fresh_option
@retry_option
@click.option(
    "--ahead",
    is_flag=True,
    help="Beside a running `arena battle ROUND`: judge what is answered; write no file.",
)
@json_option
def judge(round_name: str, fresh: bool, retry: bool, ahead: bool, as_json: bool) -> None:
    """Judge ROUND's battles, each in both orders where the judge's verdict may depend on them."""
    from arena_learning.judge import judge_ahead, judge_round

    if ahead:
        run_stage(
            "judge ahead",
            round_name,
            lambda params, paths: judge_ahead(round_name, params, paths),
            as_json=as_json,
        )
        return
    run_stage(
        "judge",
        round_name,
        lambda params, paths: judge_round(round_name, params, paths, fresh=fresh, retry=retry),
        as_json=as_json,
    )


@click.command("dataset")
@click.argument("round_name", metavar="ROUND")
@json_option
def dataset(round_name: str, as_json: bool) -> None:
    """Turn ROUND's battles into training rows with provenance."""
    from arena_learning.dataset import make_dataset

    run_stage(
        "dataset", round_name, lambda params, paths: make_dataset(round_name, params, paths), as_json=as_json
    )


@click.command("train")
@click.argument("round_name", metavar="ROUND")
@json_option
def train(round_name: str, as_json: bool) -> None:
    """Train ROUND's model by its method."""
    from arena_learning.train import train_named

    run_stage(
        "train", round_name, lambda params, paths: train_named(round_name, params, paths), as_json=as_json
    )


@click.command("answer")
@click.argument("contestant")
@fresh_option
@retry_option
@json_option
def answer(contestant: str, fresh: bool, retry: bool, as_json: bool) -> None:
    """Let CONTESTANT (base, an opponent or a round) answer the test set."""
    from arena_learning.arena import answer_test

    run_stage(
        f"answer {contestant}",
        None,
        lambda params, paths: answer_test(contestant, params, paths, fresh=fresh, retry=retry),
        as_json=as_json,
    )


@click.command("evaluate")
@click.option(
    "--split",
    default="test",
    show_default=True,
    help="`test` is the pipeline's stage; another split is answered and judged without writing a stage's output.",
)
@click.option("--contestants", default="", help="Only these, separated by commas (not for the test set).")
@fresh_option
@retry_option
@json_option
def evaluate(split: str, contestants: str, fresh: bool, retry: bool, as_json: bool) -> None:
    """Judge all pairs of contestants on held-out instructions under every judge of `evaluate.judges`."""
    from arena_learning.leaderboard import evaluate_test

    if split == "test":
        if contestants:
            raise click.UsageError(
                "--contestants needs another --split: on the test set all contestants play"
            )
        run_stage(
            "evaluate",
            None,
            lambda params, paths: evaluate_test(params, paths, fresh=fresh, retry=retry),
            as_json=as_json,
        )
        return
    if retry:
        raise click.UsageError("--retry-unscored needs the test set; --fresh requests everything again")
    from arena_learning.leaderboard import compare_split

    params, paths = open_project()
    names = [name.strip() for name in contestants.split(",") if name.strip()] or None
    table = compare_split(split, names, params, paths, fresh=fresh)
    if as_json:
        print_json(table)
        return
    for line in metric_lines(table):
        click.echo(line)


@click.command("leaderboard")
@click.option("--print", "only_print", is_flag=True, help="Print the existing leaderboard; write nothing.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@json_option
def leaderboard(only_print: bool, markdown: bool, as_json: bool) -> None:
    """Rate the contestants on the test set; write reports/ and print the leaderboard."""
    from arena_learning.leaderboard import make_leaderboard
    from arena_learning.report import leaderboard_markdown, leaderboard_text, monitors_markdown, monitors_text

    params, paths = open_project()
    if only_print:
        table = read_json(paths.leaderboard)
    else:
        from arena_learning.report import make_figures, make_report

        with timed_stage(paths), hold_stage_lock("leaderboard", paths):
            table = make_leaderboard(params, paths)
            make_figures(params, paths)
            make_report(params, paths)
    if as_json:
        print_json(table)
    else:
        forms = (leaderboard_markdown, monitors_markdown) if markdown else (leaderboard_text, monitors_text)
        click.echo("\n\n".join(filter(None, (form(table) for form in forms))))
