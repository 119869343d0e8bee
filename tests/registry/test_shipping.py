"""Serving and export: commands, stops, template, model card; a tiny model where weights are read."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from gate_project import make_project

from arena_learning.cli.main import cli
from arena_learning.core import ArenaError, read_json, write_json
from arena_learning.engines import Chat
from arena_learning.registry import export_model, promote, serve_command, upload
from arena_learning.registry.model_card import lineage, model_card
from arena_learning.registry.ollama import write_ollama
from tiny import build_tiny_model

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A project whose round dpo-i1 is a tiny model, promoted; only read, or exported to new places."""
    params, paths = make_project(tmp_path_factory.mktemp("shipped") / "clone")
    build_tiny_model(paths.model("dpo-i1"))
    (paths.model("dpo-i1") / "pytorch_model.bin").write_bytes(b"pickled")
    for name in ("sft-i1", "dpo-i1"):
        write_json(
            paths.card(name),
            {"instructions": 20, "rows": 7, "rows_new": 7, "chosen_from": {"expert": 5, "base": 2}},
        )
    assert promote("dpo-i1", params, paths).accepted
    return params, paths


def test_a_folder_holds_all_that_a_server_needs_and_no_pickle(shipped, tmp_path):
    params, paths = shipped
    # generation_config.json may lack the token that ends a turn: here it says another one.
    out = export_model("dpo-i1", "folder", tmp_path / "out", params, paths, dtype="q8_0").path
    names = {file.name for file in out.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "config.json", "chat_template.jinja", "README.md"} <= names
    assert "pytorch_model.bin" not in names
    assert Chat(out).template == Chat(paths.model("dpo-i1")).template
    ends = read_json(out / "generation_config.json")["eos_token_id"]
    assert Chat(paths.model("dpo-i1")).stop_ids == ([ends] if isinstance(ends, int) else ends)
    same = (out / "model.safetensors").read_bytes() == (
        paths.model("dpo-i1") / "model.safetensors"
    ).read_bytes()
    assert same


def test_a_place_that_is_taken_is_left_alone(shipped, tmp_path):
    params, paths = shipped
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ArenaError, match="this exists already"):
        export_model("dpo-i1", "folder", tmp_path, params, paths, dtype="q8_0")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_unknown_model_is_refused_with_those_that_are_known(shipped):
    params, paths = shipped
    with pytest.raises(ArenaError, match="known: base, sft-i1, dpo-i1"):
        export_model("dpo-l1", "folder", None, params, paths, dtype="q8_0")


def test_the_model_card_has_board_data_judges_and_licences(shipped):
    params, paths = shipped
    card = model_card("dpo-i1", "apache-2.0", params, paths)
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "### Leaderboard by the judge 'rubric' on 30 instructions" in card
    assert "Promoted 20" in card
    assert "- `rubric` (rubric): taught sft-i1, dpo-i1" in card
    assert "- `reference` (reference): independent" in card
    assert "| dpo-i1 | dpo | d2 | 20 | 7 | 7 | expert 5, base 2 |" in card
    assert "Base model `base`: apache-2.0" in card
    assert "- `expert`: recorded `data/expert.jsonl`" in card
    assert str(paths.root) not in card
    assert lineage("dpo-i1", params) == ["sft-i1", "dpo-i1"]


def test_ollama_gets_template_stops_and_weights(shipped, tmp_path):
    params, paths = shipped
    done = export_model("dpo-i1", "ollama", tmp_path / "out", params, paths, dtype="f16", licence="mit")
    text = (done.path / "Modelfile").read_text(encoding="utf-8")
    assert text.startswith(
        'FROM ./dpo-i1.gguf\nTEMPLATE """{{ if ne (index .Messages 0).Role "system" }}<|im_start|>'
    )
    assert text.endswith('PARAMETER stop "<|im_end|>"\n')
    assert (done.path / "dpo-i1.gguf").stat().st_size > 10_000
    assert done.notes[-1] == f"ollama create dpo-i1 -f {done.path / 'Modelfile'}"


