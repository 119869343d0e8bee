"""A template that prints today's date prints the fixed one, and nothing else of the template changes."""

from __future__ import annotations

import hashlib
import json
from datetime import date

import pytest

from arena_learning.core.errors import ArenaError
from arena_learning.engines.chat import Chat
from arena_learning.engines.chat_format import ChatFormat
from arena_learning.engines.template import Renderer, fixed_clock
from arena_learning.engines.tokenizer import ChatSettings
from arena_learning.schema.rows import Turn
from arena_learning.train.encode import Encoder
from tiny import CHATML, build_chat_folder

pytestmark = pytest.mark.torch
DAY = date(2026, 1, 5)  # a Monday
HELLO = [Turn(role="user", content="Hello")]
DATED = "{{ 'Today: ' + strftime_now('%d %b %Y') + '\\n' }}" + CHATML


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return Chat(build_chat_folder(tmp_path_factory.mktemp("m") / "m", CHATML)).tokenizer


@pytest.fixture
def render(tokenizer):
    """Return what a template prints for one user turn on the fixed day, with variables."""

    def run(template, **kwargs):
        settings = ChatSettings(kwargs=kwargs, date=DAY.isoformat())
        messages = [{"role": "user", "content": "Hello"}]
        return Renderer(tokenizer, template, settings, "m").render(messages, add_generation_prompt=True)

    return run


@pytest.mark.parametrize(
    "form",
    [
        *(
            "%d %b %Y",
            "%B %d, %Y",
            "%Y-%m-%d",
            "%A, %-d. %B",
            "%e|%_d|%0d",
            "%^a %#B",
            "%j %U %V %G %u",
            "%D %F %x",
        ),
        *(
            "%H:%M:%S %p %z%Z",
            "%n%t",
            "%Ey %Od",
            "100%%",
            "%%d",
            "%d%",
            "%",
            "",
            "%Q %-Q",
            "%-%-d",
            "{{ %d }} {% %m %}",
        ),
        "\u00e9%d\u00df \u4eca\u65e5",
    ],
)
def test_a_date_is_written_as_python_writes_it(render, form):
    assert render("{{ strftime_now(form) }}|{{ messages[0].content }}", form=form) == (
        f"{DAY.strftime(form)}|Hello"
    )


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% if strftime_now is defined %}{{ strftime_now('%Y') | int + 1 }}{% endif %}", "2027"),
        ("{% macro day() %}{{ strftime_now(format='%d') }}{% endmacro %}{{ day() }}", "05"),
        ("{% for m in messages %}{{ strftime_now('%d %b')[:2] ~ m.content }}{% endfor %}", "05Hello"),
        ("{% if not day is defined %}{% set day = strftime_now('%d %b') %}{% endif %}{{ day }}", "05 Jan"),
        ("{% macro strftime_now(form) %}its own{% endmacro %}{{ strftime_now('%d') }}", "its own"),
    ],
)
def test_templates_call_it_wherever_they_would_call_transformers_own(render, template, text):
    assert render(template) == text


@pytest.mark.parametrize(
    "template",
    [
        *("\n\nA", "  A", "  {% if true %}A{% endif %}", "\t{# c #}\nA", "\n{% if true %}A{% endif %}\n B"),
        *("   {%- if true %} A{% endif %}\n", " {{ 1 }}\n", "{# c #}\n\nA"),
    ],
)
def test_the_clock_leaves_the_start_of_a_template_as_it_is(render, template):
    assert render(fixed_clock("2026-01-05") + template) == render(template)


def test_a_call_that_is_wrong_is_refused_in_words(render):
    with pytest.raises(ArenaError, match="the chat template refuses turns of user"):
        render("{{ strftime_now('%d', 'Berlin', 3) }}")


@pytest.mark.parametrize("place", ["folder", "file", "additional"])
def test_the_date_is_fixed_wherever_the_template_stands_and_for_training_too(tmp_path, place):
    """A model folder's template, a file of the project's, and the default of several named ones."""
    folder = build_chat_folder(tmp_path / "m", CHATML if place == "file" else DATED)
    if place == "additional":
        (folder / "additional_chat_templates").mkdir()
        (folder / "additional_chat_templates" / "tools.jinja").write_text("{{ strftime_now('%d') }}")
    chat = Chat(folder, settings=ChatSettings(template=DATED if place == "file" else "", date="2031-12-24"))
    assert chat.render(HELLO).startswith("Today: 24 Dec 2031\n<|im_start|>system\n")
    (served,) = chat.encode([HELLO])
    form = ChatFormat(chat)
    assert Encoder(form).prompt(HELLO) == served + form.preamble_ids
    assert "24 Dec 2031" in chat.render_whole([*HELLO, Turn(role="assistant", content="Blue.")])


def test_the_digest_is_that_of_the_template_as_it_stands(tmp_path):
    """Of earlier versions, by hand: answers in their stores are found again."""
    chat = Chat(build_chat_folder(tmp_path / "m", DATED))
    assert chat.template == DATED
    assert chat.tokenizer.chat_template == DATED
    parts = json.dumps([DATED, "2026-01-01"], ensure_ascii=False, separators=(",", ":"))
    assert chat.digest == hashlib.sha256(parts.encode()).hexdigest()[:16]
