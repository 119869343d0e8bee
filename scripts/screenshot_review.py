"""Take the picture of the review page: docs/images/review.png.

    python scripts/screenshot_review.py [--root FOLDER] [--out FILE] [--width N] [--height N] [--judged N] [--dark]

Needs a run's battles (`arena evaluate`), Playwright and Chromium, as screenshot_mlflow.py does. It works on a copy of
the files in a temporary folder, in which it gives a few verdicts, so no reviewer's file in the project changes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Error, sync_playwright
from screenshot_mlflow import find_browser, first_line

from arena_learning.core import ArenaError, Paths, find_project
from arena_learning.params import load_params
from arena_learning.review import ReviewSession, open_session, serve_review

SIZE = (1200, 820)
JUDGED = 12
SETTLED = "html[data-settled=yes]"


def main() -> None:
    """Read the command line, take the picture, say where it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", default=None, help="the project's folder")
    parser.add_argument("--out", type=Path, default=None, help="the PNG to write")
    parser.add_argument("--width", type=int, default=SIZE[0])
    parser.add_argument("--height", type=int, default=SIZE[1])
    parser.add_argument(
        "--judged", type=int, default=JUDGED, help="number of verdicts before the battle that is shown"
    )
    parser.add_argument("--dark", action="store_true", help="with dark colours")
    options = parser.parse_args()
    try:
        paths = find_project(options.root)
        out = options.out or paths.root / "docs" / "images" / "review.png"
        take_review(paths, out, (options.width, options.height), options.judged, dark=options.dark)
    except ArenaError as error:
        sys.exit(f"error: {error}")
    print(f"{out} ({out.stat().st_size / 1000:.0f} kB)")


def take_review(
    paths: Paths, out: Path, size: tuple[int, int] = SIZE, judged: int = JUDGED, *, dark: bool = False
) -> None:
    """Write the picture of the battle after the first ``judged`` ones.

    Raises:
        ArenaError: there are no battles yet, or the browser fails.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        serve_review(copied_session(paths, Path(folder), judged)) as address,
    ):
        try:
            with sync_playwright() as driver:
                chromium = driver.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
                page = chromium.new_page(
                    viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
                )
                page.goto(address)
                page.wait_for_selector(SETTLED)
                out.parent.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=out)
        except Error as error:
            raise ArenaError(f"the browser failed on the review page: {first_line(error)}") from None


def copied_session(paths: Paths, folder: Path, judged: int) -> ReviewSession:
    """Return a session in a copy of the files that it needs, after some verdicts."""
    there = Paths(folder)
    for source in (paths.split("test"), paths.arena_battles, paths.arena_games):
        if not source.is_file():
            raise ArenaError("no battles yet", where=str(source), hint="`dvc repro` makes them")
        copy_to(source, folder / source.relative_to(paths.root))
    for source in sorted(paths.arena_responses("any").parent.glob("*.jsonl")):
        copy_to(source, folder / source.relative_to(paths.root))
    session = open_session("ann", load_params(paths.params), there)
    for _ in range(judged):
        shown = session.next()
        if shown is not None:
            session.record(shown.battle.key, "model_a", "", "")
    return session


def copy_to(source: Path, target: Path) -> None:
    """Copy a file, whatever folders that takes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


if __name__ == "__main__":
    main()
