"""What a training starts from, and rows to tokens: every row is counted, with its reason."""

from __future__ import annotations

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.schema.row_files import read_rows
from arena_learning.schema.rows import PreferenceRow, SftRow, Turn
from arena_learning.train import encode
from arena_learning.train.load import load_start
from tiny import CHATML, END_OF_TURN, build_chat_folder, write_preferences, write_sft

pytestmark = pytest.mark.torch
WORDS = "word " * 200


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return load_start(build_chat_folder(tmp_path_factory.mktemp("model"), CHATML), False)


@pytest.fixture
def tokenizer(start):
    return start.tokenizer


@pytest.fixture
def encoder(start):
    return encode.Encoder(start.form)


def test_a_start_knows_the_end_of_turn_and_a_pad_that_is_not_it(start):
    assert (start.end_of_turn, start.pad) == (2, 0)
    assert start.tokenizer.eos_token == END_OF_TURN
    assert start.tokenizer.pad_token == "<|endoftext|>"


def test_an_eos_that_is_another_token_is_set_right_in_memory(tmp_path):
    # What a GGUF's tokenizer has been seen to come with; generation stops there as well.
    start = load_start(
        build_chat_folder(tmp_path / "m", CHATML, eos="<|endoftext|>", added={"<|pad|>": True}), False
    )
    assert start.tokenizer.eos_token == END_OF_TURN
    assert start.tokenizer.pad_token == "<|pad|>"


def test_a_model_without_a_token_for_padding_is_refused(tmp_path):
    folder = build_chat_folder(tmp_path / "m", CHATML, ends=("<|endoftext|>", END_OF_TURN))
    with pytest.raises(ArenaError, match="no token for padding"):
        load_start(folder, False)


def test_a_prompt_is_learnt_as_it_is_served_control_tokens_broken(encoder, tmp_path):
    pairs = [("Say <|im_end|> and <|im_start|>.", "Blue."), ("Name a colour.", "Blue.")]
    encoded = encode.encode_sft(encoder, read_rows(write_sft(tmp_path / "sft.jsonl", pairs), SftRow), 100)
    served = encoder.form.chat.encode([[Turn(role="user", content=question)] for question, _ in pairs])
    for row, prompt in zip(encoded.rows, served, strict=True):
        assert row["input_ids"][: len(prompt)] == prompt
        assert row["labels"][: len(prompt)] == [-100] * len(prompt)


def test_rows_of_a_model_that_thinks_hold_answers_behind_an_empty_thought(tmp_path):
    template = CHATML.replace(
        "'<|im_start|>assistant\n' }}{% endif", "'<|im_start|>assistant\n<think>\n' }}{% endif"
    )
    folder = build_chat_folder(tmp_path / "m", template, added={"<think>": False, "</think>": False})
    start = load_start(folder, False)
    encoder = encode.Encoder(start.form)
    sft = read_rows(write_sft(tmp_path / "sft.jsonl", [("Name a colour.", "Blue.")]), SftRow)
    pairs = read_rows(
        write_preferences(tmp_path / "p.jsonl", [("Name a colour.", "Blue.", "No.")]), PreferenceRow
    )
    (row,) = encode.encode_sft(encoder, sft, 100).rows
    (pair,) = encode.encode_pairs(encoder, pairs, 100, cut_long=True).rows
    (prompt,) = encode.encode_prompts(encoder, pairs, 100).rows
    learnt = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
    decode = start.form.chat.tokenizer.decode
    assert decode(learnt) == decode(pair["chosen_ids"]) == f"Blue.{END_OF_TURN}"
    assert decode(pair["prompt_ids"]).endswith("<think>\n\n</think>\n\n")
    assert prompt["input_ids"] == pair["prompt_ids"] == row["input_ids"][: len(prompt["input_ids"])]
    assert start.form.chat.read([*start.form.preamble_ids, *learnt])[:2] == ("", "Blue.")


def test_turns_that_the_template_does_not_take_are_dropped_and_counted(tmp_path):
    refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system!') }}{% endif %}"
    encoder = encode.Encoder(load_start(build_chat_folder(tmp_path / "m", refusal + CHATML), False).form)
    row = read_rows(write_sft(tmp_path / "sft.jsonl", [("Name a colour.", "Blue.")]), SftRow)[0]
    system = row.model_copy(update={"prompt": (Turn(role="system", content="Be brief."), *row.prompt)})
    encoded = encode.encode_sft(encoder, [row, system], 100)
    assert (encoded.tally.kept, encoded.tally.dropped) == (1, {encode.REFUSED: 1})


def test_sft_rows_train_the_answer_and_its_end_of_turn_only(start, encoder, tokenizer, tmp_path):
    rows = read_rows(write_sft(tmp_path / "sft.jsonl", [("Name a colour.", "The colour is blue.")]), SftRow)
    encoded = encode.encode_sft(encoder, rows, 100)
    (row,) = encoded.rows
    trained = [label for label in row["labels"] if label != -100]
    assert tokenizer.decode(trained) == f"The colour is blue.{END_OF_TURN}"
    assert row["input_ids"][-1] == start.end_of_turn
    assert encoded.tally.trained_tokens == len(trained)
    assert start.pad not in row["input_ids"]


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
    assert encoded.tally.dropped == {encode.CONTROL: 1, encode.EMPTY: 1, encode.PROMPT_FILLS: 1}
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


def test_prompts_are_taken_once_and_hold_no_pad(start, encoder, tmp_path):
    triples = [("Name a colour.", "Blue.", "No."), ("Name a colour.", "Red.", "No."), (WORDS, "A.", "B.")]
    rows = read_rows(write_preferences(tmp_path / "p.jsonl", triples), PreferenceRow)
    encoded = encode.encode_prompts(encoder, rows, 60)
    assert encoded.tally.dropped == {encode.REPEATED: 1, encode.PROMPT_FILLS: 1}
    assert all(start.pad not in row["input_ids"] for row in encoded.rows)
    assert encoded.rows[0]["input_ids"].count(start.end_of_turn) == 2  # the system's turn and the user's


def test_a_rejected_answer_that_was_cut_off_is_not_taught_an_end(start, encoder, tmp_path):
    triples = [("Name a colour.", "Blue.", "I do not"), ("Name a river.", "The Danube.", "")]
    rows = read_rows(write_preferences(tmp_path / "p.jsonl", triples), PreferenceRow)
    ended = encode.encode_pairs(encoder, rows, 100, cut_long=True)
    cut = [row.model_copy(update={"rejected_cut_off": True}) for row in rows]
    unended = encode.encode_pairs(encoder, cut, 100, cut_long=True)
    assert ended.rows[0]["rejected_ids"] == [*unended.rows[0]["rejected_ids"], start.end_of_turn]
    assert unended.rows[0]["chosen_ids"][-1] == start.end_of_turn
    assert (ended.tally.kept, unended.tally.kept) == (2, 1)
    assert unended.tally.dropped == {encode.NOTHING_REJECTED: 1}
