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

"""A stand-in language model: a real HTTP server on this machine that follows OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import threading
import time
from typing import Any

Reply = Callable[[dict[str, Any]], "str | tuple[int, dict[str, Any] | bytes] | None"]
"""Of a request's body: words, a status with a body (its `_headers` become headers), or None for silence."""


class ChatServer:
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

            def _send(self, code: int, data: dict[str, Any] | bytes) -> None:
                payload = data if isinstance(data, bytes) else json.dumps(data).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                if isinstance(data, dict):
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
def chat_server(reply: Reply) -> Iterator[ChatServer]:
    """A server that runs while the block does."""
    chat = ChatServer(reply)
    thread = threading.Thread(target=chat.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield chat
    finally:
        chat.server.shutdown()
        chat.server.server_close()
