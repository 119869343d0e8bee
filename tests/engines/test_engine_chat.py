from __future__ import annotations

import shutil

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.engines.answer_reader import ReadAnswer
from arena_learning.engines.base import Refused
from arena_learning.engines.chat import Chat, share_seconds, with_system
from arena_learning.engines.tokenizer import ChatSettings, break_control_tokens, control_tokens
from arena_learning.testing.engine_suite import CONTROL, CONVERSATIONS, MULTI_TURN, PLAIN, SYSTEM, ask
from tiny import CHATML, build_chat_folder

pytestmark = pytest.mark.torch
WORDS = ("<|im_end|>", "<|im_start|>", "<s>", "[INST]", "x")


@pytest.fixture(scope="module")
def chat(tiny_model):
    return Chat(tiny_model)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("<|im_end|>", "< |im_end|>"),
        ("a<|im_end|><|im_start|>b", "a< |im_end|>< |im_start|>b"),
        ("<<s>s> [INST]", "<< s>s> [ INST]"),
        ("< |im_end|> <im_end> x", "< |im_end|> <im_end> x"),
        ("", ""),
    ],
)
def test_neutralise_breaks_special_tokens_and_nothing_else(text, safe):
    assert break_control_tokens(text, WORDS) == safe
    assert break_control_tokens(safe, WORDS) == safe


def test_neutralise_without_special_tokens_is_the_identity():
    assert break_control_tokens("<s>", ()) == "<s>"


def test_control_tokens_come_from_the_template_alone(chat):
    controls = set(control_tokens(chat.tokenizer).values())
    plain, hostile = chat.encode([ask("Say hello."), CONTROL])
    assert [t for t in hostile if t in controls] == [t for t in plain if t in controls]


def test_ids_are_those_of_the_tokenizers_own_template(chat):
    for turns in (PLAIN[0], SYSTEM, MULTI_TURN):
        messages = [turn.model_dump() for turn in turns]
        own = chat.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert chat.encode([turns]) == [own]


def test_what_a_turn_says_of_control_tokens_is_tokenized_as_text(tmp_path):
    """transformers 5.24 can mark control tokens with two characters of private use: here nothing marks or drops any."""
    chat = Chat(
        build_chat_folder(tmp_path / "m", CHATML + "{{ note }}"),
        settings=ChatSettings(kwargs={"note": "<|im_end|>"}),
    )
    said = "a<|im_end|>\U000f0000<|im_end|>\U000f0001b"
    text = (
        "<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n"
        "<|im_start|>user\na< |im_end|>\U000f0000< |im_end|>\U000f0001b<|im_end|>\n<|im_start|>assistant\n"
        "<|im_end|>"  # a variable of the template is the user's own parameter, and is not broken
    )
    assert chat.render(ask(said)) == text
    (ids,) = chat.encode([ask(said)])
    assert ids == chat.tokenizer(text, add_special_tokens=False)["input_ids"]
    end = chat.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert ids.count(end) == 3  # of the system turn, of the user's turn, and the variable
    assert chat.tokenizer.decode(ids) == text


def test_decode_gives_back_what_was_encoded(chat):
    for turns in CONVERSATIONS:
        text = turns[-1].content
        if text != CONTROL[0].content:
            assert chat.decode(chat.tokenizer.encode(text, add_special_tokens=False)) == text


def test_answers_stop_at_the_templates_end_of_turn(chat, tiny_model, tmp_path):
    assert chat.stop_ids == [2]
    other = shutil.copytree(tiny_model, tmp_path / "other")
    template = other / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|im_end|>", "<|endoftext|>"))
    assert Chat(other).stop_ids == [0, 2]
    assert Chat(other).digest != chat.digest


def test_a_folder_without_a_template_is_refused(tiny_model, tmp_path):
    bare = shutil.copytree(tiny_model, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(ArenaError, match="no chat template"):
        Chat(bare)


def test_a_template_that_takes_no_system_turn_is_an_error_that_says_so(tiny_model, tmp_path):
    strict = shutil.copytree(tiny_model, tmp_path / "strict")
    template = strict / "chat_template.jinja"
    refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system!') }}{% endif %}"
    template.write_text(refusal + template.read_text())
    chat = Chat(strict, system="Be brief.")
    with pytest.raises(ArenaError, match="refuses turns of system, user: no system!"):
        chat.encode([PLAIN[0]])
    (refused,) = chat.prompts([PLAIN[0]])
    assert refused == Refused("the chat template refuses turns of system, user: no system!")


def test_a_system_prompt_stands_before_conversations_that_have_none():
    assert [t.content for t in with_system(ask("Hi"), "Be brief.")] == ["Be brief.", "Hi"]
    assert with_system(SYSTEM, "Be brief.") == SYSTEM
    assert with_system(ask("Hi"), "") == ask("Hi")


def test_seconds_are_shared_out_by_tokens():
    # 10 seconds over (10 + 20) and (5 + 15) tokens: 6 and 4.
    shared = share_seconds(
        [ReadAnswer("", "a", 0), ReadAnswer("hm", "b", 3)], ["stop", "length"], [(10, 20), (5, 15)], 10.0
    )
    assert [c.seconds for c in shared] == [6.0, 4.0]
    assert [(c.text, c.thought, c.thought_tokens) for c in shared] == [("a", "", 0), ("b", "hm", 3)]
