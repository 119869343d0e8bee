"""dvc.yaml names, for every stage, the source files that could change what the stage writes."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

import arena_learning

ROOT = Path(arena_learning.__file__).parent
PIPELINE = ROOT.parents[1] / "dvc.yaml"
# Where each stage's work begins.
ENTRIES = {
    "prepare": "pool.prepare",
    "weights": "engines.base_model",
    "battle": "arena.battle",
    "judge": "judge.stage",
    "dataset": "dataset.stage",
    "train": "train.stage",
    "answer-base": "arena.battle",
    "answer-opponent": "arena.battle",
    "answer": "arena.battle",
    "evaluate": "leaderboard.evaluate",
    "leaderboard": "leaderboard.ratings",
    "gate": "registry.stage",
}
# What changes no output: reading and writing files and parameters, the store and its keys, progress, errors. (A row that
# changes its meaning raises `schema.rows.SCHEMA_VERSION`, and what is read from params.yaml stands in each stage's params.)
NEUTRAL_ROOMS = {"params", "cli", "store", "core", "schema"}
# Of these rooms, what does change an output.
TELLING = {"core.text", "core.thoughts", "core.text_files", "schema.rubric", "schema.votes"}
# Imported for a name or a type alone, or for what the stage does not call.
BESIDE = {
    "prepare": set(),
    # Serving's engines are imported where an engine is opened; loading weights uses none.
    "weights": {"engines"},
    # Of reading recorded answers, what checks a pool's rubric; the base is no recorded answer.
    "battle": {"schema.rubric"},
    "answer": {"schema.rubric"},
    "answer-opponent": {"schema.rubric"},
    "answer-base": {"schema.rubric", "pool"},
    # Its trainers take the conversation's format from engines, and no engine answers.
    # The judges that reward an online round stand in data/inputs/rewards, their code included.
    "train": {"engines", "arena", "judge", "pool", "core.text", "schema.rubric"},
    "dataset": {"engines", "arena", "judge", "pool"},
    # `arena rate` reads votes from files; the stages have battles.
    "evaluate": {"schema.votes", "core.text_files"},
    "leaderboard": {
        "engines",
        "arena",
        "judge",
        "pool",
        "dataset",
        "train",
        "schema.rubric",
        "core.thoughts",
    },
    # It reads figures, battles and answers; of engines it takes the digest of a folder's weights. People's verdicts,
    # which may be in the files that importers read, are the leaderboard's.
    "gate": {
        "importers",
        "schema.votes",
        "core.text_files",
        "engines",
        "arena",
        "judge",
        "pool",
        "dataset",
        "train",
        "core.thoughts",
    },
}


def imports(module: str) -> set[str]:
    """Return the package's modules that a module imports, inside functions too."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    path = path if path.is_file() else ROOT / module.replace(".", "/") / "__init__.py"
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("arena_learning"):
            inner = node.module.removeprefix("arena_learning").lstrip(".")
            offered = files_behind(inner)
            found |= {offered.get(alias.name, inner) for alias in node.names}
    return {module for module in found if module}


@cache
def files_behind(room: str) -> dict[str, str]:
    """Return the file that each name of a room comes from, as its ``__init__.pyi`` says."""
    stub = ROOT / room.replace(".", "/") / "__init__.pyi"
    if not stub.is_file():
        return {}
    return {
        alias.name: f"{room}.{node.module}"
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def is_neutral(module: str) -> bool:
    return module.partition(".")[0] in NEUTRAL_ROOMS and module not in TELLING


def closure(entry: str) -> set[str]:
    """Return all modules that the entry needs."""
    seen, todo = set(), {entry}
    while todo:
        module = todo.pop()
        seen.add(module)
        if not is_neutral(module):
            todo |= imports(module) - seen
    return seen


def dependencies(stage: str) -> list[str]:
    stages = yaml.safe_load(PIPELINE.read_text(encoding="utf-8"))["stages"]
    body = stages[stage].get("do", stages[stage])
    prefix = "src/arena_learning/"
    return [d.removeprefix(prefix).removesuffix(".py") for d in body.get("deps", []) if d.startswith(prefix)]


@pytest.mark.parametrize("stage", ENTRIES)
def test_every_source_file_that_a_stage_needs_is_a_dependency_or_changes_no_output(stage):
    named = dependencies(stage)
    for dependency in named:
        assert (ROOT / dependency).exists() or (ROOT / f"{dependency}.py").exists(), (
            f"{stage}: {dependency} is gone"
        )
    missing = set()
    for module in closure(ENTRIES[stage]):
        place = module.replace(".", "/")
        if is_neutral(module) or {module, module.partition(".")[0]} & BESIDE.get(stage, set()):
            continue
        if not any(place == d or place.startswith(f"{d}/") for d in named):
            missing.add(module)
    assert not missing, f"{stage}: changes of {sorted(missing)} would go unseen"


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("prepare", "data/inputs/pool.json"),
        ("weights", "data/inputs/weights.json"),
        ("battle", "data/inputs/opponents"),
        ("judge", "data/inputs/judges/${judge.name}.json"),
        ("answer-opponent", "data/inputs/opponents/${key}.json"),
        ("evaluate", "data/inputs/judges"),
        ("leaderboard", "data/inputs/human.json"),
        ("gate", "data/inputs/gate.json"),
    ],
)
def test_each_consumer_of_a_users_file_depends_on_its_digest(stage, file):
    stages = yaml.safe_load(PIPELINE.read_text(encoding="utf-8"))["stages"]
    assert file in stages[stage].get("do", stages[stage])["deps"]


def test_prices_and_budget_are_no_input_of_a_stage():
    """They change no result, so a change of them must not run anything again."""
    stages = yaml.safe_load(PIPELINE.read_text(encoding="utf-8"))["stages"]
    read = {key for stage in stages.values() for key in stage.get("do", stage).get("params", [])}
    assert {"seed", "evaluate"} <= read
    assert not {key for key in read if key.partition(".")[0] in ("prices", "budget")}
