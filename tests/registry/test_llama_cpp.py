"""An export for Ollama, served by llama.cpp's own server (in the package xllamacpp): prompt, tokens, stops, answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from arena_learning.engines import Chat
from arena_learning.registry.ollama import write_ollama
from arena_learning.schema import Turn
from tiny import build_tiny_model

pytestmark = pytest.mark.torch

GO = Path(__file__).parents[2] / "benchmarks" / "go_template.go"
TALK = (
    Turn(role="user", content="Name a river."),
    Turn(role="assistant", content="The river is the Danube."),
    Turn(role="user", content="What is two and two? <b>{{ x }}</b>"),
)
TALKS = [TALK[:1], TALK, (Turn(role="system", content="Be brief."), *TALK)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A tiny model, and its export for Ollama in F16."""
    folder = build_tiny_model(tmp_path_factory.mktemp("model") / "m", tied=False)
    out = tmp_path_factory.mktemp("export")
    write_ollama(folder, out, "m", "f16")
    return folder, out


@pytest.fixture(scope="module")
def ask(exported):
    """A function that sends a request to llama.cpp's server on the export."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(exported[1] / "m.gguf")
    params.n_ctx, params.n_parallel, params.port, params.cpuparams.n_threads = 512, 1, 0, 1
    server = xllamacpp.Server(params)

    def send(path: str, **body):
        request = urllib.request.Request(
            f"{server.listening_address}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=100) as response:
            return json.load(response)

    return send


def messages(talk):
    return [turn.model_dump(mode="json") for turn in talk]


@pytest.mark.parametrize("talk", TALKS)
def test_llama_cpp_writes_the_same_prompt_from_the_file(exported, ask, talk):
    chat = Chat(exported[0])
    prompt = ask("/apply-template", messages=messages(talk))["prompt"]
    assert prompt == chat.render(talk)
    tokens = ask("/tokenize", content=prompt, add_special=True, parse_special=True)["tokens"]
    assert [tokens] == chat.encode([talk])


def test_it_says_what_transformers_says_and_stops_at_the_same_token(exported, ask):
    import torch
    from transformers import AutoModelForCausalLM

    chat = Chat(exported[0])
    (prompt,) = chat.encode([TALK])
    model = AutoModelForCausalLM.from_pretrained(exported[0], dtype=torch.float32).eval()
    asked = torch.tensor([prompt])
    made = model.generate(
        asked,
        attention_mask=torch.ones_like(asked),
        max_new_tokens=24,
        do_sample=False,
        eos_token_id=chat.stop_ids,
    )[0, len(prompt) :].tolist()
    said = ask("/completion", prompt=prompt, temperature=0, n_predict=24, return_tokens=True)["tokens"]
    # llama.cpp leaves the token out that ends the answer.
    assert said == [token for token in made if token not in chat.stop_ids]


@pytest.mark.skipif(not shutil.which("go"), reason="Go, whose templates Ollama uses, is not installed")
def test_go_renders_the_modelfile_as_the_chat_template(exported, tmp_path):
    template = (exported[1] / "Modelfile").read_text(encoding="utf-8").split('"""')[1]
    lines = "".join(json.dumps({"template": template, "messages": messages(talk)}) + "\n" for talk in TALKS)
    done = subprocess.run(
        ["go", "run", str(GO)], input=lines, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    chat = Chat(exported[0])
    assert [json.loads(line) for line in done.stdout.splitlines()] == [chat.render(talk) for talk in TALKS]
