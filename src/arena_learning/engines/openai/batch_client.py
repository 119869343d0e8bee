"""The Batch API of an endpoint, by the `openai` client: upload requests, create a batch, look at it, download files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from tempfile import TemporaryFile
from typing import Any, NamedTuple, TypeVar

from arena_learning.core import ArenaError
from arena_learning.engines.openai.client import read_key, scrub, sent_headers
from arena_learning.engines.openai.errors import classify_error
from arena_learning.params import Endpoint

_URL = "/v1/chat/completions"  # as the protocol names it, whatever the endpoint's address
_WINDOW = "24h"  # the only one that the protocol knows
_LOOKED_THROUGH = 500  # batches of the endpoint among which a lost one is searched
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_NOT_OFFERED = (404, 405, 501)  # what an endpoint says of a call that it does not offer
_MARK = "arena_learning"  # the key of a batch's metadata that holds its record's name
_SHOWN = 3  # errors of a failed batch in a message
T = TypeVar("T")


class BatchState(NamedTuple):
    """What the endpoint says of a batch.

    Attributes:
        id: of the batch.
        status: the protocol's word.
        files: ids of the output file and the error file, those that exist.
        counts: finished, failed and all requests, in words.
        problem: why the endpoint did not accept the batch's file.
    """

    id: str
    status: str
    files: tuple[str, ...] = ()
    counts: str = ""
    problem: str = ""

    @property
    def ended(self) -> bool:
        """Whether the batch changes no more."""
        return self.status in _ENDED


class BatchClient:
    """Talks to one endpoint. Failed calls are repeated by the client library, ``retries`` times.

    Args:
        endpoint: settings of the endpoint.
        where: its section of params.yaml, for errors.

    Raises:
        ArenaError: the key's environment variable is not set. So do all methods: the endpoint refuses or is down.
    """

    def __init__(self, endpoint: Endpoint, where: str) -> None:
        import openai

        self._endpoint, self._where = endpoint, where
        self._key = read_key(endpoint, where)
        self._client = openai.OpenAI(
            api_key=self._key or "none",
            base_url=endpoint.base_url,
            max_retries=endpoint.retries,
            timeout=endpoint.timeout,
            default_query=endpoint.query,
            # As in `client.Client`: a redirect to another host would take a key in a header of its own along.
            http_client=openai.DefaultHttpxClient(follow_redirects=not endpoint.api_key_header),
        )
        self._sent = {"extra_headers": sent_headers(endpoint, self._key)}

    def create(self, bodies: Iterable[tuple[str, dict[str, Any]]], name: str) -> BatchState:
        """Upload the requests, pairs of id and body, and create a batch; its metadata holds ``name``."""
        with TemporaryFile() as file:
            for request, body in bodies:
                line = {"custom_id": request, "method": "POST", "url": _URL, "body": body}
                file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            file.seek(0)
            uploaded = self._call(
                lambda: self._client.files.create(
                    file=("requests.jsonl", file, "application/jsonl"), purpose="batch", **self._sent
                )
            )
        return _state(
            self._call(
                lambda: self._client.batches.create(
                    input_file_id=uploaded.id,
                    endpoint=_URL,
                    completion_window=_WINDOW,
                    metadata={_MARK: name},
                    **self._sent,
                )
            )
        )

    def find(self, name: str) -> BatchState | None:
        """Return the batch with ``name`` in its metadata; None if there is none, or the endpoint lists no batches."""
        try:
            listed = self._call(
                lambda: list(islice(self._client.batches.list(limit=100, **self._sent), _LOOKED_THROUGH))
            )
        except ArenaError as error:
            if getattr(error.__cause__, "status_code", 0) in _NOT_OFFERED:
                return None
            raise
        return next((_state(batch) for batch in listed if (batch.metadata or {}).get(_MARK) == name), None)

    def look(self, batch: str) -> BatchState:
        """Return the state of a batch; one that the endpoint does not know has ``failed``."""
        import openai

        try:
            return _state(self._call(lambda: self._client.batches.retrieve(batch, **self._sent)))
        except ArenaError as error:
            if isinstance(error.__cause__, openai.NotFoundError):
                return BatchState(batch, "failed", problem="the endpoint does not know this batch")
            raise

    def lines(self, file: str) -> Iterator[dict[str, Any]]:
        """Yield the objects in a file of results; lines that hold none are passed over."""
        found = self._call(lambda: self._client.files.content(file, **self._sent))
        # Only "\n" ends a line: the client's own lines end at other characters too, which JSON allows in a text.
        for line in scrub(found.content.decode("utf-8", "replace"), self._key).split("\n"):
            with suppress(ValueError, RecursionError):
                if isinstance(value := json.loads(line), dict):
                    yield value

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _call(self, act: Callable[[], T]) -> T:
        """Return what the client returns, and its errors as `ArenaError`."""
        import openai

        place = f"{self._where} ({self._endpoint.base_url})" if self._where else self._endpoint.base_url
        kept = "then run again: stored answers are kept, and a batch that was created goes on"
        try:
            return act()
        except openai.APIConnectionError as error:
            raise ArenaError(
                f"the endpoint is down: {type(error).__name__} at the batch API",
                where=place,
                hint=f"start it, {kept}",
            ) from error
        except openai.APIStatusError as error:
            trouble = classify_error(error.status_code, error.response.text, error.response.headers)
            paid = trouble.kind in ("quota", "limited")
            key = self._endpoint.api_key_env or "api_key_env"
            check = f"check {key} and base_url, and that the endpoint offers /files and /batches; {kept}"
            raise ArenaError(
                f"the endpoint refuses the batch: {scrub(trouble.what, self._key)}",
                where=place,
                hint=f"top up or wait, {kept}" if paid else check,
            ) from error


def _state(batch: Any) -> BatchState:
    """Return what a batch's object says; it is the server's, so anything may be missing."""
    counts = batch.request_counts
    listed = getattr(batch.errors, "data", None) or []
    problems = [str(one.message or one.code or "no reason given") for one in listed]
    return BatchState(
        str(batch.id),
        str(batch.status),
        tuple(file for file in (batch.output_file_id, batch.error_file_id) if file),
        f"{counts.completed} of {counts.total} done, {counts.failed} failed" if counts else "",
        "; ".join(problems[:_SHOWN]),
    )
