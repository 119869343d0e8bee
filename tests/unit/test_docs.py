"""README and docs/: short lines, links that lead somewhere, commands that exist, and a page for each entry of the site."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from arena_learning.cli.main import cli

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
GUIDE = [README, DOCS / "index.md", *sorted((DOCS / "guide").glob("*.md"))]
FENCE = re.compile(r"^ *(```+|~~~+)(\w*)[^\n]*\n(.*?)^ *\1 *$", flags=re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}[^\n]*\n)+")
LINK = re.compile(r"(?<!`)\]\(([^)\s]+)\)|\b(?:src|href)=\"([^\"]+)\"")
SHELLS = ("console", "bash", "sh", "shell")
LONGEST = 120
WORDS = 900


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """The page with its code blocks emptied, so that lines keep their numbers."""
    text = page.read_text(encoding="utf-8")
    for block in (FENCE, INDENTED):
        text = block.sub(lambda found: "\n" * found[0].count("\n"), text)
    return text


def anchors(page: Path) -> set[str]:
    """What a heading is called in a link: Python-Markdown's rule, which is GitHub's for these headings."""
    heads = re.findall(r"^#+ +(.*)$", prose(page), flags=re.MULTILINE)
    kept = (re.sub(r"[^\w\s-]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", head)) for head in heads)
    return {re.sub(r"[-\s]+", "-", head.strip().lower()) for head in kept}


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each `arena ...` in the page's shell blocks."""
    for _, language, body in FENCE.findall(page.read_text(encoding="utf-8")):
        if language not in SHELLS:
            continue
        for line in body.replace("\\\n", " ").splitlines():
            if language == "console" and not line.startswith("$ "):
                continue  # what the command prints
            words = shlex.split(line.removeprefix("$ "), comments=True)
            cuts = [at for at, word in enumerate(words) if word in ("&&", "|", ">", ";")]
            starts = zip([0, *(at + 1 for at in cuts)], [*cuts, len(words)], strict=True)
            yield from (words[a:b] for a, b in starts if words[a : a + 1] == ["arena"])


def check_command(words: list[str], *, whole: bool) -> None:
    """Raise a usage error where there is no such command or option, or (``whole``) an argument is missing."""
    command: click.Command | None = cli
    rest = words[1:]
    while True:
        context = click.Context(command, info_name=words[0])
        given, rest, _ = command.make_parser(context).parse_args(rest)
        if not isinstance(command, click.Group):
            break
        if not rest:
            return  # the group by its name
        command = command.get_command(context, rest[0])
        if command is None:
            raise click.UsageError(f"no command '{rest[0]}'")
        rest = rest[1:]
    if rest:
        raise click.UsageError(f"more than it takes: {rest}")
    for parameter in command.params:
        value = given.get(parameter.name)
        # What is not given is a mark of click's own.
        there = isinstance(value, str | bool | tuple | list) and bool(value)
        if whole and parameter.required and not there:
            raise click.UsageError(f"without {parameter.name}")
        if there and isinstance(parameter.type, click.Choice):
            parameter.type_cast_value(context, value)


def test_the_readme_is_short():
    count = len(README.read_text(encoding="utf-8").split())
    assert count < WORDS, (
        f"README.md has {count} words: move what is not for the first minute into docs/guide"
    )


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_prose_has_short_lines(page):
    """Tables and lines with an address are as long as they must be."""
    long = [
        f"{name(page)}:{number} ({len(line)})"
        for number, line in enumerate(prose(page).splitlines(), 1)
        if len(line) > LONGEST and not line.lstrip().startswith("|") and "://" not in line
    ]
    assert not long, f"longer than {LONGEST}: {', '.join(long)}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    wrong = []
    for target in filter(None, (one or other for one, other in LINK.findall(prose(page)))):
        if re.match(r"[a-z]+:", target):
            continue  # an address, which no test asks for
        file, _, anchor = target.partition("#")
        there = (page.parent / file) if file else page
        if not there.exists():
            wrong.append(f"{target}: no such file")
        elif DOCS in page.parents and DOCS not in there.resolve().parents:
            wrong.append(f"{target}: not on the site, which holds docs/ alone")
        elif anchor and anchor not in anchors(there):
            wrong.append(f"{target}: no such heading")
    assert not wrong, f"{name(page)}: {', '.join(wrong)}"


@pytest.mark.parametrize("page", GUIDE, ids=name)
def test_commands_exist(page):
    inline = [shlex.split(one) for one in re.findall(r"`(arena [^`]+)`", prose(page))]
    wrong = []
    for words, whole in [*((one, True) for one in commands(page)), *((one, False) for one in inline)]:
        try:
            check_command(words, whole=whole)
        except click.UsageError as error:
            wrong.append(f"{shlex.join(words)}: {error.format_message()}")
    assert not wrong, f"{name(page)}: {'; '.join(wrong)}"


def test_the_check_of_commands_refuses_what_is_wrong():
    check_command(["arena", "show", "battle", "sft-i1", "writing-051", "base", "expert"], whole=True)
    for line, whole in (
        ("arena fight", False),
        ("arena show nothing", False),
        ("arena train --faster sft-i1", False),
        ("arena import csv file --out there", False),
        ("arena train sft-i1 more", False),
        ("arena train", True),
    ):
        with pytest.raises(click.UsageError):
            check_command(shlex.split(line), whole=whole)


def listed(entry: object) -> Iterator[str]:
    """The pages that a part of the navigation names."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        for below in entry.values():
            yield from listed(below)
    elif isinstance(entry, list):
        for below in entry:
            yield from listed(below)


def test_every_page_is_in_the_navigation_once():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(listed(site["nav"])) == sorted(str(page.relative_to(DOCS)) for page in PAGES[1:])


def test_no_page_makes_the_site_ask_the_network():
    """Material fetches Mermaid from elsewhere as soon as a page has such a block; fonts where none is refused."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert site["theme"]["font"] is False
    assert not [name(page) for page in PAGES[1:] if "```mermaid" in page.read_text(encoding="utf-8")]
    assert not re.findall(r"(?:src|@import)[=( ]+[\"']?https?:", "".join(map(prose, PAGES[1:])))


def test_chart_and_table_show_the_stages_of_the_pipeline():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    shown = {stage.partition("-")[0] for stage in stages} - {"inputs"}
    chart = (DOCS / "images" / "flowchart.svg").read_text(encoding="utf-8")
    table = (DOCS / "guide" / "start.md").read_text(encoding="utf-8")
    assert not [stage for stage in shown if f">{stage}<" not in chart]
    assert not [stage for stage in shown if f"| {stage} | `arena {stage}" not in table]
