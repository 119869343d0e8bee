"""Addresses with a query, keys in other headers, and servers that move."""

from __future__ import annotations

import socket
import threading

import pytest
from endpoint import Reply
from pydantic import ValidationError

from arena_learning.arena import Contestant, ask_contestant_for
from arena_learning.core.errors import ArenaError
from arena_learning.engines.base import Completion, Versioned
from arena_learning.params import Endpoint, load_params, parse_params
from arena_learning.params.contestants import Sampling
from arena_learning.project.endpoints import list_models
from arena_learning.schema.rows import Turn
from arena_learning.store.store import Store

KEY = "planted-7f3a9c51e2d84b06"
HELLO = [[Turn(role="user", content="Hello")]]


def test_a_classic_azure_address_is_asked_with_its_query_and_its_header(serve, connect, monkeypatch, capfd):
    monkeypatch.setenv("A_KEY", KEY)
    azure = serve(path="/openai/deployments/blue")
    fields = {"query": {"api-version": "2024-10-21"}, "api_key_env": "A_KEY", "api_key_header": "api-key"}
    engine = connect(azure, **fields)
    (found,) = engine.respond(HELLO, Sampling())
    assert isinstance(found, Completion)
    (request,) = azure.requests
    assert request.target == "/openai/deployments/blue/chat/completions?api-version=2024-10-21"
    headers = request.headers
    assert headers["api-key"] == KEY
    assert "authorization" not in headers
    azure.script = lambda r: Reply(401, {"error": {"message": f"bad key {r.headers['api-key']}"}})
    with pytest.raises(ArenaError, match=r"bad key \*\*\*") as caught:
        engine.respond(HELLO, Sampling())
    said = capfd.readouterr()
    places = (str(engine.fingerprint), repr(engine), said.out, said.err, str(caught.value))
    assert [KEY in place for place in places] == [False] * 5


def test_a_header_with_a_key_goes_nowhere_else(serve, connect, monkeypatch):
    monkeypatch.setenv("A_KEY", KEY)
    other = serve()
    server = serve(lambda _: Reply(307, "", (("Location", f"{other.base_url}/chat/completions"),)))
    engine = connect(server, api_key_env="A_KEY", api_key_header="api-key")
    with pytest.raises(ArenaError, match="the endpoint refuses: status 307"):
        engine.respond(HELLO, Sampling())
    assert other.requests == []


@pytest.mark.parametrize(
    "name",
    ["key", "api-key", "apiKey", "sig", "token", "access_token", "code", "subscription-key", "X-Signature"],
)
def test_a_key_in_the_query_is_refused_without_being_shown(name, make_params):
    with pytest.raises(ValidationError, match="api_key_env"):
        Endpoint(base_url="https://host/v1", query={name: KEY})
    hosted = {"engine": "openai", "model": "m", "base_url": "https://host/v1", "query": {name: KEY}}
    with pytest.raises(ArenaError, match="api_key_env") as caught:
        parse_params(make_params(opponents={"x": hosted}), "here")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"query": {"version": "sk-planted-7f3a9c51e2d84b06"}},
        {"api_key_header": KEY, "api_key_env": "A_KEY"},
        {"api_key_header": "planted7f3a9c51e2d84b06", "api_key_env": "A_KEY"},
        {"api_key_header": f"api-key: {KEY}", "api_key_env": "A_KEY"},
    ],
)
def test_a_key_elsewhere_is_refused_without_being_shown(fields, make_params):
    with pytest.raises(ValidationError):
        Endpoint(base_url="https://host/v1", **fields)
    hosted = {"engine": "openai", "model": "m", "base_url": "https://host/v1", **fields}
    with pytest.raises(ArenaError) as caught:
        parse_params(make_params(opponents={"x": hosted}), "here")
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "host/v1",
            "localhost:8000/v1",
            "//host/v1",
            "ftp://host/v1",
            "http://",
            "http:///v1",
            "http://host:abc/v1",
        ),
        *(
            "http://host:99999/v1",
            "http://host:0/v1",
            "http://host/v1#part",
            "http://host/v1\n",
            "http://ho st/v1",
        ),
        *("http://host/v1 ", "http://[::1/v1", "http://host/v\u20281"),
    ],
)
def test_what_is_no_address_is_told_before_anything_is_asked(address, make_params):
    hosted = {"engine": "openai", "model": "m", "base_url": address}
    with pytest.raises(ArenaError, match="base_url is not an address such as http"):
        parse_params(make_params(opponents={"x": hosted}), "here")


@pytest.mark.parametrize(
    "address",
    ["http://[::1]:80/v1", "HTTPS://host", "http://bücher.de/v1/", "http://127.0.0.1:8000/a%20b/v1"],
)
def test_addresses_of_any_kind_are_taken(address):
    assert Endpoint(base_url=address).base_url == address


def test_a_header_for_a_key_wants_the_keys_variable():
    with pytest.raises(ValidationError, match="api_key_header needs 'api_key_env'"):
        Endpoint(base_url="https://host/v1", api_key_header="api-key")


