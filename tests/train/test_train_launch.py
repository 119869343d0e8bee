"""Trainings in two processes (gloo, on the CPU) end as in one, by accelerate and by Ray."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from arena_learning.core import STOP_AT, ArenaError, Progress
from arena_learning.params import Ray, Train, load_params
from arena_learning.train import train_round
from arena_learning.train.launch import Launched, _killed
from arena_learning.train.worker import SilentProgress
from tiny import build_tiny_model, write_preferences, write_sft

pytestmark = [
    pytest.mark.torch,
    # Ray's own: it reads files and sockets that it leaves to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

REPOSITORY = Path(__file__).parents[2]
# Eleven rows of many lengths: with a batch of 4, the last step of an epoch has three rows, which two cannot share evenly.
QUESTIONS = [f"What is {n} and {n}?" + " Tell me more." * (n % 4) for n in range(11)]
SFT = [(question, "The planet is Mars." * (1 + n % 3)) for n, question in enumerate(QUESTIONS)]
PAIRS = [(question, "Two and two is four." * (1 + n % 2), "No.") for n, question in enumerate(QUESTIONS)]
TWO = {"kind": "accelerate", "processes": 2}
RAY = {"kind": "ray", "processes": 2}
needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is an extra of its own: pip install 'arena-learning[ray]'"
)
by_ray = [needs_ray, pytest.mark.slow]
both = pytest.mark.parametrize("two", [TWO, pytest.param(RAY, marks=by_ray)], ids=["accelerate", "ray"])
SECRET = "ray-must-not-see-this"


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two nodes with a CPU each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    node = {"num_cpus": 1, "object_store_memory": 128 * 2**20}
    folder = tempfile.mkdtemp(prefix="ray")  # short: sockets lie in it
    started = Cluster(
        initialize_head=True, head_node_args={**node, "include_dashboard": False, "temp_dir": folder}
    )
    try:
        started.add_node(**node)
        yield started
    finally:
        started.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def address(request):
    """The address of the cluster, for trainings by Ray; it is started for them alone."""
    two = request.node.callspec.params.get("two", {}) if hasattr(request.node, "callspec") else {}
    return request.getfixturevalue("cluster").address if two.get("kind") == "ray" else ""


@pytest.fixture(scope="module")
def lively(tmp_path_factory):
    """A model that says anything: untied and untrained."""
    return build_tiny_model(tmp_path_factory.mktemp("lively") / "base", tied=False)


def optimiser(**over):
    few = {"epochs": 2, "learning_rate": 1e-3, "batch_size": 4, "device_batch_size": 2, "max_length": 128}
    return few | over


@pytest.fixture
def train(lively, tmp_path, address):
    """Train the lively model: `train(method, launch, {...})` gives the report and the folder."""
    write_sft(tmp_path / "sft.jsonl", SFT)
    write_preferences(tmp_path / "preferences.jsonl", PAIRS)
    project = load_params(REPOSITORY / "params.yaml")

    def run(method, launch, settings, *, init=lively, address=address, **top):
        name = f"{method}-{launch.get('processes', 1)}"
        params = {"device": "cpu", "launch": launch, method: settings, **top}
        report = train_round(
            method,
            init=init,
            out=tmp_path / name,
            sft=tmp_path / "sft.jsonl",
            preferences=tmp_path / "preferences.jsonl",
            params=Train.model_validate(params),
            seed=1,
            checkpoints=tmp_path / "checkpoints",
            launched=Launched("sft-i1", project.model_copy(update={"ray": Ray(address=address)}), tmp_path),
        )
        return report, tmp_path / name

    run.folder = tmp_path
    return run


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def check_equal(one, two):
    """Compare two results: rows, steps, each step's loss, weights."""
    import torch

    (report, folder), (other, again) = one, two
    assert (report.cost.processes, other.cost.processes) == (1, 2)
    assert [phase.rows for phase in report.phases] == [phase.rows for phase in other.phases]
    for phase, same in zip(report.phases, other.phases, strict=True):
        assert phase.steps == same.steps
        assert len(phase.curve) == len(same.curve) > 0
        for point, twin in zip(phase.curve, same.curve, strict=True):
            assert twin["step"] == point["step"]
            assert twin["loss"] == pytest.approx(point["loss"], abs=1e-4)
            assert twin["lr"] == pytest.approx(point["lr"])
    ours, theirs = weights(folder), weights(again)
    assert ours.keys() == theirs.keys()
    moved = max(
        float((ours[name] - start).abs().max()) for name, start in weights(folder.parent / "start").items()
    )
    assert moved > 1e-3
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, atol=2e-4, rtol=1e-3)
    assert report.weight_change.after_saving == pytest.approx(other.weight_change.after_saving, rel=1e-3)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("sft", optimiser()),
        ("sft", optimiser(device_batch_size=1, lora_rank=4)),
        ("dpo", optimiser()),
        ("dpo", optimiser(device_batch_size=4)),
        ("ppo", optimiser(max_tokens=6, epochs=1, reward=optimiser(batch_size=6, device_batch_size=3))),
    ],
    ids=["sft", "sft-lora", "dpo", "dpo-whole", "ppo"],
)
@both
def test_two_processes_end_as_one(train, lively, method, settings, two):
    (train.folder / "start").symlink_to(lively)
    check_equal(train(method, {}, settings), train(method, two, settings))
    assert not (train.folder / "checkpoints").exists()


