"""A real HTTP server on the loopback that speaks the Batch API: files, batches, and their results.

batch_server.py    # not a program: tests start `BatchServer` in a thread
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from endpoint import Request, answer

Line = dict[str, Any]
# What a request of a batch gets: a line of the output or error file without its id, or None for no line at all.
Script = Callable[[dict[str, Any], int], Line | None]


def right(body: dict[str, Any], _: int) -> Line:
    """Answer as the endpoint of the other tests does."""
    return ok(answer(Request(body, {}, 1, 1, "")))


def ok(body: dict[str, Any]) -> Line:
    return {"response": {"status_code": 200, "request_id": "r", "body": body}, "error": None}


def refused(status: int, message: str) -> Line:
    return {"response": {"status_code": status, "body": {"error": {"message": message}}}, "error": None}


class BatchServer:
    """Serves batches that end when they are ``released`` (all are, unless ``held``).

    Args:
        script: what each request gets; it is told in which batch, from 1.
        ends: the last status of each batch in turn; further ones complete. ``failed`` batches have no files.
        held: batches wait in progress for `release`.
        lists: whether it lists its batches.
        slow_create: seconds between the creation of a batch and the reply that tells its id.
        key: the API key that is asked for, if any.
    """

    def __init__(
        self,
        script: Script = right,
        ends: tuple[str, ...] = (),
        *,
        held: bool = False,
        lists: bool = True,
        slow_create: float = 0.0,
        key: str = "",
    ) -> None:
        self.script, self.ends, self.lists, self.slow_create, self.key = script, ends, lists, slow_create, key
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self._released = threading.Event()
        if not held:
            self._released.set()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> BatchServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)

    def release(self) -> None:
        """Let all batches end."""
        self._released.set()

    def requests(self) -> list[list[dict[str, Any]]]:
        """Return the lines of each batch's file."""
        return [self.lines(batch["input_file_id"]) for batch in self.batches.values()]

    def lines(self, file: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.files[file].decode().split("\n") if line]

    def store(self, content: bytes) -> str:
        name = f"file-{len(self.files) + 1}"
        self.files[name] = content
        return name

    def create(self, fields: dict[str, Any]) -> dict[str, Any]:
        name = f"batch_{len(self.batches) + 1}"
        count = len(self.lines(fields["input_file_id"]))
        self.batches[name] = {
            **fields,
            "id": name,
            "object": "batch",
            "status": "validating",
            "created_at": int(time.time()),
            "request_counts": {"total": count, "completed": 0, "failed": 0},
        }
        return self.batches[name]

    def look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        number = list(self.batches).index(name)
        if batch["status"] == "validating":
            batch["status"] = "in_progress"
        elif batch["status"] == "in_progress" and self._released.is_set():
            self._end(batch, number, self.ends[number] if number < len(self.ends) else "completed")
        return batch

    def _end(self, batch: dict[str, Any], number: int, status: str) -> None:
        batch["status"] = status
        if status == "failed":
            problem = {
                "code": "token_limit_exceeded",
                "message": "Enqueued token limit reached",
                "line": None,
            }
            batch["errors"] = {"object": "list", "data": [problem]}
            return
        good, bad = [], []
        for request in self.lines(batch["input_file_id"]):
            assert (request["method"], request["url"]) == ("POST", "/v1/chat/completions")
            line = self.script(request["body"], number + 1)
            if line is not None:
                worked = (line.get("response") or {}).get("status_code") == 200
                (good if worked else bad).append({"id": "x", "custom_id": request["custom_id"], **line})
        # The files' order is not the requests'.
        for field, lines in (("output_file_id", good[::-1]), ("error_file_id", bad)):
            if lines:
                batch[field] = self.store(
                    "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines).encode()
                )
        batch["request_counts"] |= {"completed": len(good), "failed": len(bad)}


class _Handler(BaseHTTPRequestHandler):
    owner: BatchServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server, (path, query) = self.owner, self._path()
        if path[:1] == ["batches"] and len(path) == 2:
            known = path[1] in server.batches
            return self._send(
                200 if known else 404, server.look(path[1]) if known else _error("no such batch")
            )
        if path == ["batches"] and server.lists:
            after = query.get("after", [""])[0]
            names = list(server.batches)[::-1]
            shown = names[names.index(after) + 1 :] if after else names
            page = [server.batches[name] for name in shown[:2]]
            return self._send(
                200,
                {
                    "object": "list",
                    "data": page,
                    "has_more": len(shown) > 2,
                    "last_id": page[-1]["id"] if page else None,
                },
            )
        if path[:1] == ["files"] and path[2:] == ["content"]:
            return self._send(200, server.files[path[1]])
        return self._send(404, _error("no such path"))

    def do_POST(self) -> None:
        server, (path, _) = self.owner, self._path()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
            return self._send(401, _error(f"wrong key {self.headers.get('Authorization')}"))
        if path == ["files"]:
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            parts = {
                part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
                for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
            }
            assert parts["purpose"] == b"batch"
            return self._send(200, {"id": server.store(parts["file"]), "object": "file", "purpose": "batch"})
        if path == ["batches"]:
            made = server.create(json.loads(body))
            time.sleep(server.slow_create)
            return self._send(200, made)
        return self._send(404, _error("no such path"))

    def _path(self) -> tuple[list[str], dict[str, list[str]]]:
        parts = urlsplit(self.path)
        self.owner.calls.append(f"{self.command} {parts.path}")
        return parts.path.removeprefix("/v1/").split("/"), parse_qs(parts.query)

    def _send(self, status: int, body: bytes | dict[str, Any]) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message}}