def test_a_date_in_yaml_wants_quotes_because_dvc_takes_none(make_params, tmp_path):
    import yaml

    hosted = {
        "engine": "openai",
        "model": "m",
        "base_url": "https://host/v1",
        "query": {"api-version": "DATE"},
    }
    file, text = tmp_path / "params.yaml", yaml.safe_dump(make_params(opponents={"x": hosted}))
    file.write_text(text.replace("DATE", '"2024-10-21"'))
    assert load_params(file).opponents["x"].query == {"api-version": "2024-10-21"}
    file.write_text(text.replace("DATE", "7"))
    assert load_params(file).opponents["x"].query == {"api-version": "7"}
    file.write_text(text.replace("DATE", "2024-10-21"))
    with pytest.raises(
        ArenaError, match=r'opponents.x.query: YAML reads api-version as a date: .*"2024-10-21"'
    ):
        load_params(file)


def test_a_server_that_moves_is_not_asked_again_where_it_has_a_name(
    serve, connect, tmp_path, make_instruction
):
    here, there = serve(), serve()
    instructions = [make_instruction(f"i{n}", f"Question {n}") for n in range(5)]

    def paid(server, **fields):
        return ask_contestant_for(
            Contestant("x", connect(server, **fields), Sampling()), instructions, store
        ).generated

    with Store(tmp_path / "store.sqlite") as store:
        assert paid(here, deployment="blue") == 5
        assert paid(there, deployment="blue", query={"api-version": "2"}) == 0
        assert paid(there, deployment="red") == 5
        assert paid(there) == 5
        assert paid(here) == 5


def test_what_was_added_changes_no_key_unless_it_is_set():
    from arena_learning.engines.openai.engine import OpenAi

    def fingerprint(system="", **fields):
        return OpenAi("m", Endpoint(base_url="http://h/v1/", **fields), system=system).fingerprint

    # As it was before there were a query, a header for the key, a name, and later control tokens.
    assert fingerprint() == {
        "engine": "openai",
        "version": "1",
        "base_url": "http://h/v1",
        "model": "m",
        "system": "",
        "controls": "1",
        "sent": '[["max_tokens","seed","temperature","top_p"],{}]',
    }
    assert fingerprint(query={"a": "1"}) == {**fingerprint(), "query": '{"a":"1"}'}
    named = fingerprint(deployment="blue", query={"a": "1"})
    assert named == {"deployment": "blue", **{k: v for k, v in fingerprint().items() if k != "base_url"}}
    assert fingerprint(system="Say <|im_end|>.")["controls"] == "1"  # asked as ever
    assert fingerprint(system="Say <turn|>.")["controls"] == "2"


def test_only_a_conversation_with_a_later_mark_is_asked_again(serve, connect, tmp_path, make_instruction):
    engine = connect(serve())
    assert isinstance(engine, Versioned)
    for text in ("Hello", "a <|im_end|> b [INST]", "List<String>"):
        assert engine.variant([Turn(role="user", content=text)]) == ""
    assert engine.variant([*HELLO[0], Turn(role="user", content="a <turn|> b")]) == "controls 2"
    instructions = [make_instruction("plain", "a <|im_end|> b"), make_instruction("later", "a <turn|> b")]
    before = connect(serve())
    before.variant = lambda _: ""  # as it was when the list was shorter
    with Store(tmp_path / "store.sqlite") as store:
        paid = [
            ask_contestant_for(Contestant("x", e, Sampling()), instructions, store).generated
            for e in (before, before)
        ]
        before.variant = engine.variant
        paid += [
            ask_contestant_for(Contestant("x", e, Sampling()), instructions, store).generated
            for e in (before, before)
        ]
    assert paid == [2, 0, 1, 0]


def test_an_answer_that_was_remembered_with_its_thought_is_split(serve, connect):
    assert connect(serve()).said("<think>Sky, sea.</think>\n\nBlue.")[:2] == ("Sky, sea.", "Blue.")
    assert connect(serve()).said("Blue.")[:2] == ("", "Blue.")


def test_marks_are_broken_in_what_is_sent(serve, connect):
    server = serve()
    turns = [Turn(role="user", content="Hi<turn|>"), Turn(role="assistant", content="[THINK]")]
    connect(server, system="<seed:bos>").respond(
        [[*turns, Turn(role="user", content="ok</think>")]], Sampling()
    )
    sent = [message["content"] for message in server.requests[0].body["messages"]]
    assert sent == ["< seed:bos>", "Hi< turn|>", "[ THINK]", "ok< /think>"]


@pytest.mark.parametrize("header", ["", "api-key"])
def test_a_key_is_not_sent_to_where_a_list_of_models_has_moved(header, serve, monkeypatch):
    monkeypatch.setenv("A_KEY", KEY)
    first, then = [], []  # an endpoint records what has a body
    other = serve(lambda request: then.append(request))
    server = serve(
        lambda request: first.append(request) or Reply(302, "", (("Location", f"{other.base_url}/models"),))
    )
    found = list_models(Endpoint(base_url=server.base_url, api_key_env="A_KEY", api_key_header=header))
    assert found.names == ["m"]
    (asked,), (moved,) = first, then
    assert any(KEY in value for value in asked.headers.values())
    assert not any(KEY in value for value in moved.headers.values())


def test_a_server_that_speaks_no_http_is_told_and_no_crash():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def speak():
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        found = list_models(Endpoint(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}/v1"))
        thread.join()
    assert found.refused
    assert "does not answer" in found.trouble
