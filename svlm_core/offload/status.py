# Copyright 2026 svlm maintainers
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The few pages that a server shows to its operators: plain HTTP, read only, bounded in every way.

Whoever connects here is not asked for a key, so it listens on this machine alone unless told otherwise. A
page is a function; it is called in a thread of this module and must return at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
import ipaddress
import logging
import socket
from socketserver import ThreadingMixIn
import threading
import time
from types import TracebackType
from typing import Any

from svlm_core.errors import ConfigError

MAX_CONNECTIONS = 16  # at once; more are closed without an answer
MAX_REQUEST_S = 5.0  # from the connection to the last byte of the answer
_SWEEP_S = 0.25

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Page:
    """What is answered to a GET."""

    status: HTTPStatus
    content_type: str
    body: bytes

    @classmethod
    def of_verdict(cls, yes: bool, text: str) -> Page:
        """200 for yes and 503 for no, with one line of text."""
        status = HTTPStatus.OK if yes else HTTPStatus.SERVICE_UNAVAILABLE
        return cls(status, "text/plain; charset=utf-8", f"{text}\n".encode())


Pages = Mapping[str, Callable[[], Page]]


class StatusServer:
    """Serves pages from threads of its own; a context manager.

    Attributes:
        url: where, with the port that was bound.
    """

    def __init__(self, bind: str, pages: Pages) -> None:
        """Bind and begin to answer.

        Args:
            bind: HOST:PORT, [HOST]:PORT for IPv6; port 0 takes a free one.
            pages: path -> page.

        Raises:
            ConfigError: `bind` is not an address of this machine, or is taken.
        """
        host, port = parse_address(bind)
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._server = _Server(family, address, pages)
        except OSError as error:
            raise ConfigError(f"--metrics {bind}: {error.strerror or error}") from None
        bound, port = str(self._server.server_address[0]), self._server.server_address[1]
        self.url = f"http://{f'[{bound}]' if ':' in bound else bound}:{port}"
        if not ipaddress.ip_address(bound).is_loopback:
            LOG.warning("%s shows metrics to everybody who can reach it, without keys", self.url)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_SWEEP_S,), name="svlm-status", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> StatusServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT or [HOST]:PORT.

    Raises:
        ConfigError: it is neither.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:
        raise ConfigError(f"--metrics takes HOST:PORT, for example 127.0.0.1:9577; got {text!r}")
    return host, int(port)


class _Server(ThreadingMixIn, HTTPServer):
    """Few connections at a time, and none for long."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, family: socket.AddressFamily, address: Any, pages: Pages) -> None:
        self.address_family = family
        self.pages = pages
        self._lock = threading.Lock()
        self._open: dict[Any, float] = {}  # connection -> when it must be over
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """As socketserver's: HTTPServer's would ask the DNS for a name that nobody uses."""
        if self.allow_reuse_address:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            crowded = len(self._open) >= MAX_CONNECTIONS
            if not crowded:
                self._open[request] = time.monotonic() + MAX_REQUEST_S
        if crowded:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End connections that take too long; called every _SWEEP_S."""
        with self._lock:
            late = [request for request, until_s in self._open.items() if time.monotonic() > until_s]
            for request in late:
                with suppress(OSError):  # it ended a moment ago
                    request.shutdown(socket.SHUT_RDWR)  # its thread wakes up and closes it

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away, or was sent away, is not worth a traceback."""
        LOG.debug("%s: request failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One request and one answer, then the connection ends (HTTP/1.0)."""

    server: _Server
    timeout = MAX_REQUEST_S

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            self._answer(page())
        except OSError:
            raise
        except Exception:
            LOG.exception("%s: the page failed", self.path)
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say the code and nothing of what was sent here."""
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:  # what the base class says of any method but GET
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self._answer(Page(status, "text/plain; charset=utf-8", f"{status.phrase}\n".encode()))

    def _answer(self, page: Page) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        if page.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.end_headers()
        self.wfile.write(page.body)

    def version_string(self) -> str:
        return "svlm"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        LOG.debug("%s: " + format, self.client_address[0], *args)
