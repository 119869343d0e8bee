from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from arena_learning.cli.common import metric_lines
from arena_learning.cli.main import COMMANDS, _tell, cli
from arena_learning.core.errors import ArenaError

HEAVY = (
    *("torch", "transformers", "trl", "vllm", "mlflow", "optuna", "datasets", "openvino_genai"),
    *("scipy", "sklearn", "sentence_transformers", "filelock"),
)
LOADED = "import sys, json; import {0}; print(json.dumps([m for m in {1} if m in sys.modules]))"


def arena(*arguments, cwd=None):
    call = [sys.executable, "-m", "arena_learning.cli.main", *arguments]
    call[1:3] = ["-c", "from arena_learning.cli.main import main; main()"]
    return subprocess.run(call, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    "module",
    [
        "arena_learning.cli.main",
        "arena_learning.cli.common",
        "arena_learning.params",
        "arena_learning.params.rounds",
        "arena_learning.schema.rubric",
        "arena_learning.store.store",
        "arena_learning.judge.play",
        "arena_learning.arena.battle",
        "arena_learning.dataset.stage",
        "arena_learning.core.stage_lock",
        "arena_learning.rating",
        "arena_learning.leaderboard.ratings",
        "arena_learning.pool.embeddings",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_used(module):
    code = LOADED.format(module, HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert json.loads(done.stdout) == []


def test_help_lists_every_command_without_importing_them():
    done = arena("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(name):
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Usage:")


def test_an_error_that_can_be_mended_has_exit_code_2_and_no_traceback(tmp_path, monkeypatch):
    done = arena("battle", "sft-i1", cwd=tmp_path)
    assert done.returncode == 2
    assert "no params.yaml" in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in arena("--debug", "battle", "sft-i1", cwd=tmp_path).stderr
    monkeypatch.setenv("ARENA_DEBUG", "1")
    assert "Traceback" in arena("battle", "sft-i1", cwd=tmp_path).stderr


def test_a_misspelt_command_gets_a_suggestion():
    done = arena("batle")
    assert done.returncode == 2
    assert "did you mean 'battle'" in done.stderr


@pytest.fixture
def here(tmp_path, monkeypatch, make_params):
    """Go to a project with these parameters (JSON is YAML)."""

    def go(**sections):
        (tmp_path / "params.yaml").write_text(json.dumps(make_params(**sections)), encoding="utf-8")
        monkeypatch.chdir(tmp_path)

    return go


def invoke(*arguments) -> ArenaError:
    result = CliRunner().invoke(cli, list(arguments))
    assert isinstance(result.exception, ArenaError), result.output
    return result.exception


def test_an_unknown_round_is_refused_before_anything_runs(here, tmp_path):
    here()
    for stage in ("battle", "judge", "dataset", "train"):
        assert "did you mean 'sft-i1'" in str(invoke(stage, "sft-l1"))
    assert [p.name for p in tmp_path.iterdir()] == ["params.yaml"]


def test_a_broken_chain_of_rounds_is_refused_before_anything_runs(here, tmp_path, make_params):
    rounds = make_params()["rounds"]
    rounds["sft-i1"] |= {"target": "dpo-i1", "split": "d2"}
    here(rounds=rounds)
    said = str(invoke("battle", "dpo-i1"))
    assert "a cycle" in said
    assert "d2 is already used by sft-i1" in said
    assert [p.name for p in tmp_path.iterdir()] == ["params.yaml"]


def test_a_misspelt_key_is_refused_before_anything_runs(here):
    here(sede=1)
    assert "did you mean 'seed'" in str(invoke("prepare"))


def test_a_stage_prints_its_figures_as_json_or_as_lines(here, tmp_path, make_instruction):
    from arena_learning.core.paths import Paths
    from arena_learning.schema.row_files import write_rows

    here()
    paths = Paths(tmp_path)
    empty = (paths.responses("sft-i1"), paths.battles("sft-i1"), paths.sft("none"), paths.preferences("none"))
    for path in empty:
        write_rows(path, [])
    write_rows(paths.split("d1"), [make_instruction()])
    result = CliRunner().invoke(cli, ["dataset", "sft-i1", "--json"])
    card = json.loads(result.stdout)
    assert (card["instructions"], card["left_out"]) == (1, {"no battle": 1})
    lines = CliRunner().invoke(cli, ["dataset", "sft-i1"]).stdout
    assert "  left_out: no battle 1" in lines.splitlines()


def test_a_stage_prints_a_group_of_figures_on_one_line():
    figures = {
        "read": 630,
        "dropped": {"contamination": 1, "examples": ["a text"]},
        "categories": {"d0": {"coding": 3, "writing": 2}, "d1": {"coding": 6}},
        "tie_rate": None,
        "mean_gap": 0.123456,
        "texts": ["not shown"],
        "empty": {},
    }
    assert metric_lines(figures) == [
        "read: 630",
        "dropped: contamination 1",
        "categories.d0: coding 3, writing 2",
        "categories.d1: coding 6",
        "tie_rate: -",
        "mean_gap: 0.1235",
    ]


@pytest.mark.parametrize("words", [["--contestants", "base"], ["--split", "validation", "--retry-unscored"]])
def test_an_option_that_would_have_no_effect_is_refused(words):
    result = CliRunner().invoke(cli, ["evaluate", *words])
    assert result.exit_code == 2
    assert "needs" in result.output


def test_what_others_said_acts_on_no_terminal(capsys):
    assert metric_lines({"reasons": {"the endpoint said \x1b[2J": 1}}) == [
        r"reasons: the endpoint said \x1b[2J 1"
    ]
    with pytest.raises(SystemExit):
        _tell(ArenaError("refused: \x1b]0;mine\x07", hint="ask\nagain"))
    assert capsys.readouterr().err == "error: refused: \\x1b]0;mine\\x07\n  hint: ask\nagain\n"
