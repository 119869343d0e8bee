"""Mistakes with endpoints: address, key, model, a server that is down."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from endpoint import FakeEndpoint, Reply, Request

from mistakes.hour import Hour

ANSWER = "arena answer far"
VARIABLE = "A_KEY_OF_THE_TEST"


def strict(request: Request) -> Reply | None:
    """Serve the model ``big`` below /v1 to who has the key, as a real server does."""
    if request.headers.get("authorization") not in (None, "Bearer right"):
        return Reply(401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}})
    if request.target == "/v1/models":
        return Reply(body={"data": [{"id": "big"}, {"id": "small"}]})
    if request.target != "/v1/chat/completions":
        return Reply(404, '{"detail":"Not Found"}')
    if request.body["model"] not in ("big", "small"):
        what = f"The model `{request.body['model']}` does not exist."
        return Reply(404, {"error": {"message": what, "code": "model_not_found"}})
    return None


@pytest.fixture
def server() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(strict) as found:
        yield found


@pytest.fixture
def far(hour: Hour, server: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> Hour:
    """The project with an opponent behind the endpoint, and its test set."""
    monkeypatch.delenv(VARIABLE, raising=False)
    one = {"engine": "openai", "model": "big", "base_url": server.base_url, "retries": 0, "timeout": 10.0}
    hour.set(lambda p: p["opponents"].update(far=one))
    hour.works("arena prepare")
    return hour


def test_an_address_without_its_v1(far: Hour, server: FakeEndpoint) -> None:
    address = f"http://127.0.0.1:{server.port}"
    far.replace(f"{address}/v1", address)
    for command in (ANSWER, "arena doctor"):
        said = far.run(command)
        assert said.code == 2
        assert f"base_url: {address}/v1" in said.text, said.text
    far.replace(f"base_url: {address}", f"base_url: {address}/v1")
    far.works(ANSWER)


def test_an_address_with_the_path_of_a_request(far: Hour, server: FakeEndpoint) -> None:
    far.replace(server.base_url, f"{server.base_url}/chat/completions")
    far.fails(ANSWER, "opponents.far", "404", f"base_url: {server.base_url}")
    far.replace(f"{server.base_url}/chat/completions", server.base_url)
    far.works(ANSWER)


def test_an_address_without_http(far: Hour, server: FakeEndpoint) -> None:
    far.replace("base_url: http://", "base_url: ")
    far.fails(ANSWER, "opponents.far", "base_url is not an address such as http")
    far.replace("base_url: ", "base_url: http://")
    far.works(ANSWER)


def test_no_address(far: Hour, server: FakeEndpoint) -> None:
    far.replace(f"    base_url: {server.base_url}\n", "")
    far.fails(ANSWER, "opponents.far", "base_url")
    far.set(lambda p: p["opponents"]["far"].update(base_url=server.base_url))
    far.works(ANSWER)


def test_an_endpoint_that_is_down(far: Hour, server: FakeEndpoint) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    far.replace(f":{server.port}/", f":{port}/")
    far.fails(ANSWER, "opponents.far", f"127.0.0.1:{port}", "the endpoint is down", "start it and run again")
    said = far.run("arena doctor")
    assert said.code == 2
    assert f"127.0.0.1:{port}" in said.out
    far.replace(f":{port}/", f":{server.port}/")
    far.works(ANSWER)


def test_a_wrong_key(far: Hour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "wrong")
    far.set(lambda p: p["opponents"]["far"].update(api_key_env=VARIABLE))
    for command in (ANSWER, "arena doctor"):
        said = far.run(command)
        assert said.code == 2
        for words in ("401", "Incorrect API key provided", f"the key in {VARIABLE}"):
            assert words in said.text, said.text
    monkeypatch.setenv(VARIABLE, "right")
    far.works(ANSWER)


def test_a_key_whose_variable_is_not_set(far: Hour, monkeypatch: pytest.MonkeyPatch) -> None:
    far.set(lambda p: p["opponents"]["far"].update(api_key_env=VARIABLE))
    said = far.fails(ANSWER, "opponents.far.api_key_env", f"{VARIABLE} is not set", f"export {VARIABLE}=KEY")
    name, _, _ = said.hint.split()[1].partition("=")
    monkeypatch.setenv(name, "right")
    far.works(ANSWER)


def test_a_model_that_the_endpoint_does_not_serve(far: Hour) -> None:
    far.replace("model: big", "model: bgi")
    far.fails(ANSWER, "opponents.far", "404", "`bgi` does not exist", "model 'bgi'")
    said = far.run("arena doctor")
    assert "warn  opponents.far" in said.out
    assert "no model 'bgi'" in said.out
    far.replace("model: bgi", f"model: {said.meant}")
    far.works(ANSWER)


def test_a_judge_named_by_the_address_of_several_models(bare: Hour, server: FakeEndpoint) -> None:
    bare.fails(f"arena init project --judge {server.base_url}", "serves 2 models: big, small", f"--judge MODEL@{server.base_url}")  # fmt: skip
    bare.works(f"arena init project --judge big@{server.base_url}")


def test_a_judge_without_its_address(bare: Hour, server: FakeEndpoint) -> None:
    bare.fails("arena init project --judge big", "'big' is not MODEL@URL", "--judge my-model@http")
    bare.works(f"arena init project --judge big@{server.base_url}")


def test_an_endpoint_whose_answers_are_no_completions(far: Hour, server: FakeEndpoint) -> None:
    def page(request: Request) -> Reply | None:
        return Reply(body="<html>It works!</html>") if request.body else None

    server.script = page
    far.fails(ANSWER, "'far' refuses 7 of 7 instructions", "It works!", "check base_url (most end in /v1)")
    server.script = strict
    far.works(ANSWER)


def test_an_unknown_key_of_the_request(far: Hour, server: FakeEndpoint) -> None:
    def picky(request: Request) -> Reply | None:
        if "top_p" in request.body:
            return Reply(400, {"error": {"message": "Unsupported parameter: 'top_p'"}})
        return strict(request)

    server.script = picky
    far.fails(ANSWER, "'far' refuses", "of 7 instructions", "Unsupported parameter: 'top_p'", "`omit`")
    far.set(lambda p: p["opponents"]["far"].update(omit="top_p"))
    far.works(ANSWER)
    assert json.loads(far.read("data/arena/responses/far.jsonl").splitlines()[0])["text"]
