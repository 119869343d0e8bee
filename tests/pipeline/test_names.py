"""Names through real DVC: each that params.yaml may hold runs in every stage of dvc.yaml and can be overridden."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from arena_learning.params import load_params
from pipeline.project import REPOSITORY, read_params, run, small_params, write_params
from sample import one_iteration

pytestmark = pytest.mark.pipeline

NAMES = {
    "opponents": ["Qwen2-5", "7b_chat"],
    "judges": ["gpt-4o", "x_"],
    "rounds": ["on-policy", "a--b", "no1"],
}


@pytest.fixture
def named(tmp_path: Path) -> Path:
    """A project whose opponents, judges and rounds bear `NAMES`; its stages only touch what they would write."""
    rounds = dict(zip(NAMES["rounds"], one_iteration().values(), strict=True))
    first, second, _ = NAMES["rounds"]
    rounds[second] |= {"target": first, "init": first}
    rounds[NAMES["rounds"][2]] |= {"target": second, "init": second}
    splits = {"d1": 2, "d2": 2, "d3": 2}
    params = small_params(Path("models/x"), rounds=rounds, splits=splits, test=2)
    params["opponents"] = {
        name: {"engine": "recorded", "model": "data/opponents/a.jsonl"} for name in NAMES["opponents"]
    }
    params["judges"] = {name: {"kind": "rubric", "tie_margin": 0.0} for name in NAMES["judges"]}
    params["judge"]["name"] = NAMES["judges"][0]
    params["evaluate"]["judges"] = NAMES["judges"]
    write_params(tmp_path, params)
    write_pipeline(tmp_path)
    shutil.copy(REPOSITORY / ".gitignore", tmp_path)
    (tmp_path / "data" / "opponents").mkdir(parents=True)
    (tmp_path / "data" / "opponents" / "a.jsonl").touch()
    run(tmp_path, "git", "init", "-q")
    run(tmp_path, "dvc", "init", "-q")
    run(tmp_path, "git", "add", "-A")
    run(tmp_path, "git", "commit", "-qm", "start")
    return tmp_path


def write_pipeline(root: Path) -> None:
    """Write the shipped dvc.yaml with its keys and paths as they are, and commands that write empty files."""
    pipeline = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))
    for stage in pipeline["stages"].values():
        own = stage.get("do", stage)
        outs = [next(iter(out)) if isinstance(out, dict) else out for out in own.get("outs", ())]
        files = [*outs, *own.get("metrics", ())]
        folders = sorted({str(Path(file).parent) for file in files})
        said = own["cmd"]
        own["cmd"] = f"echo {said}"
        if said == "arena inputs":  # three of its outs are folders
            files = [file for file in files if file.endswith(".json")]
            folders = ["data/inputs/opponents", "data/inputs/judges", "data/inputs/rewards"]
        if files:
            text = "{}" if own.get("metrics") else ""
            made = " ".join(files)
            own["cmd"] += (
                f" && mkdir -p {' '.join(folders)} && for f in {made}; do echo {shlex.quote(text)} > $f; done"
            )
        # Neither the code is here nor the file that `inputs` writes for each name; folders are dependencies that the
        # empty files of other stages make.
        left_out = (
            "src/",
            "data/pool",
            "data/inputs/opponents/",
            "data/inputs/judges/",
            "data/inputs/rewards/",
        )
        own["deps"] = [dep for dep in own.get("deps", ()) if not dep.startswith(left_out)]
    del pipeline["plots"]
    (root / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False, width=1000), encoding="utf-8")


def test_names_that_are_taken_run_in_every_stage_and_can_be_overridden(named: Path) -> None:
    load_params(named / "params.yaml")
    said = run(named, "dvc", "repro")
    for name in NAMES["rounds"]:
        for stage in ("battle", "judge", "dataset", "train", "answer"):
            assert f"Running stage '{stage}@{name}'" in said
    for name in NAMES["opponents"]:
        assert f"Running stage 'answer-opponent@{name}'" in said
    run(named, "git", "add", "-A")
    run(named, "git", "commit", "-qm", "ran")
    overrides = [f"rounds.{name}.threshold=3" for name in NAMES["rounds"]]
    overrides += [f"judges.{name}.tie_margin=0.5" for name in NAMES["judges"]]
    overrides += [
        "opponents.Qwen2-5.model=data/opponents/b.jsonl"
    ]  # DVC's grammar knows no key with a digit first
    again = run(named, "dvc", "exp", "run", *(word for one in overrides for word in ("-S", one)))
    for name in NAMES["rounds"]:
        assert f"Running stage 'dataset@{name}'" in again
    assert load_params(named / "params.yaml").rounds["no1"].threshold == 3
    changed = run(named, "dvc", "params", "diff")
    assert all(f"rounds.{name}.threshold" in changed for name in NAMES["rounds"])


@pytest.mark.parametrize("sections", [("opponents", "judges"), ("rounds",)])
def test_dvc_does_not_find_the_parameters_of_a_name_with_a_dot(
    named: Path, sections: tuple[str, ...]
) -> None:
    """Why such names are refused. Once DVC finds them, this fails, and they can be taken."""
    params = read_params(named)
    for section in sections:
        params[section][f"{section}-2.5"] = params[section].pop(NAMES[section][0])
    if "judges" in sections:
        params["judge"]["name"] = "judges-2.5"
    write_params(named, params)
    said = run(named, "dvc", "repro", "--keep-going", code=255)
    refused = run(named, "arena", "rounds", "check", code=2)
    for section in sections:
        assert re.search(
            rf"Parameters '[^\n]*{section}\.{section}-2\.5[^\n]*are missing from 'params.yaml'", said
        )
        assert f"{section}.{section}-2.5: a name must not contain a dot" in refused
