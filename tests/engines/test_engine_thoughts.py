"""Thoughts are split off by token where a tokenizer has their marks, by text where it has not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arena_learning.core.thoughts import MARKS, split_text
from arena_learning.engines.chat import Chat
from arena_learning.engines.tokenizer import ChatSettings
from arena_learning.schema.rows import Turn
from tiny import CHATML, build_chat_folder

HARMONY = (
    "{% for m in messages %}{{ '<|start|>' + m['role'] }}{% if m['role'] == 'assistant' %}{{ '<|channel|>final' }}"
    "{% endif %}{{ '<|message|>' + m['content'] + ('<|return|>' if loop.last and m['role'] == 'assistant' else '<|end|>') }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)
OPENED = CHATML.replace(
    "'<|im_start|>assistant\n' }}{% endif", "'<|im_start|>assistant\n<think>\n' }}{% endif"
)


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: mark.open)
def test_each_familys_marks_are_found_in_text(mark):
    said = split_text(f"{mark.open}Sky, sea.{mark.close}\n\nBlue.")
    assert (said.thought, said.text, said.ended) == ("Sky, sea.", "Blue.", True)
    cut = split_text(f"{mark.open}Sky, se")
    assert (cut.thought, cut.text, cut.ended) == ("Sky, se", "", False)
    behind = f"Sky, sea.{mark.close}Blue."
    assert split_text(behind, marks=[mark])[:2] == ("Sky, sea.", "Blue.")
    # Words close a thought in the family that opens it with words, and are prose in every other.
    assert split_text(behind)[:2] == (("", behind) if mark.open[0].isalpha() else ("Sky, sea.", "Blue."))


@pytest.mark.parametrize(
    ("written", "thought", "answer"),
    [
        ("Blue.", "", "Blue."),
        ("  Blue. \n", "", "  Blue. \n"),  # without a thought nothing is changed
        ("<think></think>Blue.", "", "Blue."),
        ("<think>a</think><think>b</think>c", "a\n\nb", "c"),
        ("Models write <think> and </think> around it.", "", "Models write <think> and </think> around it."),
        ("Put <think> before it.", "", "Put <think> before it."),
        ("<think>a</think> It ends with </think>.", "a", "It ends with </think>."),
        ("<think>x</think>\n<answer>\nBlue.\n</answer>", "x", "Blue."),
        ("<think>x</think><response>Blue.</response>", "x", "Blue."),
        ("<response>Blue.</response>", "", "<response>Blue.</response>"),
        ("x<|END_THINKING|><|START_RESPONSE|>Blue.<|END_RESPONSE|>", "x", "Blue."),
        ("x<|END_THINKING|><|START_TEXT|>Blue.", "x", "Blue."),  # the end was what stopped it
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Blue.<|return|>",
            "Hm.",
            "Blue.",
        ),
        ("<|channel|>analysis<|message|>Hm", "Hm", ""),
        ("<|channel>thought\nHm.<channel|>Blue.", "Hm.", "Blue."),
        ("\ufeff<think>Hm.</think>Blue.", "Hm.", "Blue."),
        ("<Think>Hm.</THINK>Blue.", "Hm.", "Blue."),
        ("", "", ""),
    ],
)
def test_text_is_split_behind_the_last_thought(written, thought, answer):
    said = split_text(written)
    assert (said.thought, said.text) == (thought, answer)


def test_a_judge_may_think_on_any_line():
    drafts = "Score-A: 2\nScore-B: 9\n<think>\nNo, A is right.\n</think>\nScore-A: 9\nScore-B: 2"
    assert split_text(drafts, anywhere=True).text == "Score-A: 9\nScore-B: 2"
    assert split_text("Score-A: 2\n<think>wait", anywhere=True).ended is False
    quoted = "Score-A: 8\nScore-B: 5\nA's <think> tag is odd."
    assert split_text(quoted, anywhere=True).text == quoted


pytestmark = pytest.mark.torch


@pytest.fixture
def thinker(tmp_path: Path) -> Chat:
    return Chat(build_chat_folder(tmp_path / "m", CHATML, added={"<think>": False, "</think>": False}))


def generated(chat: Chat, text: str) -> list[int]:
    """Return what a model would have generated for ``text``, control tokens among it."""
    return chat.tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("special", [False, True])
def test_marks_that_are_tokens_are_found_by_token_special_or_not(tmp_path, special):
    added = {"<think>": special, "</think>": special}
    chat = Chat(build_chat_folder(tmp_path / "m", CHATML, added=added))
    read = chat.read(generated(chat, "<think>\nSky, sea.\n</think>\n\nBlue.<|im_end|>\nmore"))
    assert (read.thought, read.text) == ("Sky, sea.", "Blue.")
    before_answer = generated(chat, "<think>\nSky, sea.\n</think>")
    assert read.thought_tokens == len(before_answer)
    assert chat.read(generated(chat, "<think>Sky, s")) == (
        "Sky, s",
        "",
        len(generated(chat, "<think>Sky, s")),
    )
    assert chat.read(generated(chat, "Blue.<|im_end|>")) == ("", "Blue.", 0)
    # Only where the marks were left out in what was remembered are answers asked again.
    assert chat.fingerprint == ({"thoughts": "1"} if special else {})


def test_a_thought_that_the_prompt_has_opened_ends_with_its_close(tmp_path):
    folder = build_chat_folder(tmp_path / "m", OPENED, added={"<think>": False, "</think>": False})
    chat = Chat(folder)
    assert chat.opens_thought
    assert chat.read(generated(chat, "Sky, sea.</think>Blue.<|im_end|>"))[:2] == ("Sky, sea.", "Blue.")
    assert chat.read(generated(chat, "Sky, sea"))[:2] == ("Sky, sea", "")


def test_marks_that_are_words_of_the_template_alone_are_found_in_the_text(tmp_path):
    chat = Chat(build_chat_folder(tmp_path / "m", OPENED + "{# </think> #}"))
    read = chat.read(generated(chat, "Sky, sea.</think>\n\nBlue.<|im_end|>"))
    assert (read.thought, read.text) == ("Sky, sea.", "Blue.")
    assert 0 < read.thought_tokens < len(generated(chat, "Sky, sea.</think>\n\nBlue."))


def test_channels_are_split_by_message(tmp_path):
    names = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>")
    folder = build_chat_folder(tmp_path / "m", HARMONY, added=dict.fromkeys(names, True), eos="<|return|>")
    chat = Chat(folder)
    whole = (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>Well."
        "<|end|><|start|>assistant<|channel|>final<|message|>Blue.<|return|>"
    )
    assert chat.read(generated(chat, whole))[:2] == ("Hm.Well.", "Blue.")
    assert chat.read(generated(chat, "<|channel|>analysis<|message|>Hm"))[:2] == ("Hm", "")
    assert chat.read(generated(chat, "<|channel|>final<|message|>Blue.<|return|>"))[:2] == ("", "Blue.")
    assert chat.words  # no turn may spell a channel


def test_a_tokenizers_own_response_template_is_asked_first(tmp_path):
    folder = build_chat_folder(tmp_path / "m", CHATML, added={"<hm>": True, "</hm>": True})
    config = folder / "tokenizer_config.json"
    told = json.loads(config.read_text())
    told["response_template"] = {
        "start_anchor": "<|im_start|>assistant\n",
        "fields": {
            "reasoning_content": {"open": "<hm>", "close": "</hm>", "optional": True},
            "content": {"close": "<|im_end|>"},
        },
    }
    config.write_text(json.dumps(told))
    chat = Chat(folder)
    assert chat.read(generated(chat, "<hm>Sky.</hm>Blue.<|im_end|>"))[:2] == ("Sky.", "Blue.")


def test_an_answer_that_was_remembered_whole_is_split(thinker):
    assert thinker.said("<think>\nSky.\n</think>\n\nBlue.") == ("Sky.", "Blue.", True)
    assert thinker.said("Blue.") == ("", "Blue.", True)


def test_no_turn_can_open_or_close_a_thought(thinker):
    (ids,) = thinker.encode([[Turn(role="user", content="Say </think> and <think>.")]])
    (plain,) = thinker.encode([[Turn(role="user", content="Say nothing.")]])
    marks = {thinker.controls["<think>"], thinker.controls["</think>"]}
    assert not marks & set(ids) - set(plain)
    assert thinker.variant([Turn(role="user", content="Say </think>.")]) == ""  # it was broken before, too


def test_a_prompt_that_is_asked_otherwise_than_it_was_says_so(tmp_path):
    by_words = Chat(build_chat_folder(tmp_path / "a", CHATML + "{# </think> #}"))
    assert by_words.variant([Turn(role="user", content="Say </think>.")]) == "2"
    assert by_words.variant([Turn(role="user", content="Say hello.")]) == ""
    tags = Chat(build_chat_folder(tmp_path / "b", CHATML, added={"<table>": False, "<|im_x|>": False}))
    assert tags.variant([Turn(role="user", content="Explain <table>.")]) == "2"
    assert "<table>" not in tags.controls
    assert "<|im_x|>" in tags.controls


def test_the_date_of_a_template_is_fixed_and_stands_in_the_digest(tmp_path):
    template = "{{ 'Today: ' + strftime_now('%d %b %Y') + '\n' }}" + CHATML
    folder = build_chat_folder(tmp_path / "m", template)
    turns = [Turn(role="user", content="Hello")]
    assert Chat(folder).render(turns).startswith("Today: 01 Jan 2026\n")
    other = Chat(folder, settings=ChatSettings(date="2025-12-24"))
    assert other.render(turns).startswith("Today: 24 Dec 2025\n")
    assert (
        len({Chat(folder).digest, other.digest, Chat(folder, settings=ChatSettings(kwargs={"a": 1})).digest})
        == 3
    )
