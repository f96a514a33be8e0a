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

"""A stand-in judge: a real HTTP server on this machine that follows OpenAI's chat completions.

Whose words it prefers is planted: each pair of texts is decided by a hash, in favour of texts that carry its
favourite's mark in a known share of the pairs, whatever order they come in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import re
import threading
import time
from typing import Any

Reply = Callable[[dict[str, Any]], "str | tuple[int, dict[str, Any]] | None"]


class Preference:
    """Says A, B or TIE about the texts of a judge's prompt."""

    def __init__(self, mark: str, share: float, seed: int, ties: float = 0.0) -> None:
        self.mark, self.share, self.seed, self.ties = mark, share, seed, ties

    def __call__(self, body: dict[str, Any]) -> str:
        first, second = shown(body)
        drawn = self._drawn(*sorted((first, second)))
        if drawn < self.ties:
            return "TIE"
        favourite_wins = (drawn - self.ties) / (1 - self.ties) < self.share
        return "A" if (self.mark in first) == favourite_wins else "B"

    def _drawn(self, *texts: str) -> float:
        digest = hashlib.sha256("\0".join([str(self.seed), *texts]).encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64


class Taste:
    """Prefers one of any two texts for a reason of its own, whatever order they come in."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, body: dict[str, Any]) -> str:
        first, second = shown(body)
        if first == second:
            return "TIE"
        return "A" if self._liking(first) > self._liking(second) else "B"

    def _liking(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.seed} {text}".encode()).digest()


def shown(body: dict[str, Any]) -> tuple[str, str]:
    """The two texts of a judge's prompt."""
    text = body["messages"][-1]["content"]
    found = re.search(r"## Commentary A\n(.*?)\n\n## Commentary B\n(.*)", text, re.DOTALL)
    assert found
    return found[1], found[2]


class JudgeServer:
    """The server, and what it was asked.

    Attributes:
        url: to be given as the endpoint's.
        bodies: of all requests, in the order of their arrival.
        headers: of all requests.
    """

    def __init__(self, reply: Reply) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.reply = reply
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                outer.headers.append(dict(self.headers))
                if self.path != "/v1/chat/completions":
                    return self._send(404, {"error": {"message": f"no such path {self.path}"}})
                said = outer.reply(body)
                if said is None:
                    time.sleep(1.0)  # longer than the tests' patience; the connection is gone by then
                    self.close_connection = True
                elif isinstance(said, tuple):
                    self._send(*said)
                else:
                    self._send(200, completion(said))

            def _send(self, code: int, data: dict[str, Any]) -> None:
                payload = json.dumps(data).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                for name, value in data.get("_headers", {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"


def completion(text: str | None, **message: Any) -> dict[str, Any]:
    """A chat completion with this text."""
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text, **message},
    }
    return {"id": "x", "object": "chat.completion", "choices": [choice]}


@contextmanager
def judge_server(reply: Reply) -> Iterator[JudgeServer]:
    """A server that runs while the block does."""
    judge = JudgeServer(reply)
    thread = threading.Thread(target=judge.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        judge.server.shutdown()
        judge.server.server_close()
