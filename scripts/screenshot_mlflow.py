"""Take the picture of MLflow that compares the rounds: docs/images/mlflow-rounds.png.

    python scripts/screenshot_mlflow.py [--root FOLDER] [--study NAME] [--out FILE] [--charts REGEX] [--width N] ...

With --study, of the trials of a sweep (the beginning of its name is enough): docs/images/mlflow-sweep.png.

Needs a store (`arena track`) and Chromium (Debian: `apt-get install chromium`). It serves the store on a free
port of this machine, opens the experiment's charts for the rounds of the newest flywheel in a headless
browser, waits until every round's name and the charts are on the page, and saves what the browser shows.
Nothing on the page is changed but what a user can: the filter of the runs, the search of the charts, the
assistant's panel.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
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
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from arena_learning.errors import ArenaError
from arena_learning.paths import Paths, project
from arena_learning.track.server import HOST, free_port, server_command, server_environment
from arena_learning.track.store import opened

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHARTS = (
    "^elo/[^_]*$|^win_rate/.*_vs_base$"
    "|^monitor/(mean_words|longer_wins|repetition|cut_off_rate|tie_rate|target_chosen_share)$"
)
SWEEP_CHARTS = "^objective/|^constraint/|^seconds$"
WAIT_SECONDS = 240.0
SETTLE_LOOKS = 40
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    # A mouse, which a headless browser lacks: else every chart wears its toolbar, as on a phone.
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
)
# The page is ready when every round is listed and the charts (drawn by Plotly) are there and stay as many.
READY = """(names) => {
  const text = document.body ? document.body.innerText : '';
  const bars = document.querySelectorAll('.js-plotly-plot .points path, .js-plotly-plot .bars path').length;
  return names.every((name) => text.includes(name)) ? bars : 0;
}"""


class Page:
    """A browser's tab, spoken to by the DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._ids = socket, count(1)

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=WAIT_SECONDS)
            if message.get("id") == number:
                if "error" in message:
                    raise ArenaError(f"the browser refused {method}: {message['error'].get('message')}")
                return dict(message["result"])

    async def run(self, script: str) -> object:
        """Run JavaScript and return its value."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise ArenaError(f"the page's script failed: {result['exceptionDetails'].get('text')}")
        return result["result"].get("value")

    async def wait(self, script: str, what: str) -> None:
        """Wait until ``script`` is true.

        Raises:
            ArenaError: it does not become true.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while not await self.run(script):
            if time.monotonic() > deadline:
                raise ArenaError(f"{what} did not appear within {WAIT_SECONDS:.0f} s", where="MLflow's page")
            await asyncio.sleep(0.3)


def main() -> None:
    """Read the command line, take the picture, say where it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", default=None, help="the project's folder")
    parser.add_argument("--study", default="", help="a sweep's name: its trials instead of the rounds")
    parser.add_argument("--out", type=Path, default=None, help="the PNG to write")
    parser.add_argument("--charts", default="", help="which metrics: a regular expression")
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--height", type=int, default=1900)
    options = parser.parse_args()
    options.charts = options.charts or (SWEEP_CHARTS if options.study else CHARTS)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # the picture is of the project's own store
    try:
        paths = project(options.root)
        name = "mlflow-sweep.png" if options.study else "mlflow-rounds.png"
        out = options.out or paths.root / "docs" / "images" / name
        browser = find_browser()
        experiment, names, query = trials_of(paths, options.study) if options.study else newest_rounds(paths)
        port = free_port()
        with serving(server_command(paths, port), f"http://{HOST}:{port}/health"):
            address = f"http://{HOST}:{port}/#/experiments/{experiment}/runs?{query}"
            picture = asyncio.run(take(browser, address, names, options))
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
    raise ArenaError("no Chromium on the PATH", mend="Debian and Ubuntu: apt-get install chromium")


def newest_rounds(paths: Paths) -> tuple[str, list[str], str]:
    """Return the experiment's id, the names of the newest flywheel's rounds, and the query that shows them.

    Raises:
        ArenaError: the store holds no round.
    """
    if not (paths.mlruns / "mlflow.db").is_file():
        raise ArenaError("no store yet", where=str(paths.mlruns), mend="make it with `arena track`")
    with opened(paths) as store:
        flywheels = store.client.search_runs(
            [store.experiment], "tags.`arena.kind` = 'flywheel'", max_results=1
        )
        below = f"tags.`mlflow.parentRunId` = '{flywheels[0].info.run_id}'" if flywheels else ""
        rounds = store.client.search_runs([store.experiment], below) if below else []
    if not rounds:
        raise ArenaError("the store holds no round", where=str(paths.mlruns), mend="run `arena track`")
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


async def take(browser: str, address: str, names: list[str], options: argparse.Namespace) -> bytes:
    """Open the address in a new browser and return the picture as PNG."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        size = f"--window-size={options.width},{options.height}"
        process = subprocess.Popen(
            [browser, *FLAGS, size, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            port = await devtools_port(Path(profile), process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as listed:
                    tabs = [tab for tab in await listed.json() if tab["type"] == "page"]
                socket = tabs[0]["webSocketDebuggerUrl"]
                async with session.ws_connect(socket, max_msg_size=0) as connected:
                    return await picture(Page(connected), address, names, options)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


async def devtools_port(profile: Path, process: subprocess.Popen[bytes]) -> int:
    """Return the port that the browser chose.

    Raises:
        ArenaError: the browser does not start.
    """
    file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + WAIT_SECONDS
    while not (file.is_file() and "\n" in file.read_text(encoding="utf-8")):
        if process.poll() is not None or time.monotonic() > deadline:
            raise ArenaError(
                "the browser did not start", mend="try it by hand: chromium --headless about:blank"
            )
        await asyncio.sleep(0.2)
    return int(file.read_text(encoding="utf-8").splitlines()[0])


async def picture(page: Page, address: str, names: list[str], options: argparse.Namespace) -> bytes:
    """Bring the page to where it compares the rounds, and capture it."""
    await page.call(
        "Emulation.setDeviceMetricsOverride",
        width=options.width,
        height=options.height,
        deviceScaleFactor=1,
        mobile=False,
    )
    await page.call("Page.navigate", url=address)
    listed = f"({READY})({names!r})"
    await page.wait(f"{listed} > 0", "the rounds and their charts")
    await page.run(CLOSE_ASSISTANT)
    await search_charts(page, options.charts)
    drawn: object = None
    for _ in range(SETTLE_LOOKS):  # charts are drawn one after the other
        now = await page.run(listed)
        if now and now == drawn:
            break
        drawn = now
        await asyncio.sleep(1.5)
    captured = await page.call("Page.captureScreenshot", format="png")
    return base64.b64decode(captured["data"])


CLOSE_ASSISTANT = """(() => {
  const title = [...document.querySelectorAll('*')].find((e) => e.textContent.trim() === 'MLflow Assistant');
  const button = document.querySelector("[data-component-id*='assistant'][data-component-id*='close']");
  if (button) button.click();
  return Boolean(button) || !title;
})()"""


async def search_charts(page: Page, regex: str) -> None:
    """Type the regular expression into the search of the charts.

    Raises:
        ArenaError: there is no such search.
    """
    found = await page.run(
        "(() => { const box = document.querySelector(\"input[placeholder='Search metric charts']\");"
        " if (!box) return false; box.focus(); return true; })()"
    )
    if not found:
        raise ArenaError("no search of the charts on MLflow's page", mend="this MLflow is another version")
    await page.call("Input.insertText", text=regex)
    await asyncio.sleep(1.5)


if __name__ == "__main__":
    main()
