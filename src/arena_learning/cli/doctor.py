"""`arena doctor`: checks before anything long runs."""

from __future__ import annotations

import sys

import click

from arena_learning.cli.common import json_option
from arena_learning.cli.main import print_json
from arena_learning.core.paths import project


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Check this machine, the packages and params.yaml; exit code 2 if something would fail."""
    from arena_learning.project.doctor import examine

    findings = examine(project())
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            mend = f"  ({finding.mend})" if finding.mend and finding.level != "ok" else ""
            click.echo(f"{finding.level:>4}  {finding.what}{mend}")
    if any(finding.level == "fail" for finding in findings):
        sys.exit(2)
