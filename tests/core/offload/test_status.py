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

"""The status pages over real connections, friendly and not."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
import http.client
import logging
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
from svlm_core.errors import ConfigError
from svlm_core.offload import status
from svlm_core.offload.status import MAX_CONNECTIONS, Page, parse_address, StatusServer


def broken() -> Page:
    raise RuntimeError("secret detail")


PAGES = {
    "/ready": lambda: Page.of_verdict(False, "the worker of cuda:0 is not ready"),
    "/live": lambda: Page.of_verdict(True, "live"),
    "/broken": broken,
}


@pytest.fixture
def server() -> Iterator[StatusServer]:
    with StatusServer("127.0.0.1:0", PAGES) as server:
        yield server


def ask(server: StatusServer, path: str, method: str = "GET") -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode(), response.headers
    finally:
        connection.close()


def dial(server: StatusServer) -> socket.socket:
    url = urlsplit(server.url)
    return socket.create_connection((url.hostname, url.port), timeout=10)


def test_a_page_is_answered_with_its_status_and_text(server: StatusServer) -> None:
    assert ask(server, "/live")[:2] == (200, "live\n")
    assert ask(server, "/live?verbose=1")[:2] == (200, "live\n")
    code, text, headers = ask(server, "/ready")
    assert (code, text) == (503, "the worker of cuda:0 is not ready\n")
    assert headers["Cache-Control"] == "no-store"
    assert headers["Server"] == "svlm"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "NONSENSE"])
def test_everything_but_get_is_refused(server: StatusServer, method: str) -> None:
    code, _, headers = ask(server, "/live", method)
    assert code == HTTPStatus.METHOD_NOT_ALLOWED
    assert headers["Allow"] == "GET"


def test_nothing_that_was_sent_or_that_failed_comes_back(
    server: StatusServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(server, "/<script>")[:2] == (404, "Not Found\n")
    assert ask(server, "/broken")[:2] == (500, "Internal Server Error\n")
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET\r\n\r\n", b"A" * 70_000, b"\r\n" * 400]
)
def test_what_is_not_a_request_is_answered_or_closed(server: StatusServer, junk: bytes) -> None:
    with dial(server) as link:
        link.sendall(junk)
        link.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while data := link.recv(4096):
                answer += data
        except ConnectionResetError:
            pass  # closed with some of the junk unread
        assert b"200" not in answer[:20]
    assert ask(server, "/live")[0] == 200


def test_who_says_nothing_keeps_nobody_else_waiting_and_is_sent_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status, "MAX_REQUEST_S", 1.0)
    with StatusServer("127.0.0.1:0", PAGES) as server:
        silent = [dial(server) for _ in range(MAX_CONNECTIONS - 1)]
        assert ask(server, "/live")[0] == 200
        crowd = [dial(server) for _ in range(3)]
        began_s = time.monotonic()
        for link in [*silent, *crowd]:
            with link:
                assert link.recv(1) == b""  # closed by the server
        assert time.monotonic() - began_s < 5.0
        assert ask(server, "/live")[0] == 200


def test_who_asks_slowly_is_sent_away_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, all of them do not."""
    monkeypatch.setattr(status, "MAX_REQUEST_S", 1.0)
    with StatusServer("127.0.0.1:0", PAGES) as server, dial(server) as link:
        began_s = time.monotonic()
        closed = threading.Event()

        def listen() -> None:
            assert link.recv(1) == b""
            closed.set()

        thread = threading.Thread(target=listen)
        thread.start()
        while not closed.wait(0.1):
            try:
                link.sendall(b"G")
            except OSError:
                break
            assert time.monotonic() - began_s < 10.0
        thread.join(10.0)
        assert closed.is_set()


def test_an_address_that_is_taken_is_one_line(server: StatusServer) -> None:
    taken = urlsplit(server.url).netloc
    with pytest.raises(ConfigError, match=f"--metrics {taken}: Address already in use"):
        StatusServer(taken, PAGES)


def test_a_bind_beyond_this_machine_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), StatusServer("0.0.0.0:0", PAGES):
        assert "shows metrics to everybody who can reach it" in caplog.text


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:9577", ("127.0.0.1", 9577)), ("[::1]:0", ("::1", 0)), ("localhost:80", ("localhost", 80))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["9577", ":9577", "127.0.0.1", "127.0.0.1:", "a:-1", "a:65536", "a:٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="takes HOST:PORT"):
        parse_address(text)
