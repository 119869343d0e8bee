"""`arena review`: people judge battles on a page of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import click
from click.core import ParameterSource

from arena_learning.cli.common import json_option, open_project
from arena_learning.cli.main import print_json
from arena_learning.schema import ReviewSampling

if TYPE_CHECKING:
    from arena_learning.core import Paths
    from arena_learning.params import Params
    from arena_learning.review import ReviewSession

# What says which battles a page shows, and to whom: the parameter, and how it is written.
_OF_THE_PAGE = {
    "place": "ROUND",
    "reviewer": "--reviewer",
    "sampling": "--sample",
    "count": "--count",
    "seed": "--seed",
    "port": "--port",
}


@click.command("review")
@click.argument("place", metavar="[ROUND|arena]", default="arena")
@click.option("--reviewer", metavar="NAME", help="Who judges; verdicts go to reviews/NAME.jsonl.")
@click.option(
    "--sample",
    "sampling",
    type=click.Choice(get_args(ReviewSampling)),
    default="random",
    show_default=True,
    help="Which battles: at random, of close contestants, or those on which judges disagree most.",
)
@click.option("--count", type=click.IntRange(min=1), default=40, show_default=True, help="Number of battles.")
@click.option("--seed", type=int, help="Seed of the draw.  [default: params.yaml's]")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port on this machine.  [default: any free one]"
)
@click.option("--summary", is_flag=True, help="Print how reviewers and judges agree; serve nothing.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    place: str,
    reviewer: str | None,
    sampling: ReviewSampling,
    count: int,
    seed: int | None,
    port: int,
    summary: bool,
    as_json: bool,
) -> None:
    """Serve a page on which a person judges battles blind, of the test set or of a round.

    Battles and sides are in random order. Keys: 1 and 2 (that answer is better), 3 (tie), 4 (both are bad), s (skip), n
    (note), u (back). What a reviewer has judged is not shown again. Contestants' names are in the file, so do not read
    it before you have finished.

    Samples `random` and `close` draw a pair's battles by chance, so calibrated ratings may use them. Verdicts of
    `disagreement` are for `arena audit-judge` alone.
    """
    from arena_learning.core import hold_stage_lock
    from arena_learning.review import (
        ReviewServer,
        check_reviewer,
        open_session,
        review_summary,
        summary_text,
    )

    if as_json and not summary:
        raise click.UsageError("--json goes with --summary")
    given = [
        name for name in _OF_THE_PAGE if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if summary and given:
        raise click.UsageError(f"--summary tells of all verdicts and takes no {_OF_THE_PAGE[given[0]]}")
    params, paths = open_project()
    if summary:
        found = review_summary(params, paths)
        if as_json:
            print_json(found)
        else:
            click.echo(summary_text(found))
        return
    reviewer = reviewer or ""
    check_reviewer(reviewer)
    with hold_stage_lock(f"review {reviewer}", paths):
        session = open_session(
            reviewer, params, paths, place=place, sampling=sampling, count=count, seed=seed
        )
        server = ReviewServer(session, port)
        click.echo(f"{session.total} battles ({sampling}), {len(session.done)} judged by {reviewer}")
        click.echo(f"open {server.address}\nCtrl-C ends it; each verdict is saved at once")
        server.run()
    click.echo(_end_text(session, params, paths))


def _end_text(session: ReviewSession, params: Params, paths: Paths) -> str:
    """Return how many are judged, where they are, and what reads them."""
    file = session.path.relative_to(paths.root)
    lines = [f"\n{len(session.done)} of {session.total} are judged: {file}", "next: arena review --summary"]
    if not params.evaluate.human_verdicts:
        lines.append(
            f"      evaluate.human_verdicts: {paths.reviews.name} in params.yaml, for calibrated ratings"
        )
    return "\n".join(lines)
