"""Take the picture of MLflow that compares the rounds: docs/images/mlflow-rounds.png.

    python scripts/screenshot_mlflow.py [--root FOLDER] [--study NAME] [--out FILE] [--charts REGEX] [--width N] ...

With --study, of the trials of a sweep (the beginning of its name is enough): docs/images/mlflow-sweep.png. With
--registry, of the registered model (`arena promote`), with its versions and aliases: docs/images/mlflow-registry.png.

Needs a store (`arena track`), Playwright (`pip install -e '.[dev]'`) and Chromium (Debian: `apt-get install chromium`;
Playwright's own download is not used). It serves the store on a free port of this machine, opens the experiment's
charts for the rounds of the newest flywheel in a headless browser, waits until every round's name and the charts are on
the page, and saves what the browser shows.
Nothing on the page is changed but what a user can: the filter of the runs, the search of the charts, the
assistant's panel.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Error, Page, TimeoutError, sync_playwright

from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths, find_project
from arena_learning.tracking.mlflow_store import opened
from arena_learning.tracking.server import HOST, free_port, server_command, server_environment

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHARTS = (
    "^elo/[^_]*$|^win_rate/.*_vs_base$"
    "|^monitor/(mean_words|longer_wins|repetition|cut_off_rate|tie_rate|target_chosen_share)$"
)
SWEEP_CHARTS = "^objective/|^constraint/|^seconds$"
WAIT_SECONDS = 240.0
SETTLE_LOOKS = 40
# The page is ready when every round is listed and the charts (drawn by Plotly) are there and stay as many.
READY = """(names) => {
  const text = document.body ? document.body.innerText : '';
  const bars = document.querySelectorAll('.js-plotly-plot .points path, .js-plotly-plot .bars path').length;
  return names.every((name) => text.includes(name)) ? bars : 0;
}"""


def main() -> None:
    """Read the command line, take the picture, say where it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", default=None, help="the project's folder")
    parser.add_argument("--study", default="", help="a sweep's name: its trials instead of the rounds")
    parser.add_argument("--registry", action="store_true", help="the registered model instead of the rounds")
    parser.add_argument("--out", type=Path, default=None, help="the PNG to write")
    parser.add_argument("--charts", default="", help="which metrics: a regular expression")
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--height", type=int, default=1900)
    options = parser.parse_args()
    options.charts = options.charts or (SWEEP_CHARTS if options.study else CHARTS)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # the picture is of the project's own store
    try:
        paths = find_project(options.root)
        name = f"mlflow-{'registry' if options.registry else 'sweep' if options.study else 'rounds'}.png"
        out = options.out or paths.root / "docs" / "images" / name
        browser = find_browser()
        if options.registry:
            page, names = registered(paths)
            arrange = arrange_registry
        else:
            found = trials_of(paths, options.study) if options.study else newest_rounds(paths)
            experiment, names, query = found
            page = f"experiments/{experiment}/runs?{query}"
            arrange = arrange_charts
        port = free_port()
        with serving(server_command(paths, port), f"http://{HOST}:{port}/health"):
            picture = take(browser, f"http://{HOST}:{port}/#/{page}", names, arrange, options)
    except ArenaError as error:
        sys.exit(f"error: {error}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(picture)
    print(f"{out}: {', '.join(names)} ({len(picture) / 1000:.0f} kB)")


def find_browser() -> str:
    """Return the path of a Chromium.

    Raises:
        ArenaError: there is none.
    """
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    raise ArenaError("no Chromium on the PATH", hint="Debian and Ubuntu: apt-get install chromium")


def newest_rounds(paths: Paths) -> tuple[str, list[str], str]:
    """Return the experiment's id, the names of the newest flywheel's rounds, and the query that shows them.

    Raises:
        ArenaError: the store holds no round.
    """
    if not (paths.mlruns / "mlflow.db").is_file():
        raise ArenaError("no store yet", where=str(paths.mlruns), hint="make it with `arena track`")
    with opened(paths) as store:
        flywheels = store.client.search_runs(
            [store.experiment], "tags.`arena.kind` = 'flywheel'", max_results=1
        )
        below = f"tags.`mlflow.parentRunId` = '{flywheels[0].info.run_id}'" if flywheels else ""
        rounds = store.client.search_runs([store.experiment], below) if below else []
    if not rounds:
        raise ArenaError("the store holds no round", where=str(paths.mlruns), hint="run `arena track`")
    rounds = sorted(rounds, key=lambda run: int(run.data.params["round.index"]))
    query = urllib.parse.urlencode(
        {
            "searchFilter": below,
            "compareRunsMode": "CHART",
            "orderByKey": "params.`round.index`",
            "orderByAsc": "true",
        }
    )
    return store.experiment, [run.info.run_name for run in rounds], query


def trials_of(paths: Paths, study: str) -> tuple[str, list[str], str]:
    """Return the experiment's id, the names of a sweep's trials, and the query that shows them.

    Raises:
        ArenaError: the store holds no such sweep, or several.
    """
    with opened(paths) as store:
        found = store.client.search_runs([store.experiment], "tags.`arena.kind` = 'trial'")
    own = [run for run in found if run.data.tags["arena.study"].startswith(study)]
    if len({run.data.tags["arena.study"] for run in own}) != 1:
        raise ArenaError(f"the store holds no single sweep '{study}'", where=str(paths.mlruns))
    parent = own[0].data.tags["mlflow.parentRunId"]
    objective = min(key for run in own for key in run.data.metrics if key.startswith("objective/"))
    query = urllib.parse.urlencode(
        {
            "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'",
            "compareRunsMode": "CHART",
            "orderByKey": f"metrics.`{objective}`",  # ordered by a figure, children stand without their parent
            "orderByAsc": "false",
        }
    )
    return store.experiment, [run.info.run_name for run in own], query


def registered(paths: Paths) -> tuple[str, list[str]]:
    """Return the page of the registered model, and what must stand on it: its aliases.

    Raises:
        ArenaError: the store holds no registered model with aliases.
    """
    with opened(paths) as store:
        found = store.client.search_registered_models()
    own = [model for model in found if model.aliases]
    if not own:
        raise ArenaError("no registered model", where=str(paths.mlruns), hint="run `arena promote`")
    return f"models/{urllib.parse.quote(own[0].name)}", sorted(own[0].aliases)


@contextmanager
def serving(command: list[str], health: str) -> Iterator[None]:
    """Run MLflow's server while the block runs.

    Raises:
        ArenaError: it does not answer.
    """
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            command, env=server_environment(), stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + WAIT_SECONDS
            while not answers(health):
                if server.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    said = log.read().decode(errors="replace").strip().splitlines()
                    raise ArenaError(
                        f"MLflow's server did not start: {said[-1] if said else 'it said nothing'}"
                    )
                time.sleep(0.3)
            yield
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)


