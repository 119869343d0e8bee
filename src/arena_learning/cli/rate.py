"""`arena rate` and `arena consistency`: rate any battle log, and compare two arenas."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("rate")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--anchor", metavar="NAME=ELO", help="A model and its fixed rating.  [default: the mean is 1000]"
)
@click.option("--scale", default=400.0, show_default=True, help="Rating points for tenfold odds of winning.")
@click.option(
    "--ties",
    type=click.Choice(["half", "drop", "davidson"]),
    default="half",
    show_default=True,
    help="Ties count as half a win for both, are left out, or are modelled.",
)
@click.option("--bootstrap", default=1000, show_default=True, help="Resamples; 0: sandwich interval.")
@click.option(
    "--cluster",
    type=click.Choice(["auto", "prompt", "battle"]),
    default="auto",
    show_default=True,
    help="Unit of resampling: prompts (if prompt_id is given) or battles.",
)
@click.option("--level", default=0.95, show_default=True, help="Confidence level of the intervals.")
@click.option("--seed", default=0, show_default=True, help="Seed of the resamples.")
@click.option("--style", is_flag=True, help="Also ratings with length and markdown controlled for.")
@click.option("--elo", is_flag=True, help="Also online Elo (K = 4), averaged over 20 shuffles.")
@click.option("--baseline", metavar="NAME", help="Also win rates against this model.")
@click.option("--bias", is_flag=True, help="Also position bias and length bias.")
@click.option(
    "--skip-bad", is_flag=True, help="Skip and count malformed rows.  [default: the first one is an error]"
)
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print the ratings as CSV.")
def rate(
    file: Path,
    anchor: str | None,
    scale: float,
    ties: str,
    bootstrap: int,
    cluster: str,
    level: float,
    seed: int,
    style: bool,
    elo: bool,
    baseline: str | None,
    bias: bool,
    skip_bad: bool,
    form: str | None,
) -> None:
    """Rate the models of FILE, a battle log in CSV, JSONL, JSON or Parquet.

    Columns: model_a, model_b, winner (model_a, model_b, tie, tie (bothbad), A, B, ...; or winner_model_a,
    winner_model_b and winner_tie of 0 and 1). Optional: count, weight, prompt_id, score_a/b, length_a/b, headers_a/b,
    lists_a/b and bold_a/b. Rows without a winner are skipped and counted.
    """
    from arena_learning.rating import Extras, passed_over_lines, rate_file, render_report

    params = {
        "scale": scale,
        "ties": ties,
        "bootstrap": bootstrap,
        "cluster": cluster,
        "level": level,
        "seed": seed,
    }
    extras = Extras(style=style, elo=elo, baseline=baseline, bias=bias)
    report = rate_file(file, anchor, params, extras, skip_bad=skip_bad)
    click.echo(render_report(report, form or "table"), nl=False)
    if form == "csv":  # the other forms contain the warnings
        for line in passed_over_lines(report):
            click.echo(line, err=True)


@click.command("consistency")
@click.argument("bench", type=click.Path(path_type=Path))
@click.argument("ref", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare_arenas(bench: Path, ref: Path, as_json: bool) -> None:
    """Compare the ratings in BENCH with those of the reference arena in REF.

    Both are CSV files with the columns model, rating, lower, upper (95 % intervals).
    """
    from arena_learning.rating import consistency, render_consistency

    click.echo(render_consistency(consistency(bench, ref), as_json), nl=False)
