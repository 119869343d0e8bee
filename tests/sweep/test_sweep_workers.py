"""`arena sweep judge --workers 2`, the command itself, on an endpoint that judges: each trial once, in Optuna and MLflow."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import product

import optuna
import pytest
import yaml
from judging_endpoint import PROMPTS, JudgingEndpoint, write_prompts
from test_sweep_kills import study_of

from arena_learning.core.json_files import read_json
from arena_learning.tracking.mlflow_store import opened

TEMPLATE, TEMPERATURE = "judges.big.template", "judges.big.temperature"
SPACE = {TEMPLATE: [f"{name}.jinja" for name in PROMPTS], TEMPERATURE: [0.0, 0.7]}
GRID = sorted(product(*SPACE.values()))
IN_FLIGHT = 4


@pytest.fixture
def endpoint(files):
    """A judging endpoint, and a project whose judge `big` asks it."""
    _, paths = files
    write_prompts(paths.root)
    with JudgingEndpoint(latency=0.1) as running:
        raw = yaml.safe_load(paths.params.read_text(encoding="utf-8"))
        raw["judges"]["big"] = {
            "kind": "llm",
            "engine": "openai",
            "model": "m",
            "base_url": running.base_url,
            "concurrency": IN_FLIGHT,
            "template": "t0.jinja",
        }
        paths.params.write_text(yaml.safe_dump(raw), encoding="utf-8")
        yield running


@pytest.fixture
def start(files, tmp_path, write_pairs):
    """Start the command in the project, as a user would."""
    _, paths = files
    pairs = write_pairs(tmp_path / "pairs.jsonl")
    varied = [part for key, values in SPACE.items() for part in ("--vary", f"{key}={values}")]

    def begin(*options):
        command = ["sweep", "judge", "big", "--labelled", str(pairs), "--trials", "6", "--workers", "2"]
        run = [sys.executable, "-c", "from arena_learning.cli.main import main; main()"]
        return subprocess.Popen(
            [*run, *command, *varied, *options],
            cwd=paths.root,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    return begin


def kill_in_begun_trial(process, count):
    """Kill the process that was started once ``count`` trials have begun; its helper has to end by itself."""
    said = []
    for line in process.stderr:
        said.append(line)
        count -= bool(re.match(r"trial \d+: \w+=", line))
        if not count:
            process.kill()
            process.communicate(timeout=60)  # until the helper, who has the same standard error, is gone too
            return
    process.communicate()
    pytest.fail(f"there were not so many trials: {''.join(said)}")


def finished_of(study):
    return [t for t in study.trials if t.state.is_finished() and not t.user_attrs.get("died")]


@pytest.mark.slow
def test_killed_twice_and_resumed_with_two_workers_every_combination_is_recorded_once(files, endpoint, start):
    _, paths = files
    endpoint.hold(2)  # so that both workers have a trial in each run that is killed
    kill_in_begun_trial(start(), 3)
    endpoint.hold(2)
    kill_in_begun_trial(start(), 2)
    endpoint.hold(0)
    process = start()
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said

    study = study_of(paths, "")
    finished = finished_of(study)
    assert sorted((t.params[TEMPLATE], t.params[TEMPERATURE]) for t in finished) == GRID
    assert len({t.user_attrs["worker"] for t in study.trials if "worker" in t.user_attrs}) >= 3
    died = [t.number for t in study.trials if t.user_attrs.get("died")]
    assert died
    assert sorted(t.user_attrs["retry_of"] for t in study.trials if "retry_of" in t.user_attrs) == died
    # What had been asked when a worker was killed is asked again, and nothing else.
    assert endpoint.paid_again() <= 2 * 2 * IN_FLIGHT

    report = read_json(paths.sweep_report(study.study_name))
    assert [t["number"] for t in report["trials"]] == [t.number for t in finished]
    assert report["winner_params"] == {TEMPLATE: "t1.jinja", TEMPERATURE: 0.0}
    assert report["confirmed"][0]["agreement"]["mean"] == 1.0
    same_story(paths, finished)
    prompts_are_registered(paths, report)


def same_story(paths, finished):
    """MLflow has a run a finished trial and no other, with the same parameters, state, value and constraints."""
    with opened(paths) as store:
        runs = store.client.search_runs([store.experiment], "tags.`arena.kind` = 'trial'")
        parents = store.client.search_runs([store.experiment], "tags.`arena.kind` = 'sweep'")
    assert len(parents) == 1
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {parents[0].info.run_id}
    shown = {int(run.data.tags["arena.trial"]): run for run in runs}
    assert len(shown) == len(runs)
    assert sorted(shown) == [trial.number for trial in finished]
    for trial in finished:
        run = shown[trial.number]
        assert run.data.params == {key: str(value) for key, value in trial.params.items()}
        assert run.data.tags["arena.state"] == trial.state.name.lower()
        assert run.info.status == {"COMPLETE": "FINISHED", "PRUNED": "KILLED"}[trial.state.name]
        complete = trial.state.name == "COMPLETE"
        assert run.data.metrics.get("objective/agreement") == (trial.values[0] if complete else None)
        for name, value in trial.constraints.items():
            assert run.data.metrics[f"constraint/{name}"] == value


def prompts_are_registered(paths, report):
    """Each trial names the template and digest that its games name, and the registry has a version of that digest."""
    with opened(paths) as store:
        for trial in report["trials"]:
            (recorded,) = trial["shown"]["templates"]
            name, digest = recorded.split("@")
            assert name == trial["params"][TEMPLATE]
            (version,) = store.client.search_prompt_versions(f"arena-judge-{name.removesuffix('.jinja')}")
            assert version.tags["arena.digest"] == digest


@pytest.mark.slow
def test_two_workers_share_the_trials_and_a_killed_helpers_trial_is_taken_over(files, endpoint, start):
    """The endpoint answers nobody before the helper is killed, and by then both have a trial."""
    _, paths = files
    endpoint.hold(3)
    process = start("--no-track")
    begun = []
    for line in process.stderr:
        begun += [line] if re.match(r"trial \d+: \w+=", line) else []
        if len(begun) == 2:
            break
    helper = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    subprocess.run(["kill", "-9", *helper.stdout.split()], check=True)
    endpoint.hold(0)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "a worker ended with code -9; others run its trials" in said

    study = study_of(paths, "")
    finished = finished_of(study)
    assert sorted((t.params[TEMPLATE], t.params[TEMPERATURE]) for t in finished) == GRID
    (died,) = [t for t in study.trials if t.user_attrs.get("died")]
    assert [t.params for t in finished if t.user_attrs.get("retry_of") == died.number] == [died.params]
    assert died.user_attrs["worker"] not in {t.user_attrs["worker"] for t in finished}
    assert {t.state for t in finished} <= {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED}