def answers(address: str) -> bool:
    """Whether something answers at the address."""
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def take(
    browser: str,
    address: str,
    names: list[str],
    arrange: Callable[[Page, list[str], argparse.Namespace], None],
    options: argparse.Namespace,
) -> bytes:
    """Open the address in a new browser, let ``arrange`` bring the page to where it should be, and return it as PNG.

    Raises:
        ArenaError: the browser does not start, or the page is not what it should be.
    """
    try:
        with sync_playwright() as driver:
            chromium = driver.chromium.launch(executable_path=browser)
            page = chromium.new_page(viewport={"width": options.width, "height": options.height})
            page.set_default_timeout(WAIT_SECONDS * 1000)
            page.goto(address)
            arrange(page, names, options)
            return page.screenshot()
    except TimeoutError as error:
        raise ArenaError(
            f"not on the page within {WAIT_SECONDS:.0f} s: {first_line(error)}",
            where="MLflow's page",
            hint="this MLflow may be another version",
        ) from None
    except Error as error:
        raise ArenaError(
            f"the browser failed: {first_line(error)}",
            hint=f"try it by hand: {browser} --headless about:blank",
        ) from None


def arrange_charts(page: Page, names: list[str], options: argparse.Namespace) -> None:
    """Wait for the charts of the runs, and show those that are asked for."""
    wait_for_charts(page, names)
    close_assistant(page)
    page.get_by_placeholder("Search metric charts").fill(options.charts)
    page.wait_for_timeout(1500)
    settle(page, names)


def arrange_registry(page: Page, names: list[str], options: argparse.Namespace) -> None:
    """Wait for the aliases in the table of versions, and fold the tags above it."""
    del options  # the page has no charts
    page.wait_for_function(
        "(names) => document.body && names.every((name) => document.body.innerText.includes(name))", arg=names
    )
    close_assistant(page)
    page.get_by_text("Tags", exact=True).first.click()
    page.wait_for_timeout(1500)


def close_assistant(page: Page) -> None:
    """Close the assistant's panel, if it is open."""
    assistant = page.locator("[data-component-id*='assistant'][data-component-id*='close']")
    if assistant.count():
        assistant.first.click()


def wait_for_charts(page: Page, names: list[str]) -> None:
    """Wait until every name is listed and at least one chart is drawn.

    Raises:
        TimeoutError: they do not appear.
    """
    page.wait_for_function(f"(names) => ({READY})(names) > 0", arg=names)


def settle(page: Page, names: list[str]) -> None:
    """Wait until the charts, which are drawn one after the other, stay as many."""
    drawn: object = None
    for _ in range(SETTLE_LOOKS):
        now = page.evaluate(READY, names)
        if now and now == drawn:
            return
        drawn = now
        page.wait_for_timeout(1500)


def first_line(error: Error) -> str:
    """Return the first line of what the driver says; the others are its log."""
    return error.message.strip().splitlines()[0]


if __name__ == "__main__":
    main()