@pytest.mark.slow
@needs_ray
def test_without_an_address_ray_is_started_here_and_told_no_secret(train, lively, monkeypatch):
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    monkeypatch.setenv("JUDGE_API_KEY", SECRET)
    (train.folder / "start").symlink_to(lively)
    try:
        check_equal(train("sft", {}, optimiser()), train("sft", RAY, optimiser()))
        written = [path for path in folder.rglob("*") if path.is_file()]
        assert any(path.name.startswith("raylet") for path in written)
        assert not [path for path in written if SECRET.encode() in path.read_bytes()]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def can_hide_folders():
    """Whether this process may start others that see another file system."""
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@needs_ray
@pytest.mark.skipif(
    not (shutil.which("unshare") and can_hide_folders()), reason="needs the right to mount (unshare -m)"
)
def test_a_machine_without_the_projects_files_is_refused_before_anything_starts(train, tmp_path, cluster):
    hidden = f"mount -t tmpfs none {tmp_path} && exec {sys.executable} -m ray.scripts.scripts start"
    node = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", f"{hidden} --address={cluster.address} --num-cpus=1 --block"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while sum(one["Alive"] for one in cluster.global_state.node_table()) < 3:
            assert node.poll() is None
            time.sleep(0.2)
        with pytest.raises(ArenaError, match="does not have this project's files"):
            train("sft", {**RAY, "processes": 3}, optimiser(batch_size=3), address=cluster.address)
    finally:
        os.killpg(node.pid, signal.SIGTERM)
        node.wait(60)
    assert not (tmp_path / "sft-3").exists()


