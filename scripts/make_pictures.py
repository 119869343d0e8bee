"""Make the pictures of docs/images from the run that stands in the checkout.

    python scripts/make_pictures.py                       # all; `make pictures` does this
    python scripts/make_pictures.py flowchart report      # only these
    python scripts/make_pictures.py --root RUN --out FOLDER

| picture | made from | file |
| --- | --- | --- |
| elo | reports/figures | elo.png |
| report | reports/index.html, in Chromium | report.png |
| rounds | MLflow's store, in Chromium (screenshot_mlflow.py) | mlflow-rounds.png |
| registry | MLflow's store after `arena promote`, in Chromium | mlflow-registry.png |
| sweeps | MLflow's store and reports/sweeps | mlflow-sweep*.png, sweep-*-history.png, sweep-*-importance.png |
| review | the test set's battles, on the review page in Chromium (screenshot_review.py) | review.png |
| flowchart | this file | flowchart.svg |

A picture whose source is not there is left as it is, with a line that says what would make it; without arguments this
is no error. The command runs no stage. elo-laptop-3.png and rating-growth.png come from other runs: docs/lab/ says how.
"""

from __future__ import annotations

import argparse
import html
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Error, sync_playwright
from screenshot_mlflow import find_browser, first_line
from screenshot_review import take_review

from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths

HERE = Path(__file__).parent
# The sweeps that docs/lab/sweeps.md shows: the beginning of a study's name, and what its pictures are called.
SWEEPS = {
    "judge-rubric": ("sweep-judge", "mlflow-sweep"),
    "selection-dpo-i1": ("sweep-selection", "mlflow-sweep-selection"),
}
REPORT_SIZE = {"width": 1100, "height": 900}


def main() -> None:
    """Read the command line and make each picture that was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "pictures", nargs="*", metavar="PICTURE", help=f"{', '.join(PICTURES)}; all by default"
    )
    parser.add_argument(
        "--root", type=Path, default=Path.cwd(), help="the project's folder, with reports/ and mlruns/"
    )
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "images", help="where they go")
    options = parser.parse_args()
    unknown = [name for name in options.pictures if name not in PICTURES]
    if unknown:
        parser.error(f"no picture '{unknown[0]}'; there are {', '.join(PICTURES)}")
    options.out.mkdir(parents=True, exist_ok=True)
    missed = 0
    for name in options.pictures or PICTURES:
        try:
            for path in PICTURES[name](options.root.resolve(), options.out):
                print(f"{name}: {path} ({path.stat().st_size / 1000:.0f} kB)")
        except ArenaError as error:
            missed += 1
            print(f"{name}: left as it is: {error}", file=sys.stderr)
    if options.pictures and missed:
        sys.exit(2)


def elo(root: Path, out: Path) -> list[Path]:
    """Copy the figure of the ratings.

    Raises:
        ArenaError: there is no figure yet.
    """
    return [copied(root / "reports" / "figures" / "elo.png", out / "elo.png")]


def copied(source: Path, target: Path) -> Path:
    """Copy a file and return where it is now.

    Raises:
        ArenaError: it is not there.
    """
    if not source.is_file():
        raise ArenaError(f"{source} is not there; `dvc repro` makes it")
    shutil.copyfile(source, target)
    return target


def report(root: Path, out: Path) -> list[Path]:
    """Take a picture of the top of the report's page.

    Raises:
        ArenaError: there is no report yet, or the browser fails.
    """
    page_file = root / "reports" / "index.html"
    if not page_file.is_file():
        raise ArenaError(f"{page_file} is not there; `dvc repro` makes it")
    target = out / "report.png"
    try:
        with sync_playwright() as driver:
            page = driver.chromium.launch(executable_path=find_browser()).new_page(viewport=REPORT_SIZE)
            page.goto(page_file.as_uri())
            page.screenshot(path=target)
    except Error as error:
        raise ArenaError(f"the browser failed on {page_file}: {first_line(error)}") from None
    return [target]


def rounds(root: Path, out: Path) -> list[Path]:
    """Take the picture of MLflow that compares the rounds.

    Raises:
        ArenaError: MLflow's store holds no round, or the browser fails.
    """
    return [from_mlflow(root, out / "mlflow-rounds.png")]


def registry(root: Path, out: Path) -> list[Path]:
    """Take the picture of the registered model in MLflow.

    Raises:
        ArenaError: no model was promoted, or the browser fails.
    """
    return [from_mlflow(root, out / "mlflow-registry.png", "--registry", "--height", "1330")]


def sweeps(root: Path, out: Path) -> list[Path]:
    """Make the pictures of each sweep in `SWEEPS`: two figures of its report, one page of MLflow.

    Raises:
        ArenaError: a sweep has not run here.
    """
    made: list[Path] = []
    for study, (figures, page) in SWEEPS.items():
        folders = sorted(path for path in (root / "reports" / "sweeps").glob(f"{study}*") if path.is_dir())
        if not folders:
            raise ArenaError(f"reports/sweeps has no sweep '{study}'; docs/lab/sweeps.md has its command")
        kinds = ("history", "importance")
        made += [copied(folders[-1] / f"{kind}.png", out / f"{figures}-{kind}.png") for kind in kinds]
        made.append(from_mlflow(root, out / f"{page}.png", "--study", study))
    return made


def review(root: Path, out: Path) -> list[Path]:
    """Take a picture of the page on which people judge battles.

    Raises:
        ArenaError: there are no battles yet, or the browser fails.
    """
    take_review(Paths(root), out / "review.png")
    return [out / "review.png"]


def from_mlflow(root: Path, target: Path, *options: str) -> Path:
    """Run screenshot_mlflow.py, which serves MLflow for as long as it takes, and return the picture's place.

    Raises:
        ArenaError: it failed, with what it says.
    """
    command = [sys.executable, str(HERE / "screenshot_mlflow.py"), "--root", str(root), "--out", str(target)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ArenaError(f"screenshot_mlflow.py: {done.stderr.strip() or 'it said nothing'}")
    return target


# The flowchart: boxes (left, top, two lines of text); arrows (points, label, its middle). All in pixels.
POOL = "your pool"  # a file, and no stage
WIDTH, HEIGHT, BOX_WIDTH, BOX_HEIGHT = 760, 575, 140, 58
BOXES = (
    (30, 20, "prepare", "filter, split"),
    (217, 20, POOL, "instructions"),
    (590, 20, "weights", "the base model"),
    (30, 190, "battle", "answers"),
    (217, 190, "judge", "both orders"),
    (403, 190, "dataset", "lost battles"),
    (590, 190, "train", "SFT, DPO, PPO"),
    (30, 405, "answer", "the test set"),
    (217, 405, "evaluate", "all play all"),
    (403, 405, "leaderboard", "ratings, report"),
    (590, 405, "track", "MLflow"),
    (403, 495, "gate", "beside the champion"),
)
ARROWS = (
    ("217,49 174,49", "", 0, 0),
    ("80,78 80,186", "a split a round", 142, 108),
    ("660,78 660,140 140,140 140,186", "the base is the first target", 450, 132),
    ("170,219 213,219", "", 0, 0),
    ("357,219 399,219", "", 0, 0),
    ("543,219 586,219", "", 0, 0),
    ("630,248 630,300 100,300 100,252", "the new model is the next round's target", 370, 292),
    ("690,248 690,355 120,355 120,401", "every model", 370, 347),
    ("30,49 12,49 12,434 26,434", "test set", 46, 390),
    ("170,434 213,434", "", 0, 0),
    ("357,434 399,434", "", 0, 0),
    ("543,434 586,434", "", 0, 0),
    ("473,463 473,491", "", 0, 0),
)
INK, LINE, FILL = "#1b1f2a", "#0072b2", "#eef5fb"


def flowchart(root: Path, out: Path) -> list[Path]:
    """Draw the pipeline's flowchart as SVG, on white, so that it reads on a dark page too."""
    del root  # the chart is of the stages, not of a run
    target = out / "flowchart.svg"
    target.write_text(flowchart_svg(), encoding="utf-8")
    return [target]


