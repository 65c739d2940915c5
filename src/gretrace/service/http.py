# SPDX-License-Identifier: GPL-2.0-only
"""The page over HTTP: to GET /metrics, to few at a time, and to none for long."""

import socket
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from threading import Semaphore, Thread
from typing import Any

from gretrace.errors import UsageError
from gretrace.plain import plain

# So many are served at a time, each for so many seconds in all.
AT_ONCE, SECONDS = 16, 15.0
TICK = 0.5


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: "Server"
    server_version, sys_version = "gretrace", ""
    timeout = SECONDS

    def do_GET(self) -> None:
        """Send the page."""
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, b"the metrics are at /metrics\n", "text/plain; charset=utf-8")
            return
        text = self.server.read()
        if text is None:
            self._answer(503, b"gretrace is behind\n", "text/plain; charset=utf-8")
        else:
            self._answer(200, text, self.server.content_type)

    def _answer(self, code: int, text: bytes, content_type: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.connection.sendall(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing: whoever asks could fill a disk."""


class Server(ThreadingHTTPServer):
    """Serves until close(), on a thread of its own for each of AT_ONCE at most.

    `read` returns the page, or None where there is none in time. Raises UsageError when the
    address cannot be listened on.
    """

    daemon_threads, block_on_close = True, False
    allow_reuse_address = True
    request_queue_size = AT_ONCE

    def __init__(
        self, address: tuple[str, int], read: Callable[[], bytes | None], content_type: str
    ) -> None:
        self.read, self.content_type = read, content_type
        self._places = Semaphore(AT_ONCE)
        # When each connection must have ended.
        self._ends: dict[Any, float] = {}
        if ip_address(address[0]).version == 6:
            self.address_family = socket.AF_INET6
        try:
            super().__init__(address, _Handler)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {plain(address[0])} port {address[1]} ({error.strerror})",
                "give another address and port",
            ) from None
        Thread(target=self.serve_forever, args=(TICK,), daemon=True).start()

    def server_bind(self) -> None:
        """Bind, without asking a name server who we are."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "gretrace", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve one more, if there is a place for it."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._ends[request] = time.monotonic() + SECONDS
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve it, and make its place free."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ends.pop(request, None)
            self._places.release()

    def service_actions(self) -> None:
        """End those that take too long, however they spread it."""
        now = time.monotonic()
        for request, end in list(self._ends.items()):
            if now >= end:
                try:
                    request.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asks may go at any time."""

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()
