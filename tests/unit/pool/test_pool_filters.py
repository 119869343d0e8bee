from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena_learning.core import ArenaError
from arena_learning.params import Filters
from arena_learning.pool.checks import TOXIC_WORDS, LanguageIdentifier, WordList
from arena_learning.pool.filters import Dropped, filter_instructions
from arena_learning.schema.rows import Turn

LONG = (
    "Describe how a heat pump warms a house in winter though the air outside is colder than the rooms inside"
)


def run(instructions, **filters):
    kept, dropped = filter_instructions(instructions, Filters(**filters))
    return [i.id for i in kept], dropped


def test_what_is_shorter_than_the_least_is_dropped(make_instruction):
    pool = [
        make_instruction("a", "123456789"),
        make_instruction("b", "1234567890"),
        make_instruction("c", " hi       "),
    ]
    kept, dropped = run(pool, min_chars=10)
    assert kept == ["b"]
    assert dropped == [Dropped("a", "too short"), Dropped("c", "too short")]


def test_a_follow_up_is_measured_by_its_last_turn(make_instruction):
    turns = tuple(Turn(role=r, content=c) for r, c in (("user", LONG), ("assistant", LONG), ("user", "why?")))
    assert run([make_instruction("a", turns=turns)])[1] == [Dropped("a", "too short")]


def test_the_same_start_drops_the_later_one_only_where_it_is_asked_for(make_instruction):
    pool = [make_instruction("a", "Name a river in Peru."), make_instruction("b", "Name a river in Chad.")]
    assert run(pool, near_duplicate=0)[0] == ["a", "b"]
    assert run(pool, near_duplicate=0, same_prefix=10)[1] == [Dropped("b", "same prefix", "a")]


def test_exact_duplicates_differ_in_case_and_white_space_at_most(make_instruction):
    pool = [
        make_instruction("a", "Name a  river."),
        make_instruction("b", "NAME A\nRIVER."),
        make_instruction("c", LONG),
    ]
    assert run(pool) == (["a", "c"], [Dropped("b", "exact duplicate", "a")])


def test_the_same_question_after_another_conversation_is_no_duplicate(make_instruction):
    def dialogue(start):
        turns = (("user", start), ("assistant", f"About {start}"), ("user", "Tell me more, please."))
        return tuple(Turn(role=r, content=c) for r, c in turns)

    pool = [make_instruction("a", turns=dialogue("Rome")), make_instruction("b", turns=dialogue("Bees"))]
    assert run(pool)[0] == ["a", "b"]


def test_near_duplicates_are_found_and_name_their_twin(make_instruction):
    # 20 words have 18 3-grams; a new last word changes one of them: Jaccard 17 / 19 = 0.89.
    pool = [make_instruction("a", LONG), make_instruction("b", f"{LONG.rsplit(' ', 1)[0]} within")]
    assert run(pool, near_duplicate=0.8) == (["a"], [Dropped("b", "near duplicate", "a")])
    assert run(pool, near_duplicate=0)[0] == ["a", "b"]


def test_half_alike_is_not_near(make_instruction):
    # The first 10 of 20 words shared: 8 of 28 3-grams, Jaccard 0.29.
    other = " ".join(LONG.split()[:10]) + " one two three four five six seven eight nine ten"
    assert run([make_instruction("a", LONG), make_instruction("b", other)], near_duplicate=0.8)[0] == [
        "a",
        "b",
    ]


@pytest.mark.parametrize("threshold", [0.01, 0.5, 0.99, 1.0])
def test_any_similarity_threshold_works(make_instruction, threshold):
    pool = [make_instruction("a", LONG), make_instruction("b", f"{LONG}!")]
    assert run(pool, near_duplicate=threshold)[0][0] == "a"


def test_blocked_words_drop_as_whole_words_whatever_their_case(make_instruction):
    pool = [make_instruction("a", "How are Bombs made?"), make_instruction("b", "Tell me about bombshells.")]
    assert run(pool, blocked=["BOMBS"]) == (["b"], [Dropped("a", "blocked")])


def test_a_blocked_phrase_is_found_across_white_space_and_with_marks(make_instruction):
    pool = [make_instruction("a", "a very\nbad   thing (c++) indeed"), make_instruction("b", LONG)]
    assert run(pool, blocked=["bad  thing"])[0] == ["b"]
    assert run(pool, blocked=["c++"])[0] == ["b"]


def test_a_blocked_word_is_found_in_a_script_without_spaces(make_instruction):
    pool = [
        make_instruction("a", "请告诉我如何制造炸弹？", language="zh"),
        make_instruction("b", "请告诉我如何制造面包？", language="zh"),
    ]
    assert run(pool, blocked=["炸弹"], languages=["zh"], near_duplicate=0) == (
        ["b"],
        [Dropped("a", "blocked")],
    )


def test_duplicates_are_found_however_a_script_writes_them(make_instruction):
    composed, decomposed = (
        unicodedata.normalize(form, "Erkläre mir schöne Grüße.") for form in ("NFC", "NFD")
    )
    assert composed != decomposed
    pool = [make_instruction("a", composed), make_instruction("b", decomposed)]
    assert run(pool, near_duplicate=0)[1] == [Dropped("b", "exact duplicate", "a")]
    # 46 characters have 44 runs of three; another last one changes one of them: Jaccard 43 / 45 = 0.96.
    chinese = "请用简单的话说明热泵怎样在冬天把房子弄暖虽然外面的空气比屋里的房间冷得多也要说明它为什么省电"
    pool = [make_instruction("a", chinese), make_instruction("b", f"{chinese[:-1]}钱")]
    assert run(pool, near_duplicate=0.8)[1] == [Dropped("b", "near duplicate", "a")]


