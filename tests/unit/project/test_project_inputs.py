"""What `arena inputs` writes changes for the consumer of an edited file, and for no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arena_learning.core.paths import Paths
from arena_learning.params import parse_params
from arena_learning.project.inputs import MISSING, write_inputs

FILES = (
    "mine.jsonl",
    "answers.jsonl",
    "refs.jsonl",
    "base/model.safetensors",
    "base/config.json",
    "other/model.safetensors",
    "adapter/adapter_model.safetensors",
    "reward/model.safetensors",
    "judge.jinja",
    "coding.jinja",
    "verdicts.jsonl",
    "people.jsonl",
    "chat.jinja",
)
EDITS = {
    "mine.jsonl": {"pool"},
    "refs.jsonl": {"pool"},
    "base/model.safetensors": {"weights"},
    "base/config.json": {"weights"},
    "chat.jinja": {"weights", "opponents/local"},
    "answers.jsonl": {"opponents/recorded"},
    "other/model.safetensors": {"opponents/local", "judges/local", "judges/panel"},
    "adapter/adapter_model.safetensors": {"opponents/local"},
    "judge.jinja": {"judges/local", "judges/panel"},
    "coding.jinja": {"judges/local", "judges/panel"},
    "reward/model.safetensors": {"judges/reward", "judges/panel"},
    "verdicts.jsonl": {"judges/replay"},
    "people.jsonl": {"human"},
}


@pytest.fixture
def project(tmp_path: Path, make_params):
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name} as it was")
    raw = make_params(
        weights={"source": "base", "chat_template": "chat.jinja"},
        opponents={
            "recorded": {"engine": "recorded", "model": "answers.jsonl"},
            "local": {
                "engine": "vllm",
                "model": "other",
                "chat_template": "chat.jinja",
                "vllm": {"lora": "adapter"},
            },
            "hub": {"engine": "transformers", "model": "some-org/some-model", "revision": "abc123"},
            "far": {"engine": "openai", "model": "m", "base_url": "http://localhost:1/v1"},
        },
        judges={
            "rubric": {"kind": "rubric"},
            "local": {
                "kind": "llm",
                "engine": "transformers",
                "model": "other",
                "template": "judge.jinja",
                "templates": {"coding": "coding.jinja"},
            },
            "reward": {"kind": "reward", "model": "reward"},
            "replay": {"kind": "replay", "model": "verdicts.jsonl"},
            "panel": {"kind": "jury", "members": ["local", "reward"]},
        },
    )
    raw["pool"] |= {"instructions": "mine.jsonl", "references": "refs.jsonl"}
    raw["evaluate"] = {**raw.get("evaluate", {}), "human_verdicts": "people.jsonl"}
    return parse_params(raw, "params.yaml"), Paths(tmp_path)


def written(project) -> dict[str, str]:
    params, paths = project
    write_inputs(params, paths)
    return {
        str(path.relative_to(paths.inputs).with_suffix("")): path.read_text()
        for path in paths.inputs.rglob("*.json")
    }


@pytest.mark.parametrize(("edited", "consumers"), EDITS.items(), ids=EDITS)
def test_an_edited_file_changes_what_its_consumers_depend_on_and_nothing_else(project, edited, consumers):
    assert set(EDITS) == set(FILES)
    before = written(project)
    file = project[1].root / edited
    file.write_text(f"{edited} as it is now")  # of another length; the next edit keeps length and time
    after = written(project)
    assert {name for name in before if before[name] != after[name]} == consumers
    assert written(project) == after


def test_a_file_that_was_touched_alone_changes_nothing(project):
    before = written(project)
    os.utime(project[1].root / "mine.jsonl", ns=(1, 1))
    assert written(project) == before


def test_what_is_missing_is_said_by_the_stage_that_reads_it(project):
    before = written(project)
    (project[1].root / "mine.jsonl").unlink()
    after = written(project)
    assert {name for name in before if before[name] != after[name]} == {"pool"}
    assert MISSING in after["pool"]


def test_a_hub_model_stands_there_by_its_revision_and_an_endpoint_by_nothing(project):
    found = written(project)
    assert "hub some-org/some-model abc123" in found["opponents/hub"]
    assert found["opponents/far"].strip() == "{}"


def test_a_round_that_learns_from_judges_depends_on_both_and_other_rounds_on_none(project):
    params, paths = project
    code = paths.root / "src" / "arena_learning" / "judge" / "rubric.py"
    code.parent.mkdir(parents=True)
    code.write_text("VERSION = 1")
    raw = params.model_dump(mode="json")
    raw["rounds"]["dpo-i1"]["method"] = "rloo"
    raw["train"]["rloo"] |= {"judge": "reward", "monitor": "rubric"}

    def rewards() -> dict[str, str]:
        found = written((parse_params(raw, "params.yaml"), paths))
        return {name.removeprefix("rewards/"): text for name, text in found.items() if "rewards/" in name}

    def changed(edit) -> set[str]:
        before = rewards()
        edit()
        after = rewards()
        return {name for name in before if before[name] != after[name]}

    assert set(rewards()) == set(raw["rounds"])
    assert rewards()["sft-i1"].strip() == "{}"
    assert changed(lambda: (paths.root / "reward" / "model.safetensors").write_text("trained again")) == {
        "dpo-i1"
    }
    assert changed(lambda: raw["judges"]["rubric"].update(points="content")) == {"dpo-i1"}
    assert changed(lambda: code.write_text("VERSION = 22")) == {"dpo-i1"}
    assert changed(lambda: raw["judges"]["local"].update(temperature=0.5)) == set()
    assert changed(lambda: (paths.root / "judge.jinja").write_text("another template")) == set()


def test_a_setting_of_a_member_changes_what_the_jurys_stages_depend_on(project):
    params, paths = project
    before = written(project)
    raw = params.model_dump(mode="json")
    raw["judges"]["reward"]["scale"] = 2.0
    after = written((parse_params(raw, "params.yaml"), paths))
    # Of a single judge DVC watches the settings in params.yaml itself.
    assert {name for name in before if before[name] != after[name]} == {"judges/panel"}


def test_a_consumer_that_is_gone_leaves_no_file(project):
    written(project)
    params, paths = project
    fewer = params.model_copy(update={"opponents": {"far": params.opponents["far"]}})
    assert {name for name in written((fewer, paths)) if name.startswith("opponents")} == {"opponents/far"}
    none = params.model_copy(update={"opponents": {}})
    written((none, paths))
    assert (paths.inputs / "opponents").is_dir()
