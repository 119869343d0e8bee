"""K-means in steps: what it finds, and that a killed clustering goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from arena_learning.pool import clusters
from arena_learning.pool.clusters import cluster_labels

NUMBER, SIZE, COUNT = 20_000, 48, 80
RUN = f"""
import sys
from pathlib import Path
import numpy as np
from arena_learning.pool.clusters import cluster_labels
vectors = np.random.default_rng(5).normal(size=({NUMBER}, {SIZE})).astype(np.float32)
cluster_labels(vectors, {COUNT}, 1, Path(sys.argv[1]))
"""


@pytest.fixture
def steps(monkeypatch):
    """The states that steps began with."""
    seen = []
    own = clusters._stepped

    def counted(vectors, state):
        seen.append(state)
        return own(vectors, state)

    monkeypatch.setattr(clusters, "_stepped", counted)
    return seen


def scattered():
    return np.random.default_rng(5).normal(size=(NUMBER, SIZE)).astype(np.float32)


def test_what_lies_apart_is_told_apart():
    drawn = np.random.default_rng(0)
    true = drawn.integers(0, 4, 200)
    vectors = (10 * np.eye(4, 8)[true] + drawn.normal(size=(200, 8))).astype(np.float32)
    labels = cluster_labels(vectors, 4, 3)
    assert len({(one, two) for one, two in zip(true.tolist(), labels.tolist(), strict=True)}) == 4


def test_a_clustering_that_was_done_is_read_and_another_one_is_not(tmp_path, steps):
    file, vectors = tmp_path / "clusters.npz", scattered()[:500]
    first = cluster_labels(vectors, 5, 1, file)
    done = len(steps)
    assert done > 0
    assert (cluster_labels(vectors, 5, 1, file) == first).all()
    assert len(steps) == done
    cluster_labels(vectors, 5, 2, file)  # another seed
    assert len(steps) > done
    assert (cluster_labels(vectors, 5, 1, file) == first).all()  # the file has the last one alone


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive"])
def test_a_damaged_file_costs_only_time(tmp_path, content):
    file, vectors = tmp_path / "clusters.npz", scattered()[:300]
    file.write_bytes(content)
    assert (cluster_labels(vectors, 4, 1, file) == cluster_labels(vectors, 4, 1)).all()


def test_more_clusters_than_the_sample_of_first_centers_has_texts(monkeypatch):
    monkeypatch.setattr(clusters, "_SAMPLE", 20)
    labels = cluster_labels(scattered()[:100], 30, 1)
    assert len(set(labels.tolist())) == 30


def test_texts_with_one_vector_share_a_cluster():
    vectors = np.repeat(np.eye(3, 8, dtype=np.float32), 4, axis=0)
    labels = cluster_labels(vectors, 5, 1)
    assert [len(set(labels[start : start + 4].tolist())) for start in (0, 4, 8)] == [1, 1, 1]


def test_a_killed_clustering_goes_on_and_ends_as_it_would_have(tmp_path, steps):
    file, vectors = tmp_path / "clusters.npz", scattered()
    process = subprocess.Popen([sys.executable, "-c", RUN, str(file)])
    until = time.monotonic() + 120
    while not file.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it had ended before it was killed"
    resumed = cluster_labels(vectors, COUNT, 1, file)
    assert steps[0].steps >= 1  # the first step was not made again
    left = len(steps)
    assert (resumed == cluster_labels(vectors, COUNT, 1)).all()
    assert len(steps) == left + steps[left - 1].steps + 1