def flowchart_svg() -> str:
    """Return the flowchart's SVG: equal text each time."""
    arrows = [
        f'<polyline points="{points}" fill="none" stroke="{LINE}" stroke-width="2" marker-end="url(#tip)"/>'
        for points, *_ in ARROWS
    ]
    labels = [centred(x, y, label, 13, "normal") for _, label, x, y in ARROWS if label]
    boxes = []
    for left, top, name, what in BOXES:
        look = 'fill="#ffffff" stroke-dasharray="5 4"' if name == POOL else f'fill="{FILL}"'
        boxes.append(
            f'<rect x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8" {look}'
            f' stroke="{LINE}" stroke-width="1.5"/>'
        )
        middle = left + BOX_WIDTH // 2
        boxes += [centred(middle, top + 25, name, 16, "bold"), centred(middle, top + 45, what, 13, "normal")]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
            "<title>The stages of the pipeline</title>",
            '<defs><marker id="tip" markerWidth="7" markerHeight="7" refX="4" refY="3.5" orient="auto">'
            f'<path d="M0,0 L7,3.5 L0,7 Z" fill="{LINE}"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="#ffffff"/>',
            *arrows,
            *labels,
            *boxes,
            "</svg>\n",
        ]
    )


def centred(x: int, y: int, text: str, size: int, weight: str) -> str:
    """Return a line of text whose middle stands at ``x``."""
    start = (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{INK}" text-anchor="middle">'
    )
    return f"{start}{html.escape(text)}</text>"


PICTURES: dict[str, Callable[[Path, Path], list[Path]]] = {
    "flowchart": flowchart,
    "elo": elo,
    "report": report,
    "rounds": rounds,
    "registry": registry,
    "sweeps": sweeps,
    "review": review,
}


if __name__ == "__main__":
    main()
