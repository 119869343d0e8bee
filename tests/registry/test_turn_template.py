"""Chat templates in Ollama's language: only those that texts around turns give exactly."""

from __future__ import annotations

import pytest

from arena_learning.core import ArenaError
from arena_learning.engines import Chat
from arena_learning.registry.turn_template import turn_template
from tiny import CHATML, build_chat_folder

LLAMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content"
    " + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{% endif %}"
)
LLAMA_WORDS = dict.fromkeys(("<|begin|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), True)
MISTRAL = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}{% else %}"
    "{{ m.content + '<|im_end|>' }}{% endif %}{% endfor %}"
)
COUNTED = CHATML.replace("+ message['content'] +", "+ loop.index | string + ' ' + message['content'] +")


def test_chatml_with_its_default_system_turn(tmp_path):
    chat = Chat(build_chat_folder(tmp_path / "m", CHATML))
    found = turn_template(chat)
    assert found.to_go(with_start=True) == (
        '{{ if ne (index .Messages 0).Role "system" }}<|im_start|>system\n'
        "You are a helpful AI assistant<|im_end|>\n{{ end }}"
        '{{ range .Messages }}{{ if eq .Role "system" }}<|im_start|>system\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "assistant" }}<|im_start|>assistant\n{{ .Content }}<|im_end|>\n'
        "{{ end }}{{ end }}<|im_start|>assistant\n"
    )


def test_llama_whose_start_is_left_to_ollama_where_the_tokenizer_writes_it(tmp_path):
    folder = build_chat_folder(tmp_path / "m", LLAMA, added=LLAMA_WORDS, bos="<|begin|>", eos="<|eot_id|>")
    found = turn_template(Chat(folder))
    assert found.default == ""
    assert found.to_go(with_start=True) == "<|begin|>" + found.to_go(with_start=False)
    assert found.user.before == "<|start_header_id|>user<|end_header_id|>\n\n"
    assert found.user.after == found.assistant.after == "<|eot_id|>"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (MISTRAL, "do not all end with the same token"),
        (COUNTED, "do"),  # the number of a turn is no text around it
        ("{{ strftime_now('%Y') }}" + CHATML, "prints a date"),
    ],
)
def test_what_texts_around_turns_cannot_give_is_refused(tmp_path, template, said):
    with pytest.raises(ArenaError, match=said) as told:
        turn_template(Chat(build_chat_folder(tmp_path / "m", template)))
    assert "--to gguf" in told.value.hint


def test_go_cannot_write_its_own_marks(tmp_path):
    template = CHATML.replace("You are a helpful AI assistant", "Use {" + "{ braces }" + "}")
    template = template.replace("Use {{ braces }}", "Use {' + '{ braces }' + '}")
    found = turn_template(Chat(build_chat_folder(tmp_path / "m", template)))
    with pytest.raises(ArenaError, match="which a Go template cannot"):
        found.to_go(with_start=True)
