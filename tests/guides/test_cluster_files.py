"""The files of examples/cluster: parameters plan, scripts parse and name what exists, the router meets its servers.

No such hardware is here. The script for Slurm runs with a stand-in for Slurm's two commands, and with a Ray of two
nodes on this machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from endpoint import FakeEndpoint

from arena_learning.cli.main import cli
from arena_learning.engines import Completion
from arena_learning.engines.openai.engine import OpenAi
from arena_learning.params import Endpoint, Sampling, check_rounds, load_params
from arena_learning.schema import Turn
from pipeline.project import REPOSITORY

FOLDER = REPOSITORY / "examples" / "cluster"
PARAMS = sorted(FOLDER.glob("*.yaml"))
SCRIPTS = sorted(FOLDER.glob("*.sh"))
GUIDE = (REPOSITORY / "docs" / "guide" / "scale.md").read_text(encoding="utf-8")
GPU_GIB = {"one-gpu": 24, "router": 24}  # others: 80 GB
# Of Llama's form, as what the files name is: hidden size, layers, heads, their keys, inner size, vocabulary.
SIZES = {
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": (2048, 24, 32, 32, 8192, 49152),
    "mistralai/Mistral-7B-Instruct-v0.3": (4096, 32, 32, 8, 14336, 32768),
}


def test_the_guide_names_every_file():
    assert len(PARAMS) == 4
    assert len(SCRIPTS) == 3
    for path in (*PARAMS, *SCRIPTS, FOLDER / "router.conf"):
        assert f"examples/cluster/{path.name}" in GUIDE


@pytest.mark.parametrize("path", PARAMS, ids=lambda path: path.stem)
def test_its_models_need_no_more_gpus_than_it_says(path):
    params = load_params(path)
    check_rounds(params)
    (there,) = re.findall(r"[Nn]eeds (\d+) GPU", path.read_text(encoding="utf-8"))
    local = [o for o in (*params.opponents.values(), *params.judges.values()) if o.engine == "vllm"]
    needed = [model.replicas * model.vllm.tensor_parallel for model in (params.serving, *local)]
    # Contestants and judges take turns, so that each may have all of them; on many GPUs, each has.
    assert max(needed) == int(there)
    assert set(needed) == {int(there)}


@pytest.mark.parametrize("path", PARAMS, ids=lambda path: path.stem)
def test_its_trainings_fit_by_the_plan(path, tmp_path, monkeypatch):
    hidden, layers, heads, keys, inner, words = SIZES[load_params(path).weights.source]
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "intermediate_size": inner,
        "vocab_size": words,
    }
    base = tmp_path / "models" / "base"
    base.mkdir(parents=True)
    (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shutil.copy(path, tmp_path / "params.yaml")
    shutil.copytree(REPOSITORY / "profiles" / "accelerate", tmp_path / "profiles" / "accelerate")
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(cli, ["plan", "--memory", "--json"], catch_exceptions=False)
    rows = json.loads(said.output)["memory"]
    params = load_params(path)
    assert {row["method"] for row in rows} == {one.method for one in params.rounds.values()}
    assert all(row["total"] < 0.9 * GPU_GIB.get(path.stem, 80) for row in rows), rows


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_parses_and_calls_what_exists(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    assert os.access(path, os.X_OK)
    assert set(re.findall(r"^ *arena ([a-z]+)", text, flags=re.MULTILINE)) <= set(
        cli.list_commands(click.Context(cli))
    )
    for name in re.findall(r"examples/cluster/[\w.-]+", text):
        assert (REPOSITORY / name).is_file(), name
    slurm = re.findall(r"^#SBATCH --([a-z-]+)=", text, flags=re.MULTILINE)
    assert bool(slurm) == path.name.startswith("slurm")
    assert len(slurm) == len(set(slurm))


def test_ray_knows_the_options_of_the_script():
    scripts = pytest.importorskip("ray.scripts.scripts", reason="Ray is an extra of its own")
    text = (FOLDER / "slurm-ray.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    known = {flag for param in scripts.cli.commands["start"].params for flag in param.opts}
    starts = re.findall(r"ray start (.*?) &", text)
    assert len(starts) == 2
    for line in starts:
        assert set(re.findall(r"--[a-z-]+", line)) <= known


def test_the_router_has_the_servers_that_the_script_starts():
    conf = (FOLDER / "router.conf").read_text(encoding="utf-8")
    bare = re.sub(r"#.*", "", conf)
    statements = [part.strip() for part in re.split(r"[;{}]", bare)]
    assert bare.count("{") == bare.count("}")
    assert all(re.fullmatch(r'[a-z_]+( [^;{}"]+| "")*', part) for part in statements if part)
    servers = [int(port) for port in re.findall(r"server 127\.0\.0\.1:(\d+)", bare)]
    script = (FOLDER / "serve.sh").read_text(encoding="utf-8")
    first, count = int(re.findall(r"--port \$\(\((\d+) \+ gpu\)\)", script)[0]), 8
    assert f"gpus=${{2:-{count}}}" in script
    assert servers == list(range(first, first + count))
    judge = load_params(FOLDER / "router.yaml").judges["qwen-14b"]
    (port,) = re.findall(r"listen (\d+)", bare)
    assert judge.base_url == f"http://localhost:{port}/v1"
    (patience,) = re.findall(r"proxy_read_timeout (\d+)s", bare)
    assert judge.timeout == int(patience)


@pytest.fixture
def routed(tmp_path):
    """Two servers, and the shipped configuration of nginx before them; yields its address, the servers and a stop."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed: it is a program of the system's packages (see CONTRIBUTING.md)")
    with ExitStack() as first, FakeEndpoint(latency=0.02) as two:
        one = first.enter_context(FakeEndpoint(latency=0.02))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        conf = (FOLDER / "router.conf").read_text(encoding="utf-8").replace("/tmp/", f"{tmp_path}/")
        conf = re.sub(r"listen \d+", f"listen 127.0.0.1:{port}", conf)
        conf = conf.replace("127.0.0.1:8001", f"127.0.0.1:{one.port}").replace(
            "127.0.0.1:8002", f"127.0.0.1:{two.port}"
        )
        conf = re.sub(r"server 127\.0\.0\.1:80\d\d .*\n", "", conf)
        (tmp_path / "router.conf").write_text(f"daemon off;\n{conf}", encoding="utf-8")
        command = [program, "-p", str(tmp_path), "-c", "router.conf"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as router:
            try:
                for _ in range(100):
                    with socket.socket() as probe:
                        if probe.connect_ex(("127.0.0.1", port)) == 0:
                            break
                    time.sleep(0.05)
                yield f"http://127.0.0.1:{port}/v1", one, two, first.close
            finally:
                router.terminate()


def test_the_router_spreads_requests_and_goes_on_without_a_server(routed):
    url, one, two, stop_one = routed
    endpoint = Endpoint(base_url=url, concurrency=16, deployment="routed")
    engine = OpenAi("m", endpoint, first_wait=0.01)

    def ask(first):
        asked = [[Turn(role="user", content=f"Question {n}")] for n in range(first, first + 60)]
        return engine.respond(asked, Sampling(max_tokens=8))

    try:
        assert all(isinstance(answer, Completion) for answer in ask(0))
        shares = [len(one.requests), len(two.requests)]
        assert sum(shares) == 60
        assert min(shares) >= 15
        stop_one()
        assert all(isinstance(answer, Completion) for answer in ask(60))
        assert len(two.requests) == shares[1] + 60
    finally:
        engine.close()


# Runs a step here instead of on the machine that it names.
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
# What stands for `dvc repro`: it asks two copies on the cluster that the script has started.
RUN = """#!{python}
import ray
from functools import partial
from pathlib import Path
from arena_learning.engines.replicas import Replicas
from arena_learning.params import Ray, Sampling
from arena_learning.schema import Turn
from copied_engines import Logged
engine = Replicas(partial(Logged, Path("asked"), 0.5), 2, Ray(address="auto"), where="serving")
answers = engine.respond([[Turn(role="user", content=f"q{{n}}")] for n in range(6)], Sampling())
print("nodes", len(ray.nodes()), "answers", len(answers), flush=True)
engine.close()
"""


@pytest.mark.slow
def test_the_script_for_slurm_joins_two_nodes_and_runs_on_them(tmp_path):
    ray = pytest.importorskip("ray", reason="Ray is an extra of its own: pip install 'arena-learning[ray]'")
    here = ray.util.get_node_ip_address()
    bin_folder = tmp_path / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    (tmp_path / "asked").mkdir()
    (bin_folder / "activate").write_text(f'export PATH="{bin_folder}:$PATH"\n', encoding="utf-8")
    commands = {
        "srun": SRUN,
        "scontrol": f"#!/usr/bin/env bash\nprintf '{here}\\n{here}\\n'\n",
        "dvc": RUN.format(python=sys.executable),
        "arena": "#!/usr/bin/env bash\necho arena $*\n",
    }
    for name, text in commands.items():
        (bin_folder / name).write_text(text, encoding="utf-8")
        (bin_folder / name).chmod(0o755)
    script = subprocess.Popen(
        ["bash", str(FOLDER / "slurm-ray.sh")],
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "tests" / "engines"), *filter(None, sys.path)]),
            "SLURM_JOB_NODELIST": "n[1-2]",
            "RAY_PORT": "6399",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = script.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        os.killpg(script.pid, signal.SIGTERM)  # the script's trap ends the nodes
        said, _ = script.communicate(timeout=30)
    assert "nodes 2 answers 6" in said, said
    assert "arena leaderboard --print" in said
    assert len(list((tmp_path / "asked").iterdir())) == 2
