"""`arena init`: a project in an empty folder, what a folder has is kept, and flags become parameters."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from arena_learning.cli.main import cli
from arena_learning.core import ArenaError, Paths
from arena_learning.params import load_params
from arena_learning.project import FirstRun, renew_pipeline, start_project
from arena_learning.project.inputs import write_inputs
from arena_learning.project.profile import ServingChoice
from arena_learning.project.shipped import is_outdated, pipeline_text, shipped, watched_code

REPOSITORY = Path(__file__).parents[3]
HERE = ServingChoice("transformers", "fp32", "for the test")
JUDGE = "judge-model@http://localhost:1/v1"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "GIT_DIR"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "project"
    root.mkdir()
    return Paths(root)


def start(paths: Paths, force: bool = False, profile: str = "laptop", **wanted):
    return start_project(profile, FirstRun(**wanted), paths, HERE, force=force)


def files(paths: Paths) -> set[str]:
    return {path.name for path in paths.root.iterdir()}


def questions(folder: Path, count: int, **fields) -> Path:
    """A table of another tool: a column ``prompt`` and, if given, others."""
    path = folder / "questions.jsonl"
    rows = ({"id": f"q{n}", "prompt": f"Why is number {n} like that?", **fields} for n in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_an_empty_folder_becomes_a_project_with_the_shipped_pool(empty: Paths) -> None:
    done = start(empty)
    assert done.serving == HERE
    assert {"params.yaml", "dvc.yaml", ".gitignore", ".dvcignore", "data", ".git", ".dvc"} == files(empty)
    pool = empty.root / "data" / "pool.jsonl"
    assert pool.read_bytes() == (REPOSITORY / "data" / "pool.jsonl").read_bytes()
    assert load_params(empty.params).opponents.keys() == {"expert", "plain"}
    config = subprocess.run(
        ["dvc", "config", "core.analytics"], cwd=empty.root, capture_output=True, text=True, check=True
    )
    assert config.stdout.strip() == "false"


def test_what_is_there_is_kept_and_parameters_are_replaced_only_when_asked(empty: Paths) -> None:
    start(empty)
    (empty.root / ".gitignore").write_text("mine\n", encoding="utf-8")
    with pytest.raises(ArenaError, match="--force"):
        start(empty, profile="laptop-3")
    assert start(empty, force=True, profile="laptop-3").written == ["params.yaml"]
    assert (empty.root / ".gitignore").read_text(encoding="utf-8") == "mine\n"
    assert len(load_params(empty.params).rounds) > 3


def test_a_folder_inside_of_a_git_repository_gets_a_dvc_of_its_own(empty: Paths) -> None:
    subprocess.run(["git", "init", "-q", str(empty.root.parent)], check=True)
    assert ".git" not in start(empty).written
    assert not (empty.root / ".git").exists()
    assert subprocess.run(["dvc", "status", "-q"], cwd=empty.root, check=False).returncode in (0, 1)


@pytest.mark.parametrize("text", ["stages:\n  mine: {cmd: 'true'}\n", "[]\n"])
def test_another_projects_pipeline_is_refused_and_nothing_is_written(empty: Paths, text: str) -> None:
    empty.pipeline.write_text(text, encoding="utf-8")
    with pytest.raises(ArenaError, match="another project"):
        start(empty)
    assert files(empty) == {"dvc.yaml"}


def test_a_pool_of_ones_own_brings_its_answers_as_opponents(empty: Paths, tmp_path: Path) -> None:
    table = questions(tmp_path, 40, model="gpt-4.1", response="Because.", reference="For a reason.")
    done = start(empty, pool=table)
    params = load_params(empty.params)
    # A dot is no part of a name in params.yaml.
    assert {name: one.model for name, one in params.opponents.items()} == {
        "gpt-4-1": "data/opponents/gpt-4-1.jsonl"
    }
    assert len((empty.root / "data/opponents/gpt-4-1.jsonl").read_text("utf-8").splitlines()) == 40
    # No rubrics: what needs them is left out, and the judge that compares with references is the rounds'.
    assert list(params.judges) == ["reference"]
    assert params.judge.name == "reference"
    assert list(params.rounds) == ["sft-i1", "dpo-i1"]
    assert any("rubric, content" in line for line in done.changed)
    # Of 40, a fifth may be dropped: 32 are left for the rounds that stay, in the profile's proportions, rounded down.
    whole = sizes(load_params(REPOSITORY / "profiles" / "laptop.yaml"))
    assert whole.pop("d3")
    assert sizes(params) == {name: size * 32 // sum(whole.values()) for name, size in whole.items()}
    assert min(sizes(params).values()) > 0


def sizes(params) -> dict[str, int]:
    return {"test": params.pool.test, "validation": params.pool.validation, **params.pool.splits}


def test_a_leaderboard_alone_needs_no_base_and_takes_every_question(empty: Paths, tmp_path: Path) -> None:
    table = questions(tmp_path, 7, reference="For a reason.")
    options = ("one=m@http://localhost:1/v1", "two=n@http://localhost:1/v1")
    done = start(empty, profile="leaderboard", pool=table, opponents=options)
    params = load_params(empty.params)
    assert (params.contestants, params.evaluate.anchor) == (["one", "two"], "one")
    assert (params.pool.test, params.pool.validation, params.pool.splits) == (7, 0, {})
    assert "evaluate.anchor: one" in done.changed
    assert params.judge.name == "reference"


def test_rubrics_of_ones_own_pool_are_kept(empty: Paths, tmp_path: Path) -> None:
    rows = (REPOSITORY / "data" / "pool.jsonl").read_text(encoding="utf-8").splitlines()[:30]
    pool = tmp_path / "pool.jsonl"
    pool.write_text("\n".join(rows) + "\n", encoding="utf-8")
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"id": "writing-001", "text": "x"}\n', encoding="utf-8")
    start(empty, pool=pool, opponents=(f"strong={answers}",))
    assert (empty.root / "data" / "pool.jsonl").read_text(encoding="utf-8") == pool.read_text(
        encoding="utf-8"
    )
    assert (empty.root / "data/opponents/strong.jsonl").is_file()
    params = load_params(empty.params)
    assert list(params.judges) == ["rubric", "content"]  # and no answer is a reference
    assert params.pool.references == ""


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"judge": JUDGE}, "no opponent"),
        ({"opponents": ("a=b@http://localhost:1/v1",)}, "--judge MODEL@URL"),
        ({"judge": "http://localhost:1/v1", "opponents": ("a=some/model",)}, "--judge MODEL@http"),
        ({"judge": "some-model", "opponents": ("a=some/model",)}, "is not MODEL@URL"),
        ({"judge": JUDGE, "opponents": ("some/model",)}, "NAME=MODEL@URL"),
        ({"judge": JUDGE, "opponents": ("a=there-is-none.jsonl",)}, "no such file"),
        ({"judge": JUDGE, "opponents": ("a b=some/model",)}, "call it 'a-b'"),
        ({"judge": JUDGE, "opponents": ("a=some/model", "a=other/model")}, "two opponents have the name 'a'"),
        ({"judge": JUDGE, "opponents": ("a=m@http://user:pw@host/v1",)}, "must not contain a user"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written(
    empty: Paths, tmp_path: Path, wanted, said
) -> None:
    with pytest.raises(ArenaError, match=re.escape(said)):
        start(empty, pool=questions(tmp_path, 40), **wanted)
    assert files(empty) == set()


def test_answers_of_the_project_are_named_again_and_never_replaced(empty: Paths, tmp_path: Path) -> None:
    start(empty)
    there = empty.root / "data/opponents/expert.jsonl"
    before = there.read_bytes()
    done = start(empty, force=True, opponents=(f"expert={there}",))
    assert done.written == ["params.yaml"]
    others = tmp_path / "others.jsonl"
    others.write_text('{"id": "writing-001", "text": "x"}\n', encoding="utf-8")
    params = empty.params.read_bytes()
    with pytest.raises(ArenaError, match="the project has other answers of this name"):
        start(empty, force=True, opponents=(f"expert={others}",))
    assert (there.read_bytes(), empty.params.read_bytes()) == (before, params)


def test_two_who_answered_and_whose_names_become_one_are_told_apart(empty: Paths, tmp_path: Path) -> None:
    table = tmp_path / "votes.jsonl"
    row = {"prompt": "Why?", "model_a": "gpt-4", "model_b": "gpt.4", "response_a": "A.", "response_b": "B."}
    table.write_text(json.dumps({**row, "winner": "tie"}) + "\n", encoding="utf-8")
    with pytest.raises(ArenaError, match="two of those who answered would have the name 'gpt-4'"):
        start(empty, pool=table, judge=JUDGE)
    assert files(empty) == set()


def test_a_pool_that_is_too_small_says_so(empty: Paths, tmp_path: Path) -> None:
    with pytest.raises(ArenaError, match="has 3 instructions"):
        start(empty, pool=questions(tmp_path, 3), judge=JUDGE, opponents=("a=some/model",))


def test_flags_become_parameters(empty: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-model").mkdir()
    start(
        empty,
        model="my-model",
        judge=JUDGE,
        opponents=("far=big@https://host/v1/", "near=some/model"),
        api_key_env="HOST_KEY",
    )
    params = load_params(empty.params)
    assert params.weights.source == str(tmp_path / "my-model")
    far, near = params.opponents["far"], params.opponents["near"]
    assert (far.engine, far.model, far.base_url) == ("openai", "big", "https://host/v1")
    assert (far.api_key_env, near.api_key_env) == ("HOST_KEY", "")
    assert (near.engine, near.model) == ("transformers", "some/model")
    assert (params.judge.name, params.judges["llm"].model) == ("llm", "judge-model")
    # The shipped pool has rubrics, so the profile's judges stay, and its online round with them.
    assert params.evaluate.judges == ("llm", "rubric", "content", "reference")
    assert "rloo-i1" in params.rounds


class Models(BaseHTTPRequestHandler):
    """An endpoint that lists its models."""

    names: tuple[str, ...] = ()

    def do_GET(self) -> None:
        body = json.dumps({"data": [{"id": name} for name in self.names]}).encode()
        self.send_response(200 if self.path == "/v1/models" else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_an_address_alone_is_enough_for_an_endpoint_with_one_model(empty: Paths) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Models)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        Models.names = ("one", "two")
        with pytest.raises(ArenaError, match="serves 2 models: one, two"):
            start(empty, judge=url)
        Models.names = ("one",)
        start(empty, judge=url)
    finally:
        server.shutdown()
        server.server_close()
    assert load_params(empty.params).judges["llm"].model == "one"


def test_the_pipeline_of_a_project_depends_on_digests_of_all_the_code_that_a_clones_depends_on() -> None:
    clone = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    other = yaml.safe_load(pipeline_text())["stages"]
    other["inputs"]["outs"].remove({"data/inputs/code": {"cache": False}})
    assert other.keys() == clone.keys()
    code = 0
    for name, stage in clone.items():
        mine, theirs = other[name].get("do", other[name]), stage.get("do", stage)
        for new, old in zip(mine.pop("deps", []), theirs.pop("deps", []), strict=True):
            if old.startswith("src/arena_learning/"):
                short = old.removeprefix("src/arena_learning/").removesuffix(".py")
                assert new == f"data/inputs/code/{short}.json"
                code += 1
            else:
                assert new == old
        assert mine == theirs
    assert code > 50


def test_digests_of_the_code_change_with_the_file_that_changes(empty: Paths, monkeypatch) -> None:
    start(empty)
    package = empty.root.parent / "package"
    for name in watched_code(empty):
        place = package / name
        source = shipped("src/arena_learning") / name
        if source.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            (place / "inside.py").write_text("1", encoding="utf-8")
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.with_suffix(".py").write_text("1", encoding="utf-8")
    monkeypatch.setattr("arena_learning.project.inputs.PACKAGE", package)
    params = load_params(empty.params)

    def written() -> dict[str, str]:
        write_inputs(params, empty)
        folder = empty.inputs / "code"
        return {
            str(path.relative_to(folder).with_suffix("")): path.read_text("utf-8")
            for path in folder.rglob("*.json")
        }

    before = written()
    assert sorted(before) == watched_code(empty)
    assert "missing" not in "".join(before.values())
    (package / "judge" / "prompts").mkdir()
    (package / "judge" / "prompts" / "new.jinja").write_text("x", encoding="utf-8")
    (package / "core" / "text.py").write_text("a longer text", encoding="utf-8")
    after = written()
    assert {name for name in before if before[name] != after[name]} == {"judge", "core/text"}


def test_the_pipeline_is_written_anew_for_another_version(empty: Paths) -> None:
    start(empty)
    assert not is_outdated(empty)
    assert not renew_pipeline(empty)
    empty.pipeline.write_text(pipeline_text().replace("code/judge.json", "code/jury.json"), encoding="utf-8")
    assert is_outdated(empty)
    assert renew_pipeline(empty)
    assert not is_outdated(empty)
    with pytest.raises(ArenaError, match="a clone"):
        renew_pipeline(Paths(REPOSITORY))


def test_the_command_says_what_it_made_what_is_missing_and_what_comes_next(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOST_KEY", raising=False)
    options = ["--judge", JUDGE, "--api-key-env", "HOST_KEY"]
    done = CliRunner().invoke(cli, ["init", "my arena", *options], catch_exceptions=False)
    assert done.exit_code == 0
    assert "params.yaml: from profile laptop" in done.output
    assert "fail  judges.llm: the variable HOST_KEY is not set  (export HOST_KEY=KEY)" in done.output
    assert done.output.endswith("next: put right what fails, then cd 'my arena' && arena repro\n")
    again = CliRunner().invoke(cli, ["init", "my arena", "--upgrade"], catch_exceptions=False)
    assert again.output.endswith("dvc.yaml: up to date\n")
