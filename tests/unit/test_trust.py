"""What is never done, anywhere in the package; and files that users name stay in the project."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import arena_learning
from arena_learning.core.errors import ArenaError
from arena_learning.core.paths import Paths

ROOT = Path(arena_learning.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# Calls that read a pickle, and keywords that let one in or run what they are given.
READERS = {
    "torch.load",
    "joblib.load",
    "pd.read_pickle",
    "np.load",
    "shelve.open",
    "yaml.unsafe_load",
    "yaml.full_load",
}
KEYWORDS = {
    ("trust_remote_code", True),
    ("use_safetensors", False),
    ("allow_pickle", True),
    ("weights_only", False),
    ("shell", True),
}
CODE = ("exec", "eval", "compile", "__import__", "os.system", "os.popen")


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_unpickled_evaluated_or_given_to_a_shell(path):
    for name, call in calls(path):
        assert name not in READERS, f"{path}: {name}"
        assert name not in CODE, f"{path}: {name}"
        for keyword in call.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            assert (keyword.arg, value) not in KEYWORDS, f"{path}: {name}({keyword.arg}={value})"


def test_yaml_is_read_safely_only():
    loads = [
        (path, call)
        for path in FILES
        for name, call in calls(path)
        if name == "yaml.load" and "yaml_files" in str(path)
    ]
    assert [ast.unparse(call.keywords[0].value) for _, call in loads] == ["_Loader"]  # a yaml.SafeLoader
    for path in FILES:
        for name, call in calls(path):
            if name == "YAML":  # ruamel: round trip or safe, never its unsafe kinds
                assert [ast.literal_eval(k.value) for k in call.keywords] in ([], ["safe"]), path


def test_models_are_loaded_from_safetensors_only():
    loads = [
        (path, name, call)
        for path in FILES
        for name, call in calls(path)
        if name.endswith(".from_pretrained") and "Model" in name
    ]
    assert len(loads) >= 5
    for path, name, call in loads:
        given = {k.arg: ast.unparse(k.value) for k in call.keywords}
        assert given.get("use_safetensors") == "True" or "gguf_file" in given, f"{path}: {name}"


def test_templates_are_rendered_in_the_sandbox_or_escape():
    made = [(path, call) for path in FILES for name, call in calls(path) if name.endswith("Environment")]
    assert made
    for path, call in made:
        name, given = ast.unparse(call.func), {k.arg: ast.unparse(k.value) for k in call.keywords}
        assert name == "ImmutableSandboxedEnvironment" or given.get("autoescape") == "True", (
            f"{path}: {name} {given}"
        )


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    (tmp_path / "secret.jsonl").write_text("secret", encoding="utf-8")
    return Paths(root)


def test_a_file_in_the_project_is_found(paths):
    assert (
        paths.user_file("data/pool.jsonl", "pool.instructions", outside=False)
        == paths.root / "data" / "pool.jsonl"
    )


@pytest.mark.parametrize("name", ["../secret.jsonl", "data/../../secret.jsonl", "/etc/passwd", "data/link"])
def test_a_file_outside_is_refused_unless_asked_for(paths, name):
    (paths.root / "data" / "link").symlink_to(paths.root.parent / "secret.jsonl")
    with pytest.raises(ArenaError, match="lies outside the project") as caught:
        paths.user_file(name, "pool.instructions", outside=False)
    assert caught.value.where == "params.yaml, pool.instructions"
    assert "files_outside" in str(caught.value)
    assert paths.user_file(name, "pool.instructions", outside=True) == paths.root / name


def test_an_experiments_copy_may_read_what_dvc_links_to_in_the_original(paths, monkeypatch):
    copy = Paths(paths.root.parent / "copy")
    (copy.root / "data").mkdir(parents=True)
    (paths.root / "data" / "pool.jsonl").write_text("", encoding="utf-8")
    (copy.root / "data" / "pool.jsonl").symlink_to(paths.root / "data" / "pool.jsonl")
    with pytest.raises(ArenaError):
        copy.user_file("data/pool.jsonl", "pool.instructions", outside=False)
    monkeypatch.setenv("DVC_ROOT", str(paths.root))
    assert copy.user_file("data/pool.jsonl", "pool.instructions", outside=False)
