"""The check of a chat format: what is learnt is what is served, or it is refused with the parameter that mends it."""

from __future__ import annotations

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.engines.base import Refused
from arena_learning.engines.base_model import prepare_base
from arena_learning.engines.chat import Chat
from arena_learning.engines.chat_check import check_chat
from arena_learning.engines.chat_format import ChatFormat
from arena_learning.engines.tokenizer import SETTINGS_FILE, ChatSettings
from arena_learning.params import Weights
from arena_learning.schema.rows import Turn
from tiny import CHATML, build_chat_folder, build_tiny_model

pytestmark = pytest.mark.torch
THINK = {"<think>": False, "</think>": False}
OPEN = "'<|im_start|>assistant\n' }}{% endif"
# A thought is opened in the prompt; the conversation is written without it.
OPENED = CHATML.replace(OPEN, "'<|im_start|>assistant\n<think>\n' }}{% endif")
# A switch; when it is off the prompt has an empty thought, and so has the conversation.
SWITCHED = CHATML.replace(
    OPEN,
    "'<|im_start|>assistant\n' + ('' if enable_thinking | default(true) else '<think>\n\n</think>\n\n') }}{% endif",
).replace(
    "message['role'] + '\n' + message['content']",
    "message['role'] + '\n' + ('<think>\n\n</think>\n\n' if message['role'] == 'assistant' else '')"
    " + message['content']",
)
# A system line says to think, and the conversation holds no thought.
TOLD = (
    "{{ '<|im_start|>system\n' + ('/think' if enable_thinking | default(true) else '/no_think') + '<|im_end|>\n' }}"
    + CHATML.replace(
        OPEN,
        "'<|im_start|>assistant\n' + ('' if enable_thinking | default(true) else '<think>\n\n</think>\n') }}{% endif",
    )
    + "{# </think> #}"
)


def check(folder, **settings):
    return check_chat(Chat(folder, settings=ChatSettings(**settings)))


def learnt_text(folder, answer="Blue.", **settings):
    chat = Chat(folder, settings=ChatSettings(**settings))
    learnt = ChatFormat(chat).learn(answer)
    return chat.tokenizer.decode(learnt.preamble), chat.tokenizer.decode(learnt.answer)


def test_the_answer_and_its_end_carry_loss_and_nothing_else(tmp_path):
    folder = build_chat_folder(tmp_path / "m", CHATML)
    assert check(folder) == (2, "", ())
    assert learnt_text(folder) == ("", "Blue.<|im_end|>")


@pytest.mark.parametrize(
    ("template", "preamble"),
    [
        (OPENED, "\n</think>\n\n"),
        (SWITCHED, "<think>\n\n</think>\n\n"),
        (TOLD, "<think>\n\n</think>\n"),
    ],
)
def test_a_model_that_thinks_learns_answers_behind_an_empty_thought_without_loss(
    tmp_path, template, preamble
):
    folder = build_chat_folder(tmp_path / "m", template, added=THINK)
    found = check(folder)
    before, answer = learnt_text(folder)
    assert answer == "Blue.<|im_end|>"
    assert before.strip() == preamble.strip()
    assert any("thinks before it answers" in note for note in found.notes)
    assert any("carries no loss" in note for note in found.notes)


def test_a_switch_turns_thoughts_off_for_serving_and_training_alike(tmp_path):
    folder = build_chat_folder(tmp_path / "m", SWITCHED, added=THINK)
    off = {"kwargs": {"enable_thinking": False}}
    assert check(folder, **off).preamble == ""
    chat = Chat(folder, settings=ChatSettings(**off))
    assert chat.render([Turn(role="user", content="Hi")]).endswith("assistant\n<think>\n\n</think>\n\n")
    assert learnt_text(folder, **off) == ("", "Blue.<|im_end|>")


def test_the_first_stop_ends_an_answer_and_more_may_follow(tmp_path):
    two = CHATML.replace("'<|im_end|>' + '\n'", "'<|im_end|><|endoftext|>' + '\n'")
    folder = build_chat_folder(tmp_path / "two", two, ends=("<|endoftext|>",))
    assert check(folder).end_of_turn == 2
    assert learnt_text(folder) == ("", "Blue.<|im_end|>")