def online_project(root, model):
    """Write what a round of RLOO without battles reads: parameters, a split, and no answers of opponents."""
    rows = (REPOSITORY / "data" / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    instructions = [json.loads(row) for row in rows[:6]]
    for one in instructions:
        one["rubric"] = [point for point in one["rubric"] if point["kind"] != "semantic"]
    (root / "data" / "prepared").mkdir(parents=True)
    lines = [json.dumps(one) + "\n" for one in instructions]
    (root / "data" / "prepared" / "d3.jsonl").write_text("".join(lines), encoding="utf-8")
    (root / "data" / "rounds" / "rloo-i1").mkdir(parents=True)
    (root / "data" / "rounds" / "rloo-i1" / "responses.jsonl").touch()
    (root / "models").mkdir()
    (root / "models" / "base").symlink_to(model)
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    settings = {"judge": "rubric", "monitor": "content", "max_tokens": 10, "group": 2} | optimiser(
        max_length=400
    )
    params["train"] = {"device": "cpu", "rloo": settings}
    params["rounds"] = {"rloo-i1": {"index": 0, "method": "rloo", "split": "d3", "target": "none"}}
    params["rounds"]["rloo-i1"] |= {"init": "base", "threshold": 0.0}
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return params


@both
def test_rloo_judges_whole_groups_in_each_process(lively, tmp_path, two, address):
    import torch

    from arena_learning.core import find_project
    from arena_learning.params import parse_params
    from arena_learning.train import train_named

    raw = online_project(tmp_path, lively) | {"ray": {"address": address}}
    paths = find_project(tmp_path)
    reports = []
    for launch in ({}, two):
        raw["train"]["launch"] = launch
        reports.append(train_named("rloo-i1", parse_params(raw, "test"), paths))
        reports[-1]["weights"] = weights(paths.model("rloo-i1"))
    one, two = reports
    assert (one["cost"]["processes"], two["cost"]["processes"]) == (1, 2)
    assert one["cost"]["judged"] > 0  # and what the second training sampled alike is in the store
    first, same = one["phases"][0], two["phases"][0]
    assert first["rows"] == same["rows"]
    assert first["figures"]["sampled"] == same["figures"]["sampled"]
    for point, twin in zip(first["curve"], same["curve"], strict=True):
        assert twin["reward"] == pytest.approx(point["reward"], abs=1e-3)
        assert twin["loss"] == pytest.approx(point["loss"], abs=1e-3)
    # Adam moves a weight whose gradient is only rounding by a whole step, to either side: the mean says more than the
    # greatest distance.
    apart = [(tensor - two["weights"][name]).abs().flatten() for name, tensor in one["weights"].items()]
    assert float(torch.cat(apart).mean()) < 5e-5


def worker(folder, rank):
    """Return the process of this rank of the training below ``folder``: the one that writes its file."""
    files = {str(path) for path in folder.glob(f"checkpoints/launch/process-{rank}.log")}
    for entry in Path("/proc").iterdir():
        try:
            if os.readlink(entry / "fd" / "1") in files:
                return int(entry.name)
        except (OSError, ValueError):
            continue
    return 0


def kill_at_a_checkpoint(folder, rank):
    """Kill a worker as soon as a training below ``folder`` has its third checkpoint, or a later one.

    A later one: the next checkpoint takes the place of the one before, so the third is there for a moment only.
    """
    step = 0
    while step < 3:
        time.sleep(0.01)
        for state in folder.glob("checkpoints/*/checkpoint-*/trainer_state.json"):
            step = max(step, int(state.parent.name.partition("-")[2]))
    process = worker(folder, rank)
    assert process, "the training was over before its process was found"
    os.kill(process, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the process in /proc, which Linux has")
@both
def test_a_process_that_dies_ends_the_stage_and_the_next_run_goes_on(train, lively, two):
    settings = optimiser(epochs=8)
    whole, folder = train("sft", {}, settings)
    killer = threading.Thread(target=kill_at_a_checkpoint, args=(train.folder, 1), daemon=True)
    killer.start()
    said = {"accelerate": "process 1 of 2 ended by signal 9", "ray": "process 1 of 2 failed: it died"}
    with pytest.raises(ArenaError, match=said[two["kind"]]) as caught:
        train("sft", two, settings, checkpoint_minutes=0)
    killer.join()
    assert "goes on from the last checkpoint" in caught.value.hint
    assert not (train.folder / "sft-2").exists()
    report, again = train("sft", two, settings, checkpoint_minutes=0)
    assert report.cost.resumed_from["sft"] >= 3
    assert [p["step"] for p in report.curve()] == [p["step"] for p in whole.curve()]
    for point, twin in zip(whole.curve(), report.curve(), strict=True):
        assert twin["loss"] == pytest.approx(point["loss"], abs=1e-3)
    for name, tensor in weights(folder).items():
        assert float((weights(again)[name] - tensor).abs().max()) < 2e-3


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        ([(0, 3, 100), (1, -9, 100)], (1, 9)),  # both seen at once: process 0 failed because 1 was gone
        ([(0, -6, 100), (1, -9, 101)], (1, 9)),
        ([(0, -15, 100), (1, -11, 100)], (1, 11)),  # torchrun ended process 0
        ([(1, 3, 100), (0, -9, 130)], None),  # it did not end when asked to, half a minute later
        ([(0, 3, 100)], None),
    ],
)
def test_the_process_that_a_signal_ended_is_found_among_those_that_failed_of_it(ended, expected):
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    failures = {rank: ProcessFailure(rank, 4000 + rank, code, "no file") for rank, code, _ in ended}
    for rank, _, when in ended:
        failures[rank].timestamp = when
    assert _killed(f"time: a line of a process\n{ChildFailedError('worker', failures)}") == expected


