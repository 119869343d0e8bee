"""Of the families' chat formats, those that Ollama's template language can write."""

from __future__ import annotations

from chatml import CHATML
from family import chat_of
from turns import TURNS

from arena_learning.core import ArenaError
from arena_learning.registry.turn_template import turn_template
from arena_learning.schema import Turn


def test_every_family_is_translated_exactly_or_refused():
    """What is translated renders what the family's table says, which is written by hand."""
    translated = []
    for family in (*CHATML, *TURNS):
        try:
            found = turn_template(chat_of(family))
        except ArenaError:
            continue
        assert found.render([Turn(role="user", content="Hello")]) == family.prompt, family.name
        translated.append(family.name)
    assert {"Qwen2.5", "SmolLM2", "Llama-3"} <= set(translated)
