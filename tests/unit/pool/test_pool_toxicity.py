"""A classifier of toxicity: a tiny BERT, trained here, saved as safetensors and loaded as a user's would be."""

from __future__ import annotations

import pytest

from arena_learning.core import ArenaError
from arena_learning.params import Filters
from arena_learning.pool.checks import toxic_scores
from arena_learning.pool.filters import filter_instructions

pytestmark = pytest.mark.torch

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "kind", "vile", "words"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A classifier with the labels harmless and toxic, trained to tell "kind" from "vile"."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("classifier")
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label={0: "harmless", 1: "Toxic"},
        label2id={"harmless": 0, "Toxic": 1},
    )
    model = BertForSequenceClassification(config)
    labels = torch.tensor([0, 1] * 8)
    texts = torch.tensor([[5 + int(label), *([7] * 50)] for label in labels])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        model(input_ids=texts, labels=labels).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    return folder


def test_scores_are_those_of_the_named_label_in_the_order_of_the_texts(classifier):
    more = "words " * 50
    texts = [f"vile {more}", f"kind {more}" + more, f"Vile {more}", f"kind {more}"]
    scores = toxic_scores(texts, str(classifier), ["toxic"])
    assert [score > 0.9 for score in scores] == [True, False, True, False]
    other = toxic_scores(texts, str(classifier), ["harmless"])
    assert [a + b for a, b in zip(scores, other, strict=True)] == pytest.approx([1.0] * 4, abs=1e-5)


def test_it_drops_from_the_pool_with_its_probability(classifier, make_instruction):
    pool = [make_instruction(word, f"{word} {'words ' * 50}") for word in ("kind", "vile")]
    filters = Filters(toxic_model=str(classifier), near_duplicate=0)
    kept, (dropped,) = filter_instructions(pool, filters)
    assert [i.id for i in kept] == ["kind"]
    assert (dropped.id, dropped.reason) == ("vile", "toxic by the classifier")
    assert 0.5 <= float(dropped.note) <= 1


def test_a_label_that_the_classifier_lacks_names_those_it_has(classifier):
    with pytest.raises(ArenaError, match="has no label 'hate'") as caught:
        toxic_scores(["x"], str(classifier), ["hate"])
    assert "harmless, toxic" in caught.value.hint


def test_a_folder_without_a_model_is_an_error(tmp_path):
    with pytest.raises(ArenaError, match="cannot be loaded"):
        toxic_scores(["x"], str(tmp_path), ["toxic"])
