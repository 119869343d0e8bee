from __future__ import annotations

import pytest

from arena_learning.judge.text_quality import drawn_share, function_word_share, jumble, overlap, repetition

PROSE = (
    "The kitchen tap in my flat has been dripping since Sunday. A bucket under it fills overnight, so a fair "
    "amount of water is going to waste. Could you please send someone from the workshop this week?"
)


def test_a_loop_repeats_itself_and_prose_does_not():
    assert repetition(PROSE) == 0
    # 12 words have 9 runs of four; "a b c a" "b c a b" "c a b c" are the only different ones: 1 - 3 / 9
    assert repetition("a b c " * 4) == pytest.approx(2 / 3)
    assert repetition("too short to say") == 0


def test_prose_has_its_share_of_function_words_and_lists_have_none():
    assert 0.3 < function_word_share(PROSE) < 0.6
    assert function_word_share("tap, kitchen, bucket, landlord") == 0
    assert function_word_share("Der Wasserhahn tropft seit Sonntag.") == 0
    assert function_word_share("") == 0


def test_copied_runs_are_counted_by_their_words():
    # 5 of 8 words stand in a run of five that the source has
    assert overlap("one two three four five x y z", ["zero one two three four five six"]) == 5 / 8
    assert overlap("five four three two one", ["one two three four five"]) == 0
    assert overlap("one two three", ["one two three"]) == 0


def test_words_out_of_order_are_seen():
    assert jumble(PROSE) == 0
    assert jumble("of the is my and the to bucket. water an or from are going") > 0.5
    assert jumble(" ".join(sorted(PROSE.lower().split()))) > 0.1
    assert jumble("The is a tap.") == 0  # one place says nothing


def test_a_sentence_that_starts_in_lower_case_is_out_of_order():
    assert jumble("Water runs. the tap drips. fills Bucket. my Flat.") > 0.4
    assert jumble("Take e.g. this one. See p. 4, approx. ten. It is 3.5 km.") == 0


def test_words_drawn_from_a_source_are_counted_in_any_order():
    source = "photograph* tides ebb moon pulls water sea"
    assert drawn_share("The moon and the sea and the tides and photographs and water", source) == 1
    assert drawn_share("moon sea", source) == 0  # too few to say
    # of seven content words (moon, far, every, sea, village, garden, island) two are the source's
    assert drawn_share("The moon is far from every sea, village, garden, island", source) == pytest.approx(
        2 / 7
    )
