from __future__ import annotations

import pytest
from endpoint import FakeEndpoint
from engine_conformance import EngineConformance, check_close

from arena_learning.engines.base import Streaming
from arena_learning.engines.openai.engine import OpenAi
from arena_learning.params import Endpoint


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
    check_close(connect(serve()))
