"""Copies of an engine on two nodes of Ray, one of which is killed while its copy works.

The other node has no room for a second copy, so its own takes the batch.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from copied_engines import Logged

from arena_learning.arena import Contestant, ask_contestant_for
from arena_learning.engines.replicas import Replicas
from arena_learning.params import Ray, Sampling
from arena_learning.schema.rows import Instruction, Turn
from arena_learning.store import Store

ray = pytest.importorskip("ray", reason="Ray is an extra of its own: pip install 'arena-learning[ray]'")
pytestmark = [
    # Ray's own: it reads files and sockets that it leaves to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
INSTRUCTIONS = [Instruction(id=f"i{n}", turns=[Turn(role="user", content=f"q{n}")]) for n in range(20)]
BATCHES = 7  # of 3


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of two nodes on this machine, each a raylet with processes of its own."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    size = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
    made = Cluster(initialize_head=True, head_node_args={**size, "_system_config": quick})
    made.add_node(**size)
    yield made
    ray.shutdown()
    made.shutdown()


def batches(folder: Path) -> list[tuple[str, int]]:
    """Return the first question and the process of each batch that began."""
    found = [path.name.split(".") for path in folder.iterdir()]
    return [(first, int(pid)) for first, _, pid in found]


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])


def asked(engine, store: Path):
    with Store(store) as kept:
        return ask_contestant_for(Contestant("x", engine, Sampling()), INSTRUCTIONS, kept)


def test_a_node_that_is_killed_loses_nothing_and_its_batch_is_asked_again(cluster, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    expected = asked(Logged(tmp_path / "one"), tmp_path / "one.sqlite")
    engine = Replicas(
        partial(Logged, tmp_path / "two", 0.7), 2, Ray(address=cluster.address), where="serving"
    )
    (node,) = cluster.worker_nodes
    (raylet,) = node.all_processes["raylet"]
    killed: list[int] = []

    def kill() -> None:
        while not killed:
            time.sleep(0.05)
            killed.extend(pid for _, pid in batches(tmp_path / "two") if parent(pid) == raylet.process.pid)
        for pid in (raylet.process.pid, *killed):  # at once, as a machine dies
            os.kill(pid, signal.SIGKILL)
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    found = asked(engine, tmp_path / "two.sqlite")
    killer.join(60)
    engine.close()
    assert killed
    assert found.responses == expected.responses
    began = [first for first, _ in batches(tmp_path / "two")]
    (own,) = [first for first, pid in batches(tmp_path / "two") if pid == killed[0]]
    assert len(began) == BATCHES + 1
    assert began.count(own) == 2
    assert set(began) == {first for first, _ in batches(tmp_path / "one")}
    assert not Path(f"/proc/{killed[0]}").exists()
