"""`kill -9` in the midst of `dvc repro`, over and over, and what it cost: used by a test and by benchmarks/kill_repro.py.

The project pays an endpoint for one opponent's answers and for every verdict, so that its bill shows what was paid
twice. A run is killed at a random moment of a stage, the next one goes on, and so forth to the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from arena_learning.core.paths import Paths
from arena_learning.project.doctor import find_torn
from pipeline.project import environment, make_project, read_params, run, write_params
from sample import one_iteration

sys.path.append(str(Path(__file__).parents[1] / "openai"))

from endpoint import FakeEndpoint, Reply, Request, completion

SECRET = "sk-planted-0123456789abcdef"  # the endpoint's key, in the environment as VARIABLE
VARIABLE = "HOSTED_KEY"
CONCURRENCY = 4
LATENCY = 0.05  # seconds an answer takes the endpoint
_STAGE = re.compile(r"Running stage '([^']+)'")
_TIMED = (
    "battle_metrics.json",
    "judge_metrics.json",
    "train_metrics.json",
    "evaluate_metrics.json",
    "leaderboard.json",
)
# Not `track`: opening MLflow takes seconds, and nothing is paid or made there.
_REPRO = ("dvc", "repro", "leaderboard")


class Killed(NamedTuple):
    """One kill: the stage that ran, seconds into it, whether the whole process group went, and requests in flight."""

    stage: str
    seconds: float
    group: bool
    in_flight: int


class Outcome(NamedTuple):
    """What a disturbed run came to.

    Attributes:
        kills: what was killed, when.
        paid_twice: requests that the endpoint was paid for twice.
        torn: how often DVC was killed while it wrote a file of its own, so that somebody has to repair it.
    """

    kills: list[Killed]
    paid_twice: int
    torn: int


def answer(request: Request) -> Reply:
    """Answer as an opponent or, where two scores are asked for, as a judge; by the request's content alone."""
    if request.headers.get("authorization") != f"Bearer {SECRET}":
        return Reply(status=401, body={"error": {"message": f"wrong key, {SECRET} is right"}})
    said = request.body["messages"][-1]["content"]
    digest = hashlib.sha256(f"{request.body['model']} {said}".encode()).digest()
    if "Score-A" in said:
        text = f"Score-A: {1 + digest[0] % 10}\nScore-B: {1 + digest[1] % 10}\nExplanation: by its bytes."
        return Reply(body=completion(text))
    return Reply(body=completion(f"It depends on {digest.hex()[:12]}."))


def make_kill_project(root: Path, model: Path, endpoint: FakeEndpoint, methods: Sequence[str]) -> Path:
    """Make a project with these rounds, all that does not depend on them done; the environment needs the key."""
    chain = one_iteration(sft=0.0, dpo=0.0, ppo=0.0)
    rounds = {f"{method}-i1": chain[f"{method}-i1"] for method in methods}
    rounds = json.loads(json.dumps(rounds).replace("dpo-i1", "sft-i1")) if "dpo" not in methods else rounds
    make_project(root, model, rounds=rounds, splits={"d1": 12, "d2": 8, "d3": 8}, test=6)
    params = read_params(root)
    hosted = hosted_by(endpoint)
    params["opponents"] = {"expert": params["opponents"]["expert"], "hosted": {**hosted, "model": "m"}}
    params["judges"] = {"paid": {"kind": "llm", "model": "j", **hosted}}
    params["judge"]["name"], params["evaluate"]["judges"] = "paid", ["paid"]
    params["serving"]["batch_size"] = (
        1  # so that a call of the engine is a few answers, and there are several
    )
    params["train"]["sft"]["epochs"] = params["train"]["ppo"]["reward"]["epochs"] = 12
    write_params(root, params)
    run(root, "dvc", "repro", "prepare", "weights", "answer-base", "answer-opponent@expert")
    return root


def hosted_by(endpoint: FakeEndpoint) -> dict[str, Any]:
    """Return how a contestant or judge behind the endpoint is written in params.yaml, but for its model."""
    return {
        "engine": "openai",
        "base_url": endpoint.base_url,
        "concurrency": CONCURRENCY,
        "api_key_env": VARIABLE,
    }


