"""A real HTTP endpoint on the loopback, in a thread of its own, that can be told to misbehave.

Plain asyncio: it must be able to break a connection in the middle of a body, which web frameworks do not offer.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from math import log
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """What the server sends: ``cut`` breaks the connection after so many bytes of the body, ``slow`` waits first."""

    status: int = 200
    body: str | dict[str, Any] = ""
    headers: tuple[tuple[str, str], ...] = ()
    cut: int | None = None
    slow: float = 0.0


class Request(NamedTuple):
    """What was asked: the parsed body, the headers in lower case, how often this body came, how many came at all.

    ``target`` is the path and the query.
    """

    body: dict[str, Any]
    headers: dict[str, str]
    times: int
    number: int
    target: str


def answer(request: Request) -> dict[str, Any]:
    """Answer by the request's content alone, so that it is the same however often it is asked."""
    body = request.body
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or 16
    key = json.dumps([body["messages"], body.get("seed") if body.get("temperature") else 0])
    words = [sha256(f"{key} {n}".encode()).hexdigest()[:5] for n in range(20)]
    said = words[:limit]
    reply = completion(" ".join(said), "length" if len(said) < 20 else "stop", len(said), len(key) // 4)
    if body.get("logprobs"):
        tokens = [word if n == 0 else f" {word}" for n, word in enumerate(said)]
        reply["choices"][0]["logprobs"] = {"content": [weighed(t, body["top_logprobs"]) for t in tokens]}
    return reply


def weighed(token: str, count: int) -> dict[str, Any]:
    """Return a token's entry among the logprobs: itself at 1/2, others at 1/4, 1/8, ..."""
    texts = [token, *(f"{token}{n}" for n in range(1, count))]
    likely = [{"token": t, "logprob": -log(2) * n, "bytes": list(t.encode())} for n, t in enumerate(texts, 1)]
    return {**likely[0], "top_logprobs": likely}


def completion(text: str | None, finish: str = "stop", tokens: int = 5, prompt: int = 9) -> dict[str, Any]:
    """Return a well-formed chat completion."""
    return {
        "id": "c1",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens},
    }


class FakeEndpoint:
    """Serves chat completions; ``script`` may give another reply than the right one (None: the right one).

    Args:
        script: what happens to a request.
        latency: seconds until each answer.
        path: of the address; the server answers at any.
    """

    def __init__(
        self,
        script: Callable[[Request], Reply | None] | None = None,
        latency: float = 0.0,
        path: str = "/v1",
    ) -> None:
        self.script, self.latency, self.path = script, latency, path
        self.requests: list[Request] = []
        self.seen: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def __enter__(self) -> FakeEndpoint:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                headers = {
                    k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    whole = await self._reply(lines[0].split()[1], body, headers, writer)
                finally:
                    self.in_flight -= 1
                if not whole:
                    writer.transport.abort()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _reply(
        self, target: str, raw: bytes, headers: dict[str, str], writer: asyncio.StreamWriter
    ) -> bool:
        text = raw.decode()
        self.seen[text] += 1
        # Without a body somebody asks which models there are.
        asked = json.loads(text) if text else {}
        request = Request(asked, headers, self.seen[text], len(self.requests) + 1, target)
        if asked:
            self.requests.append(request)
        reply = self.script(request) if self.script else None
        reply = reply or Reply(body=answer(request) if asked else {"data": [{"id": "m"}]})
        if reply.slow or self.latency:
            await asyncio.sleep(reply.slow or self.latency)
        content = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
        extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
        head = f"HTTP/1.1 {reply.status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n{extra}\r\n"
        if reply.cut is not None:
            content = content[: reply.cut]
            head = head if reply.cut else ""
        writer.write(head.encode() + content)
        await writer.drain()
        return reply.cut is None
