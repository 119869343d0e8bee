"""A model is loaded only to answer, and its tokenizer only where its chat's identity is not saved."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from arena_learning.engines.chat import Chat
from arena_learning.engines.chat_identity import ChatIdentity
from arena_learning.engines.lazy_chat import LazyChat
from arena_learning.engines.tokenizer import ChatSettings
from arena_learning.schema.rows import Turn
from tiny import CHATML, build_chat_folder

pytestmark = pytest.mark.torch

MARKED = {"<think>": False, "</think>": False, "<table>": False}
TALKS = (
    (Turn(role="user", content="Say hello."),),
    (Turn(role="user", content="Say </think> and <|im_end|>."),),
    (Turn(role="user", content="Explain <table>."),),
    (Turn(role="user", content="A"), Turn(role="assistant", content="<think>\nx\n</think>\n\nB")),
)
ANSWERS = ("Blue.", "<think>\nSky.\n</think>\n\nBlue.", "Sky.\n</think>\n\nBlue.")
OPENED = CHATML.replace("assistant\n'", "assistant\n<think>\n'")


@pytest.mark.parametrize("template", [CHATML, OPENED], ids=["chatml", "opens a thought"])
def test_a_saved_identity_says_what_the_chat_says(tmp_path, template):
    folder = build_chat_folder(tmp_path / "m", template, added=MARKED)
    chat = Chat(folder, "Be brief.")
    LazyChat(folder, tmp_path, "Be brief.").identity  # noqa: B018 - saves it
    saved = LazyChat(folder, tmp_path, "Be brief.")
    assert saved.identity == chat.identity
    assert isinstance(saved.identity, ChatIdentity)
    assert "chat" not in vars(saved)  # nothing has loaded the tokenizer
    assert [saved.variant(turns) for turns in TALKS] == [chat.variant(turns) for turns in TALKS]
    assert [saved.said(text) for text in ANSWERS] == [chat.said(text) for text in ANSWERS]
    assert "chat" not in vars(saved)


def test_another_template_setting_or_file_is_another_identity(tmp_path):
    folder = build_chat_folder(tmp_path / "m", CHATML)
    first = LazyChat(folder, tmp_path).identity.digest
    other = LazyChat(folder, tmp_path, settings=ChatSettings(kwargs={"a": 1})).identity.digest
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        file = folder / name
        if file.is_file():
            file.write_text(file.read_text(encoding="utf-8").replace("helpful", "terse"), encoding="utf-8")
    changed = LazyChat(folder, tmp_path).identity.digest
    assert len({first, other, changed}) == 3
    assert len(list(tmp_path.glob("chat-*.json"))) == 3


def test_without_a_folder_or_with_foreign_code_nothing_is_saved(tmp_path):
    folder = build_chat_folder(tmp_path / "m", CHATML)
    for lazy in (LazyChat(folder, None), LazyChat(folder, tmp_path, trust_remote_code=True)):
        assert lazy.identity == Chat(folder).identity
    assert not list(tmp_path.glob("chat-*.json"))


ASK = """
import json, sys
from pathlib import Path
from arena_learning.arena import Contestant, ask_contestant_for
from arena_learning.engines.openvino import OpenVino
from arena_learning.params import Sampling
from arena_learning.schema import Instruction, Turn
from arena_learning.store import Store

folder, work = map(Path, sys.argv[1:])
engine = OpenVino(folder, work / "exports", dtype="f16", batch_size=2)
rows = [Instruction(id=f"i{n}", turns=(Turn(role="user", content=f"Name {n} rivers."),)) for n in range(5)]
with Store(work / "store.sqlite") as store:
    asked = ask_contestant_for(Contestant("base", engine, Sampling(max_tokens=4)), rows, store)
loaded = [name for name in ("torch", "transformers", "tokenizers", "mlflow") if name in sys.modules]
print(json.dumps([asked.generated, [r.text for r in asked.responses], loaded]))
"""


def test_a_run_whose_answers_are_stored_imports_neither_torch_nor_transformers(tiny_model, tmp_path):
    pytest.importorskip("openvino_genai", reason="needs the extra 'laptop'")
    generated, texts, loaded = ask(tiny_model, tmp_path)
    assert generated == 5
    assert {"torch", "transformers"} <= set(loaded)
    shutil.rmtree(tmp_path / "exports", ignore_errors=False)
    again = ask(
        tiny_model, tmp_path
    )  # exports are cleaned: the tokenizer is loaded, the model is not exported
    assert again[:2] == [0, texts]
    assert not list((tmp_path / "exports").glob("*.gguf"))
    assert ask(tiny_model, tmp_path) == [0, texts, []]


def ask(model: Path, work: Path) -> list[object]:
    """Ask in a process of its own: what it generated, the answers, and which of the heavy packages it has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(model), str(work)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
