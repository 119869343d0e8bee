"""The endpoint, and the engine on it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def serve():
    """Start endpoints; all end with the test."""
    from contextlib import ExitStack

    from endpoint import FakeEndpoint

    with ExitStack() as stack:
        yield lambda *args, **fields: stack.enter_context(FakeEndpoint(*args, **fields))


@pytest.fixture
def connect():
    """Open engines on an endpoint, with short waits; all are closed with the test."""
    from arena_learning.engines.openai.engine import OpenAi
    from arena_learning.params import Endpoint

    opened = []

    def make(server, system="", first_wait=0.01, **fields):
        endpoint = Endpoint(**{"base_url": server.base_url, "concurrency": 8, "timeout": 5.0, **fields})
        opened.append(OpenAi("m", endpoint, system=system, where="opponents.x", first_wait=first_wait))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()
