"""The chat template's check, and rows to tokens: every row is counted, with its reason."""

from __future__ import annotations

import pytest

from arena_learning.errors import ArenaError
from arena_learning.rows import PreferenceRow, SftRow, read_rows
from arena_learning.train import encode
from arena_learning.train.template import check_template
from tiny import CHATML, END_OF_TURN, build_tiny_tokenizer, write_preferences, write_sft

pytestmark = pytest.mark.torch
WORDS = "word " * 200


@pytest.fixture
def tokenizer():
    return build_tiny_tokenizer()


@pytest.fixture
def encoder(tokenizer):
    return encode.Encoder(tokenizer, check_template(tokenizer, {2}, "model"))


def test_check_finds_the_end_of_turn_and_a_pad_that_is_not_it(tokenizer):
    chat = check_template(tokenizer, {2}, "model")
    assert (chat.end_of_turn, chat.pad) == (2, 0)
    assert tokenizer.eos_token == END_OF_TURN
    assert tokenizer.pad_token == "<|endoftext|>"


def test_check_mends_a_tokenizer_whose_eos_is_another_token_in_memory(tokenizer):
    tokenizer.eos_token = "<|im_start|>"  # what a GGUF's tokenizer has been seen to come with
    check_template(tokenizer, {2}, "model")
    assert tokenizer.eos_token == END_OF_TURN


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            CHATML.replace("message['content'] + '<|im_end|>'", "message['content']"),
            "exactly one end-of-turn",
        ),
        (CHATML.replace("+ '<|im_end|>' +", "+ '<|im_end|><|im_end|>' +"), "exactly one end-of-turn"),
        (CHATML.replace("'<|im_end|>' + '\n'", "'<|im_end|>' + '\nbye'"), "exactly one end-of-turn"),
        (
            CHATML.replace("'<|im_start|>assistant\n' }}{% endif", "'<|im_start|>bot\n' }}{% endif"),
            "not the start",
        ),
        ("", "no chat template"),
    ],
)
def test_check_refuses_a_template_that_never_or_wrongly_ends_a_turn(template, message):
    with pytest.raises(ArenaError, match=message):
        check_template(build_tiny_tokenizer(template), {2}, "model")


def test_check_refuses_an_end_of_turn_that_generation_does_not_stop_at(tokenizer):
    with pytest.raises(ArenaError, match="generation stops at"):
        check_template(tokenizer, {0}, "model")


def test_check_refuses_a_model_without_a_token_for_padding(tokenizer):
    with pytest.raises(ArenaError, match="free for padding"):
        check_template(tokenizer, {0, 2}, "model")


def test_sft_rows_train_the_answer_and_its_end_of_turn_only(encoder, tokenizer, tmp_path):
    rows = read_rows(write_sft(tmp_path / "sft.jsonl", [("Name a colour.", "The colour is blue.")]), SftRow)
    encoded = encode.encode_sft(encoder, rows, 100)
    (row,) = encoded.rows
    trained = [label for label in row["labels"] if label != -100]
    assert tokenizer.decode(trained) == f"The colour is blue.{END_OF_TURN}"
    assert row["input_ids"][-1] == encoder.chat.end_of_turn
    assert encoded.tally.trained_tokens == len(trained)
    assert encoder.chat.pad not in row["input_ids"]


def test_sft_rows_are_dropped_and_cut_with_a_count(encoder, tmp_path):
    pairs = [
        ("Name a colour.", "Blue."),
        (WORDS, "Blue."),  # the prompt alone fills the length
        ("Name a river.", WORDS),  # cut
        ("Name a planet.", f"Mars.{END_OF_TURN} and more"),
        ("Name a pad <|endoftext|>.", "None."),
        ("Name nothing.", "  "),
    ]
    encoded = encode.encode_sft(encoder, read_rows(write_sft(tmp_path / "sft.jsonl", pairs), SftRow), 100)
    assert encoded.tally.dropped == {encode.CONTROL: 2, encode.EMPTY: 1, encode.PROMPT_FILLS: 1}
    assert encoded.tally.cut == {encode.TOO_LONG: 1}
    assert encoded.tally.kept + sum(encoded.tally.dropped.values()) == encoded.tally.given == 6
    assert max(len(row["input_ids"]) for row in encoded.rows) == 100


def test_pairs_over_the_length_are_cut_for_dpo_and_dropped_for_a_reward_model(encoder, tmp_path):
    triples = [("Name a colour.", "Blue.", "No."), ("Name a river.", "The Danube.", WORDS)]
    rows = read_rows(write_preferences(tmp_path / "p.jsonl", triples), PreferenceRow)
    cut = encode.encode_pairs(encoder, rows, 100, cut_long=True)
    assert (cut.tally.kept, cut.tally.cut, cut.tally.dropped) == (2, {encode.TOO_LONG: 1}, {})
    dropped = encode.encode_pairs(encoder, rows, 100, cut_long=False)
    assert (dropped.tally.kept, dropped.tally.cut, dropped.tally.dropped) == (1, {}, {encode.TOO_LONG: 1})


def test_prompts_are_taken_once_and_hold_no_pad(encoder, tmp_path):
    triples = [("Name a colour.", "Blue.", "No."), ("Name a colour.", "Red.", "No."), (WORDS, "A.", "B.")]
    rows = read_rows(write_preferences(tmp_path / "p.jsonl", triples), PreferenceRow)
    encoded = encode.encode_prompts(encoder, rows, 60)
    assert encoded.tally.dropped == {encode.REPEATED: 1, encode.PROMPT_FILLS: 1}
    assert all(encoder.chat.pad not in row["input_ids"] for row in encoded.rows)
    assert (
        encoded.rows[0]["input_ids"].count(encoder.chat.end_of_turn) == 2
    )  # the system's turn and the user's
