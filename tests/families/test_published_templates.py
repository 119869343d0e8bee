"""The table over published templates, and the example of docs/reference/models.md, on templates that are written here."""

from __future__ import annotations

import re
import sys
from importlib import util
from pathlib import Path

import pytest
from chatml import CHATML
from family import Family, chat_of
from others import OTHERS
from turns import TURNS

from arena_learning.engines.chat_check import check_chat
from arena_learning.engines.chat_format import ChatFormat
from arena_learning.engines.tokenizer import ChatSettings
from arena_learning.schema.rows import Turn

pytestmark = pytest.mark.torch
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    spec = util.spec_from_file_location("published_templates", ROOT / "benchmarks" / "published_templates.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_name(families: tuple[Family, ...], name: str) -> Family:
    return next(family for family in families if family.name == name)


def test_the_table_says_what_works_with_which_parameter_and_what_is_refused_why(
    script, tmp_path, monkeypatch, capsys
):
    for name, family in (
        ("plain", by_name(CHATML, "Qwen2.5")),
        ("thinks", by_name(CHATML, "Qwen3 hybrid")),
        ("next", by_name(TURNS, "GLM-4.7")),
        ("tools", by_name(CHATML, "Hermes, its template for tools alone")),
        ("names", by_name(OTHERS, "Firefunction")),
        ("solar", by_name(OTHERS, "Solar-Open: a thought ends as an answer does")),
    ):
        (tmp_path / f"{name}.jinja").write_text(family.template, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["published_templates.py", str(tmp_path)])
    assert script.main() == 0
    table = capsys.readouterr().out
    rows = {row.split(" | ")[0].strip("| "): row for row in table.splitlines()[2:] if row.startswith("|")}
    assert re.match(r"\| plain \| works \|", rows["plain"])
    assert "enable_thinking: false" in rows["thinks"]
    assert rows["next"].startswith("| next | works |")
    assert "works with | `chat_template_kwargs: {tools: []}`" in rows["tools"]
    assert 'works with | `chat_template_kwargs: {functions: "", datetime: ""}`' in rows["names"]
    assert rows["solar"].startswith("| solar | refused | the model ends its thoughts with")
    assert all(said in table.splitlines()[-1] for said in ("works: 3", "works with: 2", "refused: 1"))


def test_without_templates_the_table_is_skipped_and_says_where_they_are(
    script, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["published_templates.py", str(tmp_path / "nowhere")])
    assert script.main() == 0
    said = capsys.readouterr()
    assert "skipped" in said.err
    assert said.out == ""


@pytest.mark.parametrize("kind", ["bytes", "gpt-2", "llama", "first", "gemma"])
def test_the_example_for_a_base_model_is_right_with_any_tokenizer(kind):
    page = (ROOT / "docs" / "reference" / "models.md").read_text(encoding="utf-8")
    (template,) = re.findall(r"```jinja\n(.*?)```", page, flags=re.DOTALL)
    bare = Family(f"bare {kind}", "", (), "</s>", "", "", "", ends=("</s>",), bos="<s>", kind=kind)
    chat = chat_of(bare, ChatSettings(template=template))
    assert check_chat(chat).notes == ()
    learnt = ChatFormat(chat).learn("Blue.")
    assert chat.tokenizer.decode(learnt.answer) == "Blue.</s>"
    assert chat.render([Turn(role="user", content="Hello")]) == "<s>Question:\nHello\nAnswer:\n"