@both
def test_an_error_of_a_process_is_the_stages(train, lively, tmp_path, two):
    from safetensors.torch import save_file

    broken = shutil.copytree(lively, tmp_path / "broken")
    tensors = weights(broken)
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArenaError, match="training has diverged") as caught:
        train("sft", two, optimiser(), init=broken)
    assert "lower learning_rate" in caught.value.hint
    assert not (tmp_path / "sft-2").exists()


def test_what_cannot_be_launched_is_said_before_anything_starts(train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArenaError, match=r"train\.sft\.batch_size: 5 rows cannot be divided among 2"):
        train("sft", TWO, optimiser(batch_size=5))
    with pytest.raises(ArenaError, match="no such file"):
        train("sft", {**TWO, "config": "gone.yaml"}, optimiser())
    (tmp_path / "two.yaml").write_text("distributed_type: MULTI_GPU\nnum_machines: 2\n")
    with pytest.raises(ArenaError, match="num_machines is 2"):
        train("sft", {**TWO, "config": "two.yaml"}, optimiser())
    (tmp_path / "two.yaml").write_text("distributed_type: MULTI_GPU\nnum_machines: two\n")
    with pytest.raises(ArenaError, match="num_machines is two"):
        train("sft", {**TWO, "config": "two.yaml"}, optimiser())
    (tmp_path / "fsdp.yaml").write_text("distributed_type: FSDP\n")
    with pytest.raises(ArenaError, match="ppo samples from the whole model"):
        train("ppo", {**TWO, "config": "fsdp.yaml"}, optimiser(reward=optimiser()))
    with pytest.raises(ValueError, match="inprocess is one process"):
        train("sft", {"processes": 2}, optimiser())


def test_a_step_is_cut_into_parts_of_the_same_loss():
    """The mean of the parts' means, each times its weight, is the mean of the means of one process's groups."""
    from arena_learning.train.shared_batches import cut_step

    losses = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0]
    # Groups of 4: (3 + 1 + 4 + 1) / 4 = 2.25 and (5 + 9 + 2) / 3 = 16/3; their mean is 3.791667.
    for part, parts in ((4, 2), (2, 4), (2, 6), (1, 8)):
        found = cut_step(range(7), 4, part, parts)
        assert len(found) == parts
        assert sorted(row for one in found if one.weight for row in one.rows) == list(range(7))
        mean = sum(one.weight * sum(losses[row] for row in one.rows) / len(one.rows) for one in found) / parts
        assert mean == pytest.approx(3.791667, abs=1e-6)


