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

"""A robot that speaks the wire and nothing else: what any client in any language would do."""

from __future__ import annotations

from collections.abc import Sequence
import time
from typing import Any

import numpy as np
from svlm_core.frames import Chunk
from svlm_core.offload import images, wire
from svlm_core.offload.curve import ClientKeys, secure_client
import zmq

LIMIT_MS = 60_000  # for what must come; a busy machine takes its time


class RawPeer:
    """One connection; a context manager."""

    def __init__(self, endpoint: str, keys: ClientKeys | None = None) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        secure_client(self.socket, keys, endpoint)
        self.socket.connect(endpoint)
        self._reader: wire.Reader[Any] = wire.Reader(wire.FromServer)

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close(linger=0)
        self._context.term()

    def send(self, message: wire.Message, pictures: Sequence[bytes] = ()) -> None:
        self.socket.send_multipart(wire.pack(message, pictures))

    def hear(self, limit_ms: int = LIMIT_MS) -> Any:
        """The next message; None if none comes."""
        if not self.socket.poll(limit_ms):
            return None
        return self._reader.read(self.socket.recv_multipart())

    def ask(self, message: wire.Message, pictures: Sequence[bytes] = ()) -> Any:
        """What comes after a message was sent."""
        self.send(message, pictures)
        return self.hear()

    def until(self, kind: type) -> list[Any]:
        """All messages up to the first of a kind, with it, but no Pongs; shows that it is there meanwhile."""
        heard: list[Any] = []
        end_s = time.monotonic() + LIMIT_MS / 1000
        while not heard or not isinstance(heard[-1], kind):
            assert time.monotonic() < end_s, f"no {kind.__name__} came, but {heard}"
            message = self.hear(round(1000 * wire.HEARTBEAT_S))
            if message is None:
                self.send(wire.Ping(0))
            elif not isinstance(message, wire.Pong):
                heard.append(message)
        return heard

    def hello(self, session: str = "s", **fields: Any) -> wire.Welcome:
        welcome = self.ask(wire.Hello(wire.VERSION, session, **fields))
        assert isinstance(welcome, wire.Welcome), welcome
        return welcome

    def step(self, epoch: int, seq: int, chunk: Chunk, **fields: Any) -> Any:
        """Send a chunk without loss and wait for the answer."""
        return self.ask(*coded(epoch, seq, chunk, **fields))


def coded(epoch: int, seq: int, chunk: Chunk, **fields: Any) -> tuple[wire.Chunk, list[bytes]]:
    """A chunk as it goes over the wire, its pictures as PNG."""
    height, width = chunk.frames[0].size_px
    stamps = [frame.stamp_ns for frame in chunk.frames]
    rgb: list[np.ndarray] = [frame.rgb for frame in chunk.frames]
    message = wire.Chunk(epoch, seq, chunk.index, stamps, height, width, wire.Picture.PNG, **fields)
    return message, images.encode(rgb, wire.Picture.PNG, 90, None)
