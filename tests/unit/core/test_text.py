"""Words and sentences of any script: what is counted must not hang on how a script writes them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_learning.core.text import sentences, with_single_spaces, words
from arena_learning.schema.rubric import check_criterion, find_numbers, find_phrase, parse_criterion


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Müßige Grüße", ["müßige", "grüße"]),
        (unicodedata.normalize("NFD", "Müßige Grüße"), ["müßige", "grüße"]),
        ("多瑙河流经GPT-4。", ["多", "瑙", "河", "流", "经", "gpt", "4"]),
        ("ドナウ川", ["ド", "ナ", "ウ", "川"]),
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs are no letters to Python, and end no word
        ("شُكْرًا لك؟", ["شُكْرًا", "لك"]),
        ("می‌خواهم", ["می‌خواهم"]),  # a joiner that shows nothing stands inside
        ("น้ำดี", ["น้", "ำ", "ดี"]),  # a mark belongs to the letter before it
        ("한국어 문장", ["한국어", "문장"]),
        ("👩‍👩‍👧 🙂", []),
        ("", []),
    ],
)
def test_words_of_any_script(text, found):
    assert words(text) == found


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("它流入黑海。真的吗？是！", 3),
        ("「はい。」と言った。", 2),
        ("هل تعرف؟ نعم.", 2),
        ("वह नदी है। वह बड़ी है।", 2),
        ("One. Two! Three?", 3),
        ("3.5 km", 1),
    ],
)
def test_sentences_end_at_the_marks_of_their_script(text, count):
    assert len(sentences(text)) == count


def test_a_phrase_is_found_inside_a_script_without_spaces_and_whole_in_the_others():
    assert find_phrase(("多瑙河",), "它叫多瑙河，很长。")
    assert not find_phrase(("多瑙河",), "它叫多瑙江。")
    assert find_phrase(("नदी",), "यह नदी है")
    assert not find_phrase(
        ("नद",), "यह नदी है"
    )  # another word, though the same letters without its vowel sign
    assert find_phrase(("straße",), "In der STRASSE")
    assert find_phrase((unicodedata.normalize("NFD", "über"),), "ÜBER uns")


def test_numbers_and_lengths_are_read_where_no_space_stands_before_them():
    assert find_numbers("全长2850公里，第３名") == [2850, 3]
    assert find_numbers("٢٨٥٠ كم") == [2850]
    point = parse_criterion({"kind": "length", "min": 6, "max": 8, "weight": 1}, "here")
    assert check_criterion(point, "它流入黑海。真的").met == 1  # seven characters
    assert (
        check_criterion(point, "它流入黑海。" * 3).met < 1
    )  # fifteen: one word in all, were they counted by spaces


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0x24F), max_size=80))
def test_latin_text_is_left_as_it_is(text):
    assert with_single_spaces(text) == text


@given(st.text(max_size=60))
def test_any_text_is_cut_and_nothing_but_space_is_added(text):
    assert "".join(with_single_spaces(text).split()) == "".join(text.split())
    assert all(word and not word.isspace() for word in words(text))
    assert words(unicodedata.normalize("NFD", text)) == words(unicodedata.normalize("NFC", text))
