from __future__ import annotations

import numpy as np
import pytest

from arena_learning.pool import embeddings
from arena_learning.pool.embeddings import Embedder

pytestmark = pytest.mark.torch

TEXTS = ["The sky is blue.", "Blue is the sky.", "", "A lease ends.", "word " * 400, "The sky is blue."]


@pytest.fixture
def asked(monkeypatch):
    """The batches that the model was asked for."""
    batches = []
    own = embeddings._encode

    def counted(texts):
        batches.append(list(texts))
        return own(texts)

    monkeypatch.setattr(embeddings, "_encode", counted)
    return batches


def test_another_embedder_gets_the_same_bits_from_the_file_without_the_model(tmp_path, asked, monkeypatch):
    file = tmp_path / "embeddings" / "vectors.sqlite"
    first = Embedder(file).embed(TEXTS)
    assert sum(map(len, asked)) == 5
    monkeypatch.setattr(embeddings, "_model", lambda: pytest.fail("the model was loaded"))
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
        names.add(embeddings._vectors_name.__wrapped__())
    assert len(names) == 2


def test_a_killed_computation_goes_on_where_it_was(tmp_path, asked, monkeypatch):
    monkeypatch.setattr(embeddings, "_SAVED", 2)
    file, texts = tmp_path / "vectors.sqlite", [f"Text number {n}." for n in range(7)]
    own = embeddings._encode

    def killed(batch):
        if len(asked) == 2:
            raise KeyboardInterrupt
        return own(batch)

    monkeypatch.setattr(embeddings, "_encode", killed)
    with pytest.raises(KeyboardInterrupt):
        Embedder(file).compute_missing(texts)
    monkeypatch.setattr(embeddings, "_encode", own)
    assert Embedder(file).compute_missing([*texts, texts[0]]) == 3  # two saves of two are kept
    assert Embedder(file).compute_missing(texts) == 0


@pytest.mark.parametrize("file", [None, "vectors.sqlite"])
def test_blocks_are_the_whole(tmp_path, file):
    embedder = Embedder(tmp_path / file if file else None)
    blocks = list(embedder.blocks(TEXTS, 4))
    assert [block.shape for block in blocks] == [(4, 384), (2, 384)]
    whole = Embedder().embed(TEXTS)
    assert np.abs(np.concatenate(blocks) - whole).max() < 1e-4
