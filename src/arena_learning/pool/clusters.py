"""Clusters of like instructions: K-means over sentence embeddings, in steps, so that a killed run goes on where it was.

The steps are saved beside the vectors. The last clustering stays there: who asks for the same one again only reads it.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from arena_learning.core import Progress, atomic_write
from arena_learning.pool.embeddings import Embedder, Vectors
from arena_learning.pool.filters import conversation_text
from arena_learning.schema import Instruction

_BLOCK = 8192
_STEP = 5  # iterations between two saves
_STEPS = 10  # the most steps
_GAIN = 1e-3  # least relative fall of the inertia in a step, else the clusters are final
_SAMPLE = 20_000  # texts from which the first centers are drawn
_DRAWS = 10  # draws of first centers where all texts fit the sample; the best is taken
_WORDS = 4  # words that stand for a cluster
_READ = 50  # instructions of a cluster whose words are counted
_LONGEST = 160  # characters of the central instruction that are shown


class Cluster(NamedTuple):
    """Like instructions: ``members`` in the order given, and the one nearest to their mean."""

    members: list[Instruction]
    central: Instruction


def cluster_instructions(
    instructions: Sequence[Instruction], count: int, seed: int, embedder: Embedder
) -> list[Cluster]:
    """Return the instructions in clusters of like embeddings (K-means).

    Args:
        instructions: what to cluster.
        count: number of clusters; fewer, where there are fewer distinct instructions.
        seed: seeds the first centers.
        embedder: computes the embeddings; where it has a file, the clustering is saved beside it after every few
            iterations.

    Raises:
        ArenaError: the package with the embedding model is not installed.
    """
    texts = [conversation_text(one) for one in instructions]
    if not texts:
        return []
    vectors = np.concatenate(list(embedder.blocks(texts, _BLOCK)))
    file = embedder.file.with_name("clusters.npz") if embedder.file else None
    labels = cluster_labels(vectors, min(count, len(set(texts))), seed, file)
    clusters = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        mean = vectors[rows].mean(axis=0)
        members = [instructions[row] for row in rows.tolist()]
        clusters.append(Cluster(members, members[int((vectors[rows] @ mean).argmax())]))
    return clusters


def cluster_labels(
    vectors: Vectors, count: int, seed: int, file: Path | None = None
) -> npt.NDArray[np.int32]:
    """Return each vector's cluster, shape (vectors,), from 0 to ``count`` - 1.

    Equal arguments give equal clusters on the same machine, also after a kill: the centers that a step begins with are
    in the file.

    Args:
        vectors: shape (number, size).
        count: number of clusters, at most the number of distinct vectors.
        seed: seeds the first centers.
        file: keeps the last clustering and its steps.
    """
    from threadpoolctl import threadpool_limits

    what = _named(vectors, count, seed)
    state = _read(file, what) or _State(_first_centers(vectors, count, seed), 0, np.inf)
    # Several threads would add up a center's vectors in an order that differs from run to run.
    with threadpool_limits(1, user_api="openmp"), Progress("clusters", _STEPS, "steps") as progress:
        progress.advance(state.steps)
        while state.labels is None:
            state = _stepped(vectors, state)
            _write(file, what, state)
            progress.advance()
        progress.total = state.steps
    return state.labels


def _named(vectors: Vectors, count: int, seed: int) -> str:
    """Return what identifies a clustering: a digest of all that decides it."""
    digest = hashlib.sha256(f"{count} {seed} {vectors.shape}".encode())
    digest.update(np.ascontiguousarray(vectors).data)
    return digest.hexdigest()


class _State(NamedTuple):
    """Where a clustering is: centers, steps done, inertia after them; labels once it is final."""

    centers: Vectors
    steps: int
    inertia: float
    labels: npt.NDArray[np.int32] | None = None


def _first_centers(vectors: Vectors, count: int, seed: int) -> Vectors:
    """Return centers by k-means++ from a sample; where all vectors are in it, the best of some draws."""
    from sklearn.cluster import kmeans_plusplus

    sample = max(_SAMPLE, count)  # each center is another text
    if len(vectors) > sample:
        rows = np.sort(np.random.default_rng(seed).choice(len(vectors), sample, replace=False))
        return np.asarray(kmeans_plusplus(vectors[rows], count, random_state=seed)[0])
    drawn = [np.asarray(kmeans_plusplus(vectors, count, random_state=seed + n)[0]) for n in range(_DRAWS)]

    def distance(centers: Vectors) -> float:
        """Return the sum of squared distances to the nearest center, less what is the same for all centers."""
        return float(((centers**2).sum(axis=1) - 2 * vectors @ centers.T).min(axis=1).sum())

    return min(drawn, key=distance)


def _stepped(vectors: Vectors, state: _State) -> _State:
    """Return the state after some iterations of Lloyd's algorithm."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    means = KMeans(len(state.centers), init=state.centers, n_init=1, max_iter=_STEP, tol=0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # two texts may have one vector
        labels = means.fit_predict(vectors)
    steps, inertia = state.steps + 1, float(means.inertia_)
    final = means.n_iter_ < _STEP or steps == _STEPS or inertia >= state.inertia * (1 - _GAIN)
    centers = np.asarray(means.cluster_centers_, dtype=np.float32)
    return _State(centers, steps, inertia, labels.astype(np.int32) if final else None)


def _read(file: Path | None, what: str) -> _State | None:
    """Return the saved state of this clustering; None if another one is saved, or none."""
    if not file or not file.is_file():
        return None
    try:
        with safe_open(file, framework="numpy") as saved:
            about = saved.metadata() or {}
            if about.get("what") != what:
                return None
            labels = saved.get_tensor("labels")
            return _State(
                saved.get_tensor("centers"),
                int(about["steps"]),
                float(about["inertia"]),
                labels if len(labels) else None,
            )
    except (OSError, ValueError, KeyError, SafetensorError):
        return None  # damaged: computed again


def _write(file: Path | None, what: str, state: _State) -> None:
    if not file:
        return
    labels = np.zeros(0, dtype=np.int32) if state.labels is None else state.labels
    about = {"what": what, "steps": str(state.steps), "inertia": repr(state.inertia)}
    with atomic_write(file) as path:
        save_file({"centers": np.ascontiguousarray(state.centers), "labels": labels}, path, about)


def describe_clusters(clusters: Sequence[Cluster], most: int) -> list[dict[str, Any]]:
    """Return the ``most`` largest clusters for readers: number, size, characteristic words, the central instruction.

    A word is characteristic of a cluster if it is frequent there and in few others (TF-IDF over the clusters).
    """
    order = sorted(range(len(clusters)), key=lambda n: (-len(clusters[n].members), n))[:most]
    words = _characteristic_words([clusters[n].members for n in order])
    return [
        {
            "cluster": n,
            "size": len(clusters[n].members),
            "words": said,
            "central": _cut(clusters[n].central.text),
        }
        for n, said in zip(order, words, strict=True)
    ]


def _characteristic_words(groups: Sequence[Sequence[Instruction]]) -> list[list[str]]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    counter = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    try:
        weights = counter.fit_transform("\n".join(one.text for one in group[:_READ]) for group in groups)
    except ValueError:  # nothing but stop words, or no group
        return [[] for _ in groups]
    names = counter.get_feature_names_out()
    found = []
    for row in range(weights.shape[0]):
        here = weights[row]
        best = np.argsort(-here.data, kind="stable")[:_WORDS]
        found.append([str(names[here.indices[n]]) for n in best])
    return found


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [...]"