def undisturbed(start: Path, root: Path) -> dict[str, float]:
    """Run a copy of ``start`` to its end; return how long each stage took."""
    shutil.copytree(start, root, symlinks=True)
    began: list[tuple[str, float]] = []
    with _Repro(root) as repro:
        while repro.runs():
            if repro.stage and (not began or began[-1][0] != repro.stage):
                began.append((repro.stage, time.monotonic()))
    assert repro.process.returncode == 0, repro.text()
    ends = [at for _, at in began[1:]] + [time.monotonic()]
    return {stage: end - at for (stage, at), end in zip(began, ends, strict=True)}


def disturbed(
    start: Path, root: Path, stages: Sequence[str], took: dict[str, float], endpoint: FakeEndpoint, seed: int
) -> Outcome:
    """Run a copy of ``start``, killed once in each of ``stages`` at a moment drawn evenly over it; then to its end.

    Every other kill takes ``dvc`` alone, and the next run starts at once, beside the orphan.
    """
    shutil.copytree(start, root, symlinks=True)
    endpoint.seen.clear()
    draw, kills, torn = random.Random(seed), [], 0
    for number, stage in enumerate(stages):
        moment, group = draw.uniform(0.0, took[stage]), (number + seed) % 2 == 0
        if killed := _kill_in(root, stage, moment, endpoint, group=group):
            kills.append(killed)
            torn += _mend_torn(root)
    run(root, *_REPRO)
    return Outcome(kills, sum(times - 1 for times in endpoint.seen.values()), torn)


def _mend_torn(root: Path) -> bool:
    """Do what `arena doctor` says where DVC was killed in the midst of writing a file of its own: it does not go on."""
    torn = list(find_torn(Paths(root)))
    for finding in torn:
        subprocess.run(finding.hint.split("`")[1], shell=True, cwd=root, check=True)
    return bool(torn)


def _kill_in(root: Path, stage: str, after: float, endpoint: FakeEndpoint, *, group: bool) -> Killed | None:
    """Kill a `dvc repro` so many seconds into a stage; None where it had ended by then."""
    with _Repro(root) as repro:
        while repro.runs() and repro.stage != stage:
            pass
        began = time.monotonic()
        while repro.runs() and time.monotonic() < began + after:
            pass
        if repro.process.poll() is not None:
            return None
        in_flight = endpoint.in_flight
        if group:
            os.killpg(repro.process.pid, signal.SIGKILL)
        else:
            repro.process.kill()
        return Killed(repro.stage, time.monotonic() - began, group, in_flight)


class _Repro:
    """A `dvc repro` in a process group of its own, whose output goes to a file: an orphan can go on writing."""

    def __init__(self, root: Path) -> None:
        self._log = root / ".arena" / "repro.log"
        self._log.parent.mkdir(exist_ok=True)
        self.stage = ""
        with self._log.open("w") as log:
            # One thread: sums are then the same, whatever else the machine does.
            self.process = subprocess.Popen(
                _REPRO,
                cwd=root,
                env={**environment(), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def runs(self) -> bool:
        """Wait a moment, note the stage that runs, and return whether the run goes on."""
        time.sleep(0.02)
        if found := _STAGE.findall(self.text()):
            self.stage = found[-1]
        return self.process.poll() is None

    def text(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def __enter__(self) -> _Repro:
        return self

    def __exit__(self, *_: object) -> None:
        if sys.exc_info()[0] and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def contents(root: Path) -> dict[str, str]:
    """Return a digest of every file that the stages leave, without the seconds in their metrics."""
    found = {}
    for folder in ("data/rounds", "data/arena", "models", "reports"):
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.name != ".gitignore" and path.suffix not in (".html", ".png", ".svg"):
                found[path.relative_to(root).as_posix()] = _digest(path)
    return found


def _digest(path: Path) -> str:
    if path.name in _TIMED:
        return json.dumps(_without_time(json.loads(path.read_text(encoding="utf-8"))), sort_keys=True)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _without_time(value: Any) -> Any:
    if isinstance(value, dict):
        timed = ("seconds", "tokens_per_second", "cost")
        return {key: _without_time(item) for key, item in value.items() if key not in timed}
    return value
