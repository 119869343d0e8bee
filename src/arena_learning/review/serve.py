"""Serve the review page on this machine."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from arena_learning.core import ArenaError, logger
from arena_learning.review.app import make_app
from arena_learning.review.session import ReviewSession

HOST = "127.0.0.1"


class _Quiet(WSGIRequestHandler):
    """Logs no addresses, because they hold the secret, and only on ``--verbose``."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        logger.debug("%s %s", self.command, code)

    def log(self, type: str, message: str, *args: Any) -> None:
        logger.debug("the page: %s", type)

    def version_string(self) -> str:
        return "arena review"


class ReviewServer:
    """The page on a port of this machine; it takes connections from the moment it exists.

    Args:
        session: what is shown, and where verdicts go.
        port: the port; 0: any free one.

    Raises:
        ArenaError: the port is in use.

    Example:
        server = ReviewServer(open_session("ann", params, paths))
        print(server.address)
        server.run()
    """

    def __init__(self, session: ReviewSession, port: int = 0) -> None:
        secret = secrets.token_urlsafe(32)
        try:
            with socket.create_server((HOST, port)) as listening:
                self._server: BaseWSGIServer = make_server(
                    HOST,
                    listening.getsockname()[1],
                    make_app(session, secret),
                    threaded=True,
                    request_handler=_Quiet,
                    fd=listening.fileno(),
                )
        except OSError as error:
            raise ArenaError(
                f"port {port} cannot be used: {error.strerror}",
                where="--port",
                hint="leave the option out: any free port is taken",
            ) from None
        self.address = f"http://{HOST}:{self._server.port}/{secret}/"

    def run(self) -> None:
        """Serve until `stop` or Ctrl-C."""
        self._server.serve_forever()

    def stop(self) -> None:
        """End `run`, which another thread runs."""
        self._server.shutdown()


@contextmanager
def serve_review(session: ReviewSession) -> Iterator[str]:
    """Serve the page in a thread of its own while the block runs.

    Yields:
        The page's address.
    """
    server = ReviewServer(session)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.address
    finally:
        server.stop()
        thread.join()
