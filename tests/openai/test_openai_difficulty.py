"""`arena difficulty` behind an endpoint, killed and resumed, and the hard test set that `arena prepare` then chooses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml
from endpoint import FakeEndpoint, Reply, completion

from arena_learning.core.json_files import read_json
from arena_learning.core.paths import Paths
from arena_learning.schema import Instruction, read_rows

pytestmark = pytest.mark.torch

NUMBER, TEST, CONCURRENCY = 60, 8, 4
ARENA = (sys.executable, "-c", "from arena_learning.cli.main import main; main()")


def rate(request):
    """Rate by the number in the question; one reply says nothing."""
    number = int(re.search(r"Question (\d+)", request.body["messages"][-1]["content"])[1])
    return Reply(body=completion("No." if number == 7 else f"Difficulty: {number / 10}\nReason: its number."))


def make(root, server, make_params):
    rows = [
        {
            "id": f"q{n}",
            "turns": [{"role": "user", "content": f"Question {n} about {'bread' if n % 2 else 'stars'}?"}],
        }
        for n in range(NUMBER)
    ]
    (root / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    judge = {"kind": "llm", "engine": "openai", "model": "m", "base_url": server.base_url, "attempts": 2}
    judge |= {"concurrency": CONCURRENCY}
    pool = {"instructions": "pool.jsonl", "splits": {"d1": 5, "d2": 5}, "test": TEST, "test_set": "hard"}
    pool |= {"test_clusters": 2, "test_sample": 25, "difficulties": "data/d.jsonl", "difficulty_judge": "big"}
    pool["filters"] = {"near_duplicate": 0, "contamination": 0}
    params = make_params(pool=pool, judges={"rubric": {"kind": "rubric"}, "big": judge})
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return Paths(root)


def test_a_killed_rating_asks_only_for_the_rest_and_the_most_difficult_are_chosen(tmp_path, make_params):
    with FakeEndpoint(rate, latency=0.15) as server:
        paths = make(tmp_path, server, make_params)
        process = subprocess.Popen((*ARENA, "difficulty"), cwd=tmp_path)
        until = time.monotonic() + 200
        while len(server.requests) < 25 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it had ended before it was killed"
        assert not (tmp_path / "data" / "d.jsonl").exists()
        before = len(server.requests)
        server.latency = 0.0
        done = subprocess.run(
            (*ARENA, "difficulty", "--json"), cwd=tmp_path, capture_output=True, text=True, check=True
        )
        counts = json.loads(done.stdout)
        candidates = counts["candidates"]
        assert TEST < candidates <= 50
        rows = [json.loads(line) for line in (tmp_path / "data" / "d.jsonl").read_text().splitlines()]
        rated = {row["id"]: row["difficulty"] for row in rows}
        assert rated == {name: int(name[1:]) / 10 for name in rated}
        assert "q7" not in rated
        assert len(rated) == counts["rated"] == candidates - counts["unscored"]
        # Asked again is what was in flight, or had just come and was not saved yet: an answer takes longer than its saving.
        assert before >= 25
        assert sum(times - 1 for times in server.seen.values()) <= 2 * CONCURRENCY
        asked = len(server.requests)
        with (tmp_path / "data" / "d.jsonl").open("a", encoding="utf-8") as file:
            file.write('{"id": "mine", "difficulty": 3}\n')  # a person's
        subprocess.run((*ARENA, "difficulty"), cwd=tmp_path, check=True, capture_output=True)
        assert len(server.requests) == asked
        rows = [json.loads(line) for line in (tmp_path / "data" / "d.jsonl").read_text().splitlines()]
        assert {row["id"]: row["difficulty"] for row in rows} == {**rated, "mine": 3}
    subprocess.run((*ARENA, "prepare"), cwd=tmp_path, check=True, capture_output=True)
    chosen = {one.id for one in read_rows(paths.split("test"), Instruction)}
    hardest = sorted(rated, key=lambda name: -rated[name])[:TEST]
    assert chosen == set(hardest)
    found = read_json(paths.prepare_card)["test_set"]
    assert (found["candidates"], found["unrated"]) == (candidates, counts["unscored"])