def test_a_model_that_ollama_would_misread_is_refused_and_leaves_nothing(shipped, tmp_path):
    paths = shipped[1]
    folder = tmp_path / "model"
    shutil.copytree(paths.model("dpo-i1"), folder)
    # The tokenizer adds a token that the chat template does not begin with.
    start = {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    tokens = {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}}
    adds = {"type": "TemplateProcessing", "single": [start, text], "pair": [text], "special_tokens": tokens}
    tokenizer = folder / "tokenizer.json"
    write_json(tokenizer, read_json(tokenizer) | {"post_processor": adds})
    with pytest.raises(ArenaError, match="programs put it before every prompt"):
        write_ollama(folder, tmp_path / "out", "m", "f16")
    assert list(tmp_path.iterdir()) == [folder]


def test_vllm_is_told_template_name_and_stops(shipped):
    params, paths = shipped
    command = serve_command("dpo-i1", params, paths, engine="vllm", port=8001)
    words = command.words
    assert words[1:3] == ["serve", str(paths.model("dpo-i1"))]
    given = dict(pairwise(words))
    assert given["--served-model-name"] == "dpo-i1"
    assert (given["--host"], given["--port"]) == ("127.0.0.1", "8001")
    assert Path(given["--chat-template"]).read_text(encoding="utf-8") == Chat(paths.model("dpo-i1")).template
    assert command.notes == ["stops: <|im_end|>"]


def test_stops_that_the_folder_lacks_are_handed_to_vllm(shipped, tmp_path):
    params, paths = make_project(tmp_path / "clone")
    folder = build_tiny_model(paths.model("dpo-i1"))
    # As of a model whose template ends turns with another token than generation_config.json says.
    config = read_json(folder / "generation_config.json")
    write_json(folder / "generation_config.json", {**config, "eos_token_id": 0})
    words = serve_command("dpo-i1", params, paths, engine="vllm").words
    given = dict(pairwise(words))
    told = read_json(Path(given["--generation-config"]) / "generation_config.json")
    assert told["eos_token_id"] == [0, 2]


@pytest.mark.parametrize(("engine", "program"), [("llama.cpp", "llama-server"), ("openvino", "ovms")])
def test_servers_of_gguf_need_the_export_first(shipped, engine, program):
    params, paths = shipped
    command = serve_command("dpo-i1", params, paths, engine=engine)
    assert command.words[0].endswith(program)
    assert command.needs is not None
    assert command.needs.name == "dpo-i1.gguf"
    assert not command.needs.exists()


def test_without_any_server_it_says_which_there_are(shipped, monkeypatch):
    params, paths = shipped
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(
        ArenaError, match=r"none of vllm \(vllm\), llama-server \(llama.cpp\), ovms \(openvino\)"
    ):
        serve_command("dpo-i1", params, paths)


def test_the_command_is_printed_for_the_champion_and_run_when_asked(shipped, monkeypatch, tmp_path):
    """The program of another name stands for the server: what is started is what is printed."""
    _, paths = shipped
    program = tmp_path / "bin" / "llama-server"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$TOLD"\n', encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    monkeypatch.chdir(paths.root)
    printed = CliRunner().invoke(cli, ["serve", "--engine", "llama.cpp"])
    assert printed.exit_code == 0, printed.output
    export, serve = printed.stdout.splitlines()
    assert export.startswith("arena export dpo-i1 --to gguf --out ")
    code = "from arena_learning.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--engine", "llama.cpp", "--run"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "told").read_text(encoding="utf-8").splitlines() == shlex.split(serve)[1:]


def test_nothing_is_uploaded_without_a_token(shipped):
    _, paths = shipped
    with pytest.raises(ArenaError, match="no token in the environment variable HF_TOKEN"):
        upload("me/model", paths.model("dpo-i1"))


def test_hub_prepares_the_folder_and_prints_the_command(shipped, monkeypatch, tmp_path):
    _, paths = shipped
    monkeypatch.chdir(paths.root)
    out = tmp_path / "out"
    options = ["--out", str(out), "--repo", "me/model", "--licence", "mit"]
    done = CliRunner().invoke(cli, ["export", "--to", "hub", *options])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == f"hf upload me/model {out}"
    assert "license: mit" in (out / "README.md").read_text(encoding="utf-8")
    refused = CliRunner().invoke(cli, ["export", "--to", "folder", "--upload"])
    assert "belong to --to hub" in refused.output
