"""Requests a second through the engine `openai` and the store, beside clients that do nothing else.

    python benchmarks/endpoint_overhead.py [--requests 2000] [--in-flight 200] [--latency 0.2] [--repeats 3]

The endpoint is a process of its own on the loopback that answers every request after the same time. All clients keep
the same number of requests in flight, in one process each, in turn; medians over repeats. `client` is the `openai`
client as it comes, in a bare asyncio loop with as many workers; `tuned` the same client with its aiohttp transport, as
the engine uses it; `aiohttp` sends the same bodies without any client library and says what the machine can do. At a
latency of 0 the processor is what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

REPLY = {
    "id": "c1",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "word " * 60}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 50, "completion_tokens": 60, "total_tokens": 110},
}


def serve(latency: float, pipe: Connection) -> None:
    """Answer every request with the same completion after ``latency`` seconds."""
    content = json.dumps(REPLY).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                fields = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(fields.split(b"content-length:")[1].split(b"\r\n")[0]))
                if latency:
                    await asyncio.sleep(latency)
                writer.write(head + content)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def bodies(count: int) -> list[dict]:
    """Return as many different requests."""
    return [
        {
            "model": "m",
            "messages": [{"role": "user", "content": f"Question {n}: " + "why " * 40}],
            "max_tokens": 64,
        }
        for n in range(count)
    ]


async def workers(count: int, in_flight: int, one: Callable[[int], Awaitable[None]]) -> float:
    """Do ``one`` for every number, so many at once; return the seconds."""
    places = iter(range(count))

    async def work() -> None:
        for place in places:
            await one(place)

    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return time.perf_counter() - start


async def bare_client(url: str, count: int, in_flight: int, *, tuned: bool = False) -> float:
    import httpx2

    import openai

    limits = httpx2.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    http = (openai.DefaultAioHttpClient if tuned else openai.DefaultAsyncHttpxClient)(limits=limits)
    async with openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=http) as client:
        asked = bodies(count)

        async def one(place: int) -> None:
            await client.chat.completions.create(**asked[place])

        return await workers(count, in_flight, one)


async def bare_aiohttp(url: str, count: int, in_flight: int) -> float:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        asked = bodies(count)

        async def one(place: int) -> None:
            async with session.post(f"{url}/chat/completions", json=asked[place]) as reply:
                await reply.json()

        return await workers(count, in_flight, one)


def engine(url: str, count: int, in_flight: int) -> float:
    """Ask through the engine and the store, as `arena battle` does."""
    from arena_learning.arena import Contestant, ask_contestant_for
    from arena_learning.engines.openai.engine import OpenAi
    from arena_learning.params import Endpoint
    from arena_learning.params.contestants import Sampling
    from arena_learning.schema.rows import Instruction
    from arena_learning.store.store import Store

    instructions = [
        Instruction(id=f"i{n}", turns=[{"role": "user", "content": body["messages"][0]["content"]}])
        for n, body in enumerate(bodies(count))
    ]
    opened = OpenAi("m", Endpoint(base_url=url, concurrency=in_flight))
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.sqlite") as store:
        start = time.perf_counter()
        asked = ask_contestant_for(Contestant("x", opened, Sampling(max_tokens=64)), instructions, store)
        seconds = time.perf_counter() - start
        opened.close()
        assert asked.generated == store.count("response") == count
    return seconds


def measure(name: str, url: str, count: int, in_flight: int, pipe: Connection) -> None:
    """Warm up with a tenth, then measure; in a process of its own."""
    client = {"client": bare_client, "tuned": partial(bare_client, tuned=True), "aiohttp": bare_aiohttp}.get(
        name
    )
    for number in (max(in_flight, count // 10), count):
        seconds = asyncio.run(client(url, number, in_flight)) if client else engine(url, number, in_flight)
    pipe.send(count / seconds)


def in_process(target: Callable[..., None], *arguments: object) -> tuple[multiprocessing.Process, float]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=target, args=(*arguments, theirs), daemon=True
    )
    process.start()
    return process, ours.recv()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--latency", type=float, action="append", help="seconds; may be given again")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(
        f"{given.requests} requests, {given.in_flight} in flight, medians of {given.repeats}, requests a second"
    )
    print(
        f"{'latency':>8} {'engine':>8} {'client':>8} {'tuned':>8} {'aiohttp':>8} "
        f"{'engine/client':>14} {'engine/tuned':>13} {'engine/aiohttp':>15}"
    )
    for latency in given.latency or [0.0, 0.2, 1.0]:
        server, port = in_process(serve, latency)
        url = f"http://127.0.0.1:{int(port)}/v1"
        rates: dict[str, list[float]] = {"engine": [], "client": [], "tuned": [], "aiohttp": []}
        for _ in range(given.repeats):
            for name, found in rates.items():
                process, rate = in_process(measure, name, url, given.requests, given.in_flight)
                process.join()
                found.append(rate)
        server.terminate()
        middle = {name: statistics.median(found) for name, found in rates.items()}
        print(
            f"{latency:>7.2f}s "
            + " ".join(f"{middle[name]:>8.0f}" for name in rates)
            + f" {middle['engine'] / middle['client']:>14.2f} {middle['engine'] / middle['tuned']:>13.2f}"
            f" {middle['engine'] / middle['aiohttp']:>15.2f}"
        )


if __name__ == "__main__":
    main()