def test_a_turn_that_ends_only_when_the_next_begins_is_ended(tmp_path):
    # The next turn's mark is what stops generation, as some models' configurations say.
    bare = CHATML.replace("message['content'] + '<|im_end|>' + '\n'", "message['content']")
    folder = build_chat_folder(
        tmp_path / "m", bare, eos="<|endoftext|>", ends=("<|endoftext|>", "<|im_start|>")
    )
    check(folder)
    assert learnt_text(folder) == ("", "Blue.<|im_start|>")


def test_the_tokenizers_own_end_counts_where_the_configuration_says_another(tmp_path):
    folder = build_chat_folder(tmp_path / "m", CHATML, ends=("<|endoftext|>",))
    assert check(folder).end_of_turn == 2
    assert Chat(folder).stop_ids == [0, 2]


def test_a_system_turn_and_earlier_turns_change_nothing_of_what_is_learnt(tmp_path):
    # The system turn goes into the last message alone, which in a conversation that is over is the assistant's.
    moved = (
        "{% set s = messages[0]['content'] if messages[0]['role'] == 'system' else '' %}{% for m in messages %}"
        "{% if m['role'] == 'user' %}{{ '<|im_start|>user\n' + (s + '\n' if loop.last and s else '') + m['content']"
        " + '<|im_end|>\n' }}{% elif m['role'] == 'assistant' %}{{ '<|im_start|>assistant\n' + m['content'] + "
        "'<|im_end|>\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    folder = build_chat_folder(tmp_path / "m", moved)
    assert check(folder).notes == ()
    (prompt,) = Chat(folder).encode(
        [[Turn(role="system", content="Be brief."), Turn(role="user", content="Hi")]]
    )
    assert "Be brief." in Chat(folder).tokenizer.decode(prompt)


def test_what_a_template_does_not_take_or_drops_is_refused_item_by_item(tmp_path):
    raising = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    silent = CHATML.replace(
        "{% for message in messages %}", "{% for message in messages if message['role'] != 'system' %}"
    )
    system = [Turn(role="system", content="Be brief."), Turn(role="user", content="Hi")]
    for name, template, reason in (
        ("raising", raising + CHATML, "refuses turns of system, user"),
        ("silent", silent, "leaves the system turn out"),
    ):
        folder = build_chat_folder(tmp_path / name, template)
        assert any("takes no system turn" in note for note in check(folder).notes)
        refused, taken = Chat(folder).prompts([system, system[1:]])
        assert isinstance(refused, Refused)
        assert reason in refused.reason
        assert isinstance(taken, list)
    last = CHATML.replace("{% for message in messages %}", "{% for message in messages[-1:] %}")
    forgetful = Chat(build_chat_folder(tmp_path / "last", last))
    turns = [Turn(role=("user", "assistant")[n % 2], content="Hi") for n in range(3)]
    assert forgetful.prompts([turns]) == [Refused("the chat template leaves earlier turns out")]


def test_a_prompt_that_does_not_fit_is_refused_and_the_others_are_not(tmp_path):
    chat = Chat(build_chat_folder(tmp_path / "m", CHATML, positions=60))
    long, short = chat.prompts(
        [[Turn(role="user", content="word " * 100)], [Turn(role="user", content="Hi")]]
    )
    assert isinstance(long, Refused)
    assert "does not fit the context of 60" in long.reason
    assert isinstance(short, list)


@pytest.mark.parametrize(
    ("template", "message", "hint"),
    [
        (
            CHATML.replace(OPEN, "'<|im_start|>bot\n' }}{% endif"),
            "not the start",
            "weights.chat_template: FILE",
        ),
        (
            CHATML.replace("message['content'] + '<|im_end|>' + '\n'", "message['content'] + '\n\n'")
            .replace("<|im_start|>", "###")
            .replace("<|im_end|>", ""),
            "no end of turn that stops generation",
            "weights.chat_template: FILE",
        ),
        # A header in words is read back as a part of the answer.
        (
            CHATML.replace(
                "message['role'] + '\n' +",
                "message['role'] + '\n' + ('all: ' if message['role'] == 'assistant' else '') +",
            ),
            "reads back as",
            "weights.chat_template: FILE",
        ),
        # It needs a list of tools.
        (
            "{% for t in tools %}{{ t }}{% endfor %}" + CHATML,
            "refuses turns of user",
            "chat_template_kwargs: {tools: []}",
        ),
        # Right only with thinking off.
        (
            SWITCHED.replace("'<|im_start|>assistant\n' + (''", "'<|im_start|>thinker\n' + (''"),
            "not the start",
            "weights.chat_template: FILE",
        ),
        (
            CHATML.replace(
                OPEN,
                "('<|im_start|>bot\n' if thinking | default(true) else '<|im_start|>assistant\n') }}{% endif",
            ),
            "not the start",
            "set weights.chat_template_kwargs: {thinking: false}",
        ),
        (
            CHATML.replace(
                OPEN,
                "('<|im_start|>assistant\n' if reasoning_effort | default('high') == 'none' else '<|im_start|>bot\n') }}"
                "{% endif",
            ),
            "not the start",
            'set weights.chat_template_kwargs: {reasoning_effort: "none"}',
        ),
        (
            CHATML.replace("message['content'] + '<|im_end|>'", "'<|im_end|>'"),
            "leaves the user's words out",
            "weights.chat_template: FILE",
        ),
    ],
)
def test_a_format_that_would_be_learnt_wrongly_is_refused_with_the_parameter(
    tmp_path, template, message, hint
):
    folder = build_chat_folder(tmp_path / "m", template, added=THINK)
    with pytest.raises(ArenaError, match=message) as caught:
        check(folder)
    assert hint in caught.value.hint


def test_a_thought_that_ends_as_answers_do_is_refused(tmp_path):
    template = CHATML.replace(
        "message['role'] + '\n' +",
        "message['role'] + '\n' + (message['reasoning_content'] + '<|im_end|>' if message['reasoning_content'] else '') +",
    )
    with pytest.raises(ArenaError, match=r"ends its thoughts with <\|im_end\|>"):
        check(build_chat_folder(tmp_path / "m", template))


def test_weights_are_refused_before_anything_is_asked_and_the_parameters_stay_with_the_model(tmp_path):
    thinker = build_tiny_model(tmp_path / "thinker", template=SWITCHED)
    settings = ChatSettings(kwargs={"enable_thinking": False}, date="2025-12-24")
    found = prepare_base(Weights(source=str(thinker)), tmp_path / "base", settings, check=True)
    assert found.format.preamble == ""
    assert (tmp_path / "base" / SETTINGS_FILE).is_file()
    assert Chat(tmp_path / "base").settings == settings
    bad = build_tiny_model(tmp_path / "bad", template=CHATML.replace(OPEN, "'<|im_start|>bot\n' }}{% endif"))
    with pytest.raises(ArenaError, match="not the start"):
        prepare_base(Weights(source=str(bad)), tmp_path / "refused", check=True)
    assert not (tmp_path / "refused").exists()


def test_a_base_model_without_a_template_is_usable_with_a_file(tmp_path):
    bare = build_tiny_model(tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(ArenaError, match="no chat template") as caught:
        prepare_base(Weights(source=str(bare)), tmp_path / "base", check=True)
    assert "weights.chat_template: FILE" in caught.value.hint
    prepare_base(Weights(source=str(bare)), tmp_path / "base", ChatSettings(template=CHATML), check=True)
    assert check(tmp_path / "base").end_of_turn == 2
    assert not (tmp_path / "base" / SETTINGS_FILE).exists()


def test_of_several_named_templates_the_default_is_used(tmp_path):
    folder = build_chat_folder(tmp_path / "m", CHATML)
    chat = Chat(folder)
    chat.tokenizer.chat_template = {"default": CHATML, "tool_use": "{{ 'tools!' }}"}
    chat.tokenizer.save_pretrained(folder)
    assert Chat(folder).template == CHATML
    assert check(folder).end_of_turn == 2
