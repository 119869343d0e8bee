"""A stranger's first hour, walked by a script: from an empty folder to an exported model, with a clock beside it.

    PYTHONPATH=tests python benchmarks/first_hour.py [--environment VENV] [--model FOLDER] [--write PAGE]

It builds the wheel, installs it into a new environment in an empty folder, and does what the guide says: `arena init`
with a model folder, an endpoint as judge, two opponents with recorded answers and a CSV of prompts; plan; repro; read;
change a threshold; sweep; promote; export. It prints a transcript: commands, minutes, exit codes and messages. A step
that ends otherwise than it should ends the walk with exit code 1.

The judge is no language model. It is a script behind a real HTTP endpoint on this machine, which prefers the answer
that shares more words with the question and is not longer than 60 words, and takes 0.2 s for it. The model is a tiny
one with random weights, unless `--model` names another: it learns nothing that matters here.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]
sys.path.append(str(REPOSITORY / "tests" / "openai"))

from endpoint import FakeEndpoint, Reply, Request, completion  # noqa: E402

from arena_learning.core import words  # noqa: E402
from pipeline.project import install_beside  # noqa: E402
from tiny import build_tiny_model  # noqa: E402

PROMPTS, LIMIT = 60, 60
LATENCY = 0.2  # seconds in which the endpoint answers
SHOWN, WIDTH = 14, 140  # lines of a command's output that the transcript keeps, and characters of each
ASKED = re.compile(r"\[user\]\n(.*?)</conversation>", re.DOTALL)
SIDES = re.compile(r"<response_a>\n(.*?)\n</response_a>.*<response_b>\n(.*?)\n</response_b>", re.DOTALL)


class Step(NamedTuple):
    """A command of the walk: why, what, how it ended, how long it took, what it printed."""

    why: str
    command: str
    code: int
    seconds: float
    said: str


def judged(request: Request) -> Reply | None:
    """Score both answers by rule; None where somebody asks for the models."""
    if not request.body:
        return Reply(body={"data": [{"id": "scripted-judge"}]})
    prompt = request.body["messages"][-1]["content"]
    asked, sides = ASKED.search(prompt), SIDES.search(prompt)
    assert asked, prompt
    assert sides, prompt
    known = {word.lower() for word in words(asked[1])}
    scores = [_score(side, known) for side in sides.groups()]
    said = f"By rule.\nScore-A: {scores[0]}\nScore-B: {scores[1]}"
    # Four characters a token, about.
    return Reply(body=completion(said, tokens=len(said) // 4, prompt=len(prompt) // 4), slow=LATENCY)


def _score(answer: str, known: set[str]) -> int:
    said = [word.lower() for word in words(answer)]
    shared = len(known & set(said)) / max(1, len(known))
    return max(1, min(10, round(2 + 8 * shared) - 3 * (len(said) > LIMIT) - 3 * (len(said) < 5)))


class Walk:
    """Runs the commands of the walk in one environment, and keeps what happened."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.folder, self.steps = folder, list[Step]()
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ARENA_", "DVC_", "PYTHONPATH", "VIRTUAL_ENV", "MLFLOW_"))
        }
        quiet = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "DVC_NO_ANALYTICS": "1"}
        quiet |= {"MLFLOW_DISABLE_TELEMETRY": "true"}
        self.env = {**kept, **quiet, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def do(self, why: str, command: str, code: int | tuple[int, ...] = 0) -> str:
        """Run a command as the newcomer types it.

        Args:
            why: what the newcomer wants.
            command: the line.
            code: how it must end; one of several if more than one will do.
        """
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        step = Step(why, command, done.returncode, time.monotonic() - began, done.stdout)
        self.steps.append(step)
        print(f"$ {command}\n  {step.seconds:.1f} s, exit code {step.code}", flush=True)
        allowed = code if isinstance(code, tuple) else (code,)
        if step.code not in allowed or "Traceback" in step.said:
            print(step.said[-6000:])
            raise SystemExit(f"`{command}` ended with {step.code}")
        return done.stdout


def build_wheel(out: Path) -> Path:
    """Build the wheel as a release does."""
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(out),
        str(REPOSITORY),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (found,) = out.glob("*.whl")
    return found


def install(wheel: Path, home: Path, dependencies: Path | None) -> str:
    """Make an environment with the wheel; return how.

    Args:
        wheel: the wheel.
        home: where to make it.
        dependencies: an environment that has the dependencies already; None: they are installed from the index.
    """
    if dependencies is None:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        python = str(home / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "-c", str(REPOSITORY / "constraints.txt")]
        subprocess.run([*pip, f"{wheel}[laptop,openai]"], check=True)
        return "from the package index"
    paths = {"base": str(dependencies), "platbase": str(dependencies)}
    install_beside(wheel, home, Path(sysconfig.get_path("purelib", vars=paths)))
    return "with the dependencies of an environment that was there"


def write_material(folder: Path, model: Path | None) -> None:
    """Write what the newcomer brings: prompts, two files of answers, a model."""
    lines = (REPOSITORY / "data" / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if len(row["turns"]) == 1][:PROMPTS]
    with (folder / "prompts.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "prompt"])
        table.writerows([row["id"], row["turns"][0]["content"]] for row in rows)
    names = {row["id"] for row in rows}
    for name, source in (("strong", "expert"), ("weak", "plain")):
        answers = (REPOSITORY / "data" / "opponents" / f"{source}.jsonl").read_text(encoding="utf-8")
        kept = [line for line in answers.splitlines() if json.loads(line)["id"] in names]
        (folder / f"{name}.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    if model is None:
        build_tiny_model(folder / "model", tied=False)
    else:
        (folder / "model").symlink_to(model.resolve())


@contextmanager
def serving() -> Iterator[str]:
    """Serve the scripted judge; yields its address."""
    with FakeEndpoint(judged) as server:
        yield server.base_url


def walk(way: Walk, judge: str) -> None:
    """Do what a newcomer does, in order."""
    way.do(
        "Make a project with my model, my judge, two opponents and my prompts.",
        f"arena init mine --model model --judge {judge} --opponent strong=strong.jsonl "
        "--opponent weak=weak.jsonl --pool prompts.csv",
    )
    # Each of these is a choice of the newcomer: a tiny model says little, and its answers need not be long.
    params = way.folder / "mine" / "params.yaml"
    text = params.read_text(encoding="utf-8")
    text = text.replace("max_tokens: 192", "max_tokens: 24").replace("precision: bf16", "precision: fp32")
    text = text.replace("  samples: 6", "  samples: 2")
    params.write_text(f"{text}\nprices: {{scripted-judge: {{input: 0.4, output: 1.6}}}}\n", encoding="utf-8")
    way.folder /= "mine"
    way.do("Check what I have.", "arena doctor")
    way.do("What will the trainings need?", "arena plan --memory")
    way.do("What will run?", "arena repro --dry")
    way.do("How much is it, and how long will it take?", "arena plan")
    began = time.monotonic()
    way.do("Run it.", "arena repro")
    way.do("Who is best?", "arena leaderboard --print")
    print(f"  from `arena repro` to the leaderboard: {time.monotonic() - began:.0f} s")
    way.do("Did the plan hold?", "arena plan --against-run")
    way.do("What did the first round learn from?", "arena show round sft-i1")
    battle = json.loads(
        (way.folder / "data/rounds/sft-i1/battles.jsonl").read_text(encoding="utf-8").splitlines()[0]
    )
    way.do(
        "One battle of it.",
        f"arena show battle sft-i1 {battle['instruction_id']} {battle['a']} {battle['b']}",
    )
    way.do(
        "Only clear losses: a higher threshold.",
        "sed -i '/sft-i1: {/ s/threshold: 1.0/threshold: 2.0/' params.yaml",
    )
    way.do("What does that change?", "arena repro --dry")
    way.do("How long will it take?", "arena plan")
    way.do("Run it again.", "arena repro")
    way.do("Did this plan hold?", "arena plan --against-run")
    way.do(
        "Which learning rate?",
        "arena sweep selection sft-i1 --trials 2 --confirm 1 --vary 'train.sft.learning_rate=[1.0e-4, 4.0e-4]'",
    )
    way.do("Does the model ship? (1 means: not better.)", "arena promote", (0, 1))
    way.do(
        "Take the last model elsewhere.",
        "arena export dpo-i1 --to folder --licence apache-2.0 --out ../mine-dpo",
    )
    way.do("Look at it in MLflow's files.", "arena track")
    way.do("Is all up to date?", "arena repro")


def page(way: Walk, how: str, minutes: float, first: float) -> str:
    """Return the transcript as a page of the lab."""
    lines = [
        "# The first hour",
        "",
        "<!-- Made by benchmarks/first_hour.py: run it again instead of editing. -->",
        "",
        "A stranger's way from an empty folder to an exported model, walked by a script:",
        "`PYTHONPATH=tests python benchmarks/first_hour.py`. It builds the wheel, installs it into a new environment",
        f"({how}) in an empty folder, and types the commands below.",
        "",
        "The judge is a script behind a real endpoint on the same machine (more words of the question, not too long),",
        "no language model. The base is a tiny Llama with random weights. So the minutes are the pipeline's own; the",
        "ratings mean nothing.",
        "",
        f"On {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores: {minutes:.1f} min for all, {first:.1f} min from",
        "`arena init` to the first leaderboard. Each command ended as it should, without a traceback.",
        "",
        "| why | command | s | code |",
        "| --- | --- | --: | --: |",
    ]
    lines += [f"| {one.why} | `{one.command}` | {one.seconds:.1f} | {one.code} |" for one in way.steps]
    for one in way.steps:
        kept = _told(one.said)
        lines += [
            "",
            f"## {one.why.rstrip('.?').partition(' (')[0]}",
            "",
            "```text",
            f"$ {one.command}",
            *kept,
            "```",
        ]
    return "\n".join(lines) + "\n"


def _told(said: str) -> list[str]:
    """Return the first and last lines of an output, without paths of this machine."""
    plain = re.sub(r"(?<![\w.-])(?:/[\w.-]+)+/(?=mine\b|model\b|prompts|strong|weak)", "", said)
    plain = re.sub(r"(?<![\w.-])(?:/[\w.+-]+){2,}/bin/", "", plain)
    lines = [
        line.rstrip()[:WIDTH] for line in plain.splitlines() if line.strip() and not line.startswith("+")
    ]
    if len(lines) <= SHOWN:
        return lines
    half = SHOWN // 2
    return [*lines[:half], f"... ({len(lines) - SHOWN} lines)", *lines[-half:]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--environment", type=Path, help="an environment whose packages are the dependencies"
    )
    options.add_argument("--model", type=Path, help="a model folder instead of a tiny one")
    options.add_argument("--write", type=Path, help="the page to write")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="first-hour-") as place, serving() as judge:
        folder = Path(place)
        began = time.monotonic()
        how = install(build_wheel(folder / "dist"), folder / "env", given.environment)
        print(f"wheel built and installed {how}: {time.monotonic() - began:.0f} s", flush=True)
        mine = folder / "empty"
        mine.mkdir()
        write_material(mine, given.model)
        way = Walk(folder / "env" / "bin", mine)
        started = time.monotonic()
        walk(way, judge)
        minutes = (time.monotonic() - started) / 60
        ended = next(n for n, one in enumerate(way.steps) if one.command.startswith("arena leaderboard"))
        first = sum(one.seconds for one in way.steps[: ended + 1]) / 60
        print(f"{minutes:.1f} min in all, {first:.1f} min from init to the leaderboard")
        if given.write:
            given.write.write_text(page(way, how, minutes, first), encoding="utf-8")


if __name__ == "__main__":
    main()
