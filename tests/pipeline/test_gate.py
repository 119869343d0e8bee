"""The gate in a real pipeline: an old params.yaml, a champion, a planted regression, the way back, MLflow again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.project import make_project, read_params, run, run_json, write_params
from sample import one_iteration

pytestmark = [pytest.mark.pipeline, pytest.mark.torch, pytest.mark.slow]

ROUNDS = {name: this for name, this in one_iteration(dpo=0.5).items() if name != "ppo-i1"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A project without a section `gate`, after `dvc repro`: two rounds, and an independent judge on the test set."""
    root = tmp_path_factory.mktemp("gate")
    make_project(root, tiny_base, rounds=ROUNDS, splits={"d1": 3, "d2": 3}, test=12)
    params = read_params(root)
    del params["gate"]
    params["evaluate"]["judges"] = ["rubric", "reference"]
    write_params(root, params)
    run(root, "dvc", "repro", timeout=560)
    return root


def ran_stages(output: str) -> set[str]:
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def gate(root: Path) -> dict:
    return json.loads((root / "data" / "arena" / "gate.json").read_text(encoding="utf-8"))


def answer_like(root: Path, round_name: str, other: str, more: str = "") -> None:
    """Replace a round's test answers by those of another contestant, with ``more`` behind each; rate again."""
    folder = root / "data" / "arena" / "responses"
    rows = [json.loads(line) for line in (folder / f"{other}.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row |= {"contestant": round_name, "text": row["text"] + more}
    target = folder / f"{round_name}.jsonl"
    target.unlink()
    target.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")
    run(root, "arena", "evaluate")
    run(root, "arena", "leaderboard")


def test_an_old_project_gets_its_comparison_and_runs_nothing_again(ran: Path) -> None:
    found = gate(ran)
    assert (found["candidate"], found["against"], found["judge"]) == ("dpo-i1", "base", "reference")
    assert (ran / "reports" / "gate.html").is_file()
    assert not (ran / "registry.json").exists()
    assert ran_stages(run(ran, "dvc", "repro")) == {"inputs"}
    params = read_params(ran)
    write_params(ran, params | {"gate": {"cut_off_rise": 0.5}})
    try:
        assert ran_stages(run(ran, "dvc", "repro")) == {"inputs", "gate"}
    finally:
        write_params(ran, params)
        run(ran, "dvc", "repro")


def test_promote_refuse_roll_back_and_show_it_all_again(ran: Path, tmp_path: Path) -> None:
    root = tmp_path / "clone"
    shutil.copytree(ran, root, symlinks=True)
    # The tiny base says nothing, and no text is within a factor of that.
    write_params(root, read_params(root) | {"gate": {"length_growth": 2.5}})
    answer_like(root, "base", "plain")
    answer_like(root, "sft-i1", "expert")
    promoted = run(root, "arena", "promote", "sft-i1")
    assert "sft-i1 is the champion" in promoted
    assert "champion is arena-learning/1" in promoted
    assert run_json(root, "arena", "champion", "--json")["round"] == "sft-i1"

    answer_like(root, "dpo-i1", "expert", " and so on" * 60)
    refused = run(root, "arena", "promote", "dpo-i1", code=1)
    assert "dpo-i1 is refused" in refused
    assert "FAILS mean words of a test answer" in refused
    assert "FAILS repetition" in refused
    decisions = json.loads((root / "registry.json").read_text(encoding="utf-8"))["decisions"]
    assert [one["accepted"] for one in decisions] == [True, False]
    assert any("mean words" in reason for reason in decisions[1]["reasons"])

    # The stage sees the decision: DVC runs it again, and no other one but those whose files were changed by hand.
    run(root, "arena", "inputs")
    run(root, "arena", "gate")
    assert gate(root)["against"] == "sft-i1"

    shutil.rmtree(root / "mlruns")
    (root / "mlruns").mkdir()
    tracked = run(root, "arena", "track", "--rebuild")
    assert "candidate: arena-learning/2" in tracked
    assert "champion: arena-learning/1" in tracked

    assert "there is no champion; it was sft-i1" in run(root, "arena", "rollback")
    assert "there is no champion yet" in run(root, "arena", "champion")
    assert "no champion to roll back" in run(root, "arena", "rollback", code=2)
