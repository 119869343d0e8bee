from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from arena_learning.pool import embeddings
from arena_learning.pool.embeddings import EmbeddedBy, Embedder
from arena_learning.store import VectorStore

pytestmark = pytest.mark.torch

TEXTS = ["The sky is blue.", "Blue is the sky.", "", "A lease ends.", "word " * 400, "The sky is blue."]


@pytest.fixture
def asked(monkeypatch):
    """The batches that the model was asked for."""
    batches = []
    own = embeddings._encode

    def counted(texts, how):
        batches.append(list(texts))
        return own(texts, how)

    monkeypatch.setattr(embeddings, "_encode", counted)
    return batches


def test_another_embedder_gets_the_same_bits_from_the_file_without_the_model(tmp_path, asked, monkeypatch):
    file = tmp_path / "embeddings" / "vectors.sqlite"
    first = Embedder(file).embed(TEXTS)
    assert sum(map(len, asked)) == 5
    monkeypatch.setattr(embeddings, "_model", lambda how: pytest.fail("the model was loaded"))
    again = Embedder(file).embed(TEXTS[::-1])
    assert again[::-1].tobytes() == first.tobytes()


def test_only_texts_that_the_file_lacks_are_embedded(tmp_path, asked):
    file = tmp_path / "vectors.sqlite"
    Embedder(file).embed(TEXTS[:2])
    asked.clear()
    Embedder(file).embed(TEXTS)
    assert sorted(text for batch in asked for text in batch) == sorted(TEXTS[2:5])


def test_the_file_changes_no_vector(tmp_path):
    assert Embedder(tmp_path / "vectors.sqlite").embed(TEXTS).tobytes() == Embedder().embed(TEXTS).tobytes()


def test_batches_hold_texts_of_like_length(asked):
    texts = [f"{'word ' * n}{n}" for n in range(40, 0, -1)]
    Embedder().embed(texts)
    assert [text for batch in asked for text in batch] == texts[::-1]
    assert max(map(len, asked)) == embeddings._BATCH


def test_what_memory_cannot_hold_still_has_vectors(asked, monkeypatch):
    monkeypatch.setattr(embeddings, "_KEPT", 2)
    embedder = Embedder()
    one = embedder.embed(TEXTS)
    assert np.abs(embedder.embed(["A lease ends."])[0] - one[3]).max() < 1e-4
    assert embedder.embed(TEXTS).shape == (6, 384)


def test_the_name_of_the_vectors_follows_the_models_files(tmp_path, monkeypatch):
    (tmp_path / "1_Pooling").mkdir()
    pooling = tmp_path / "1_Pooling" / "config.json"
    monkeypatch.setattr(embeddings, "model_folder", lambda: tmp_path)
    names = set()
    for content in ("mean", "max"):
        pooling.write_text(content, encoding="utf-8")
        names.add(embeddings.vectors_name.__wrapped__(EmbeddedBy()))
    names |= {
        embeddings.vectors_name.__wrapped__(EmbeddedBy(*how)) for how in (("bf16", "cpu"), ("fp32", "cuda"))
    }
    assert len(names) == 4


def test_a_killed_computation_goes_on_where_it_was(tmp_path, asked, monkeypatch):
    monkeypatch.setattr(embeddings, "_SAVED", 2)
    file, texts = tmp_path / "vectors.sqlite", [f"Text number {n}." for n in range(7)]
    own = embeddings._encode

    def killed(batch, how):
        if len(asked) == 2:
            raise KeyboardInterrupt
        return own(batch, how)

    monkeypatch.setattr(embeddings, "_encode", killed)
    with pytest.raises(KeyboardInterrupt):
        Embedder(file).compute_missing(texts)
    monkeypatch.setattr(embeddings, "_encode", own)
    assert Embedder(file).compute_missing([*texts, texts[0]]) == 3  # two saves of two are kept
    assert Embedder(file).compute_missing(texts) == 0


def test_vectors_in_bf16_are_close_have_length_one_and_are_kept_apart(tmp_path):
    file = tmp_path / "vectors.sqlite"
    full, half = (Embedder(file, EmbeddedBy(precision)).embed(TEXTS) for precision in ("fp32", "bf16"))
    assert np.linalg.norm(half, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-3)
    assert not (full == half).all()
    assert np.abs(full @ full.T - half @ half.T).max() < 0.02
    assert (Embedder(file).embed(TEXTS) == full).all()


@pytest.mark.parametrize("file", [None, "vectors.sqlite"])
def test_blocks_are_the_whole(tmp_path, file):
    embedder = Embedder(tmp_path / file if file else None)
    blocks = list(embedder.blocks(TEXTS, 4))
    assert [block.shape for block in blocks] == [(4, 384), (2, 384)]
    whole = Embedder().embed(TEXTS)
    assert np.abs(np.concatenate(blocks) - whole).max() < 1e-4


def test_a_killed_embedding_goes_on_where_it_was(tmp_path, asked):
    file = tmp_path / "vectors.sqlite"
    texts = [f"River {n}" for n in range(1500)]
    run = f"""
from pathlib import Path
from arena_learning.pool.embeddings import EmbeddedBy, Embedder
Embedder(Path({str(file)!r})).compute_missing([f"River {{n}}" for n in range(1500)])
"""
    process = subprocess.Popen([sys.executable, "-c", run])
    store, until = VectorStore(file, embeddings.vectors_name(EmbeddedBy())), time.monotonic() + 200
    while len(store.missing(texts)) == 1500 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it had ended before it was killed"
    left = len(store.missing(texts))
    assert 0 < left < 1500
    assert Embedder(file).compute_missing(texts) == left == sum(map(len, asked))
    assert not store.missing(texts)