@pytest.mark.parametrize(
    ("batch", "device", "processes", "wanted"),
    [(128, 4, 8, (4, 4)), (8, 8, 2, (4, 1)), (8, 2, 4, (2, 1)), (8, 1, 3, (1, 3)), (12, 3, 2, (3, 2))],
)
def test_the_batch_is_the_whole_one_however_many_share_it(batch, device, processes, wanted):
    from arena_learning.train.arguments import TrainingPlan

    one = TrainingPlan(device, batch // device, 10)
    plan = one.shared(processes)
    assert (plan.device_batch, plan.accumulation) == wanted
    assert (plan.steps, plan.step_rows, plan.group) == (10, batch, device)
    assert plan.device_batch * plan.accumulation * processes >= batch


STAGE = """
import sys
from pathlib import Path
from arena_learning.params import Ray, Train, load_params
from arena_learning.train import train_round
from arena_learning.train.launch import Launched
folder = Path(sys.argv[1])
settings = {"epochs": 4000, "batch_size": 4, "max_length": 128, "launch": {"kind": sys.argv[3], "processes": 2}}
train_round(
    "sft", init=Path(sys.argv[2]), out=folder / "out", sft=folder / "sft.jsonl", preferences=folder / "none",
    params=Train.model_validate({"device": "cpu", "checkpoint_minutes": 0, "sft": settings}),
    seed=1, checkpoints=folder / "checkpoints",
)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes in /proc, which Linux has")
@both
def test_the_processes_end_with_the_stage_that_was_killed(lively, tmp_path, two):
    write_sft(tmp_path / "sft.jsonl", SFT)
    stage = subprocess.Popen(
        [sys.executable, "-c", STAGE, str(tmp_path), str(lively), two["kind"]], stderr=subprocess.DEVNULL
    )
    while not list(tmp_path.glob("checkpoints/sft/checkpoint-*/trainer_state.json")):
        assert stage.poll() is None
        time.sleep(0.1)
    running = [worker(tmp_path, 0), worker(tmp_path, 1)]
    assert all(running)
    stage.kill()
    stage.wait()
    until = time.monotonic() + 60
    while any(Path(f"/proc/{number}").exists() for number in running) and time.monotonic() < until:
        time.sleep(0.2)
    assert not any(Path(f"/proc/{number}").exists() for number in running)


def seen(machine="one", file="a1", **versions):
    from arena_learning.train.ray_launch import Machine

    return Machine(machine, file, {"Python": "3.13.1", "torch": "2.13.0"} | versions)


@needs_ray
def test_machines_that_cannot_train_together_are_refused():
    from arena_learning.train.ray_launch import check_machines

    assert check_machines(seen(), [seen(), seen("two"), seen("two")]) == 2
    with pytest.raises(ArenaError, match="the machine two does not have this project's files") as caught:
        check_machines(seen(), [seen(), seen("two", "")])
    assert "a file system that all of them share" in caught.value.hint
    with pytest.raises(ArenaError, match=r"the machine two has torch 2\.12\.0, and one has 2\.13\.0"):
        check_machines(seen(), [seen("two", torch="2.12.0")])


@needs_ray
@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("fsdp2", {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "false"}),
        ("zero3", {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}),
    ],
)
def test_ray_tells_its_processes_what_accelerate_would(file, told, monkeypatch):
    from arena_learning.train.ray_launch import accelerate_environment

    monkeypatch.setenv("JUDGE_API_KEY", SECRET)
    found = accelerate_environment(REPOSITORY / "profiles" / "accelerate" / f"{file}.yaml", 16)
    assert told.items() <= found.items()
    assert SECRET not in found.values()


@needs_ray
def test_ray_tells_its_processes_when_the_run_must_stop(monkeypatch):
    """A cluster's processes inherit no environment from the stage."""
    from arena_learning.train.ray_launch import told_environment

    monkeypatch.delenv(STOP_AT, raising=False)
    assert told_environment(None, 2) == {}
    monkeypatch.setenv(STOP_AT, "1900000000.000 8")
    assert told_environment(None, 2) == {STOP_AT: "1900000000.000 8"}


def test_the_progress_of_the_other_processes_is_not_shown(capsys):
    for kind in (Progress, SilentProgress):
        with kind("train", 2, "steps", every=0.0) as progress:
            progress.advance()
    assert capsys.readouterr().err.count("train: 1/2 steps") == 1  # by the first process, and once
