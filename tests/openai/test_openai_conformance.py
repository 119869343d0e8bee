from __future__ import annotations

import pytest
from endpoint import FakeEndpoint

from arena_learning.engines.base import Streaming
from arena_learning.engines.openai.engine import OpenAi
from arena_learning.params import Endpoint
from arena_learning.testing.engine_suite import EngineConformance, check_engine_closes


@pytest.fixture(scope="class")
def engine():
    with FakeEndpoint() as server:
        engine = OpenAi("m", Endpoint(base_url=server.base_url, concurrency=4))
        yield engine
        engine.close()


class TestOpenAiConforms(EngineConformance):
    def test_it_streams(self, engine):
        assert isinstance(engine, Streaming)


def test_closing_twice_is_no_error(serve, connect):
    check_engine_closes(connect(serve()))