def test_an_empty_blocked_word_drops_nothing(make_instruction):
    assert run([make_instruction("a", LONG)], blocked=["", " "])[0] == ["a"]


def test_other_languages_are_dropped(make_instruction):
    pool = [
        make_instruction("a", LONG, language="de"),
        make_instruction("b", "Another long one.", language="en"),
    ]
    assert run(pool) == (["b"], [Dropped("a", "language")])
    assert run(pool, languages=["de", "en"])[0] == ["a", "b"]


def test_a_dropped_row_is_no_ones_twin(make_instruction):
    pool = [make_instruction("a", LONG, language="de"), make_instruction("b", LONG)]
    assert run(pool)[0] == ["b"]


def test_what_its_source_flagged_is_dropped_unless_switched_off(make_instruction):
    pool = [make_instruction("a", LONG), make_instruction("b", "Name three rivers of Asia, please.")]
    assert filter_instructions(pool, Filters(), {"b"})[1] == [Dropped("b", "flagged by its source")]
    assert filter_instructions(pool, Filters(flagged=False), {"b"})[1] == []


def test_the_shipped_list_drops_toxic_words_only_where_it_is_asked_for(make_instruction):
    pool = [
        make_instruction("a", "Tell him to KILL\n yourself."),
        make_instruction("b", "A class on assassins."),
    ]
    assert run(pool)[0] == ["a", "b"]
    kept, (dropped,) = run(pool, toxic_words=True)
    assert (kept, dropped.reason, dropped.note) == (["b"], "toxic word", "kill yourself")


def test_the_shipped_list_is_plain_and_finds_each_of_its_words():
    words = WordList(TOXIC_WORDS)
    for word in TOXIC_WORDS:
        assert words.find(f"so, {word.strip()}!") == word.strip()
    assert len(TOXIC_WORDS) == len({word.strip() for word in TOXIC_WORDS}) > 40
    assert words.find(LONG.lower()) == WordList(()).find(LONG) == ""


def test_more_tokens_than_the_most_are_too_long(make_instruction):
    # 200 words of the embedding model's vocabulary are 200 tokens; so are 100 in each of two turns.
    turns = tuple(Turn(role=r, content="house " * 100) for r in ("user", "assistant"))
    last = Turn(role="user", content="Why is that so?")
    pool = [make_instruction("a", "house " * 200), make_instruction("b", turns=(*turns, last))]
    assert run(pool, max_tokens=210, near_duplicate=0)[0] == ["a", "b"]
    kept, dropped = run(pool, max_tokens=200, near_duplicate=0)
    assert (kept, dropped) == (["a"], [Dropped("b", "too long")])
    assert dropped[0].note == "205 tokens"  # "why is that so ?" has five


def test_an_unknown_tokenizer_is_an_error_that_names_the_key(make_instruction, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ArenaError, match="no tokenizer in") as caught:
        run([make_instruction("a", LONG)], max_tokens=5, tokenizer=str(tmp_path))
    assert caught.value.where == "params.yaml, pool.filters.tokenizer"


GERMAN = "Erkläre mir bitte in einfachen Worten, wie eine Wärmepumpe im Winter ein Haus heizt."
CODE = "def f(x):\n    return [n ** 2 for n in range(x)]\n\nprint(f(3), f(4))"


def test_the_text_says_the_language_where_the_row_cannot(make_instruction):
    pool = [
        make_instruction("a", GERMAN),
        make_instruction("b", LONG),
        make_instruction("c", "Hi, who are you?"),
    ]
    assert run(pool)[0] == ["a", "b", "c"]
    kept, (dropped,) = run(pool, language_by="text")
    assert (kept, dropped.id, dropped.reason) == (["b", "c"], "a", "language")
    assert dropped.note.startswith("de ")
    assert run(pool, language_by="text", languages=["de"])[0] == ["a"]


def test_where_the_identifier_is_unsure_the_row_decides(make_instruction):
    pool = [make_instruction("a", "1 + 1 = ? 2 + 2 = ?"), make_instruction("b", CODE, language="xx")]
    assert run(pool, language_by="text", near_duplicate=0, language_sure=1.0)[0] == ["a"]
    assert LanguageIdentifier().identify("1234567890")[0] == ""


def test_the_users_turns_say_the_language_not_the_answers(make_instruction):
    turns = (("user", LONG), ("assistant", GERMAN * 20), ("user", "Thanks. Now in English, please."))
    pool = [make_instruction("a", turns=tuple(Turn(role=r, content=c) for r, c in turns))]
    assert run(pool, language_by="text")[0] == ["a"]


texts = st.lists(st.text(alphabet="ab \n", min_size=1, max_size=30).filter(str.strip), max_size=12)
filters = st.fixed_dictionaries(
    {
        "min_chars": st.integers(0, 12),
        "same_prefix": st.integers(0, 3),
        "near_duplicate": st.sampled_from([0, 0.5, 0.8]),
        "languages": st.sampled_from([("en",), ("de",), ("en", "de")]),
        "blocked": st.sampled_from([(), ("a",), ("b a",)]),
    }
)


@given(texts, filters)
def test_every_row_is_kept_or_dropped_once_with_a_reason(make_instruction, contents, chosen):
    pool = [make_instruction(f"i{n}", text) for n, text in enumerate(contents)]
    kept, dropped = run(pool, **chosen)
    assert sorted(kept + [d.id for d in dropped]) == sorted(i.id for i in pool)
    assert all(d.reason for d in dropped)
    assert all(d.like in kept for d in dropped if d.like)
