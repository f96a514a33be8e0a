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

"""The other end of a link, for what no server would do: a real socket that says what a test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
import threading
import time
from typing import Any

from svlm_core.config import StreamConfig
from svlm_core.offload import wire
from svlm_core.offload.curve import ServerSecurity
import zmq

WAIT_S = 30.0  # far longer than anything takes: only a failing test waits so long
_POLL_MS = 5

Reply = wire.Message | bytes  # bytes go out as they are
Answer = Callable[[Any], Sequence[Reply]]


class Peer:
    """A ROUTER that answers like a server, except for what a test changes in `answers`.

    Attributes:
        answers: kind of message -> what is replied, a list.
        heard: messages so far, pictures left out.
        pictures: of the newest Chunk.
        epoch, restored, last: of the next Welcome; `last` grows with the chunks.
        settings: of the stream.
    """

    def __init__(self, bind: str = "tcp://127.0.0.1:0", keys_dir: Path | None = None) -> None:
        self.answers: dict[type[wire.Message], Answer] = {
            wire.Hello: lambda hello: [self.welcome()],
            wire.Chunk: self.understand,
            wire.Ping: lambda ping: [wire.Pong(ping.n)],
            wire.Cancel: lambda cancel: [],
            wire.Bye: lambda bye: [],
            wire.Size: lambda size: [wire.Done(size.id, self.epoch, size.height // 2, size.width // 2)],
        }
        self.heard: list[Any] = []
        self.pictures: list[bytes] = []
        self.epoch, self.restored, self.last = 1, wire.Restored.NOTHING, -1
        self.settings: dict[str, Any] = asdict(StreamConfig())
        self._bind, self._keys_dir = bind, keys_dir
        self._to_say: list[tuple[bytes | None, Reply]] = []
        self._changed = threading.Condition()
        self._robot = b""
        self._greeted: set[bytes] = set()
        self._ending = False

    def __enter__(self) -> Peer:
        self._context = zmq.Context()
        self._security = ServerSecurity(self._context, self._keys_dir, self._bind)
        self._socket = self._context.socket(zmq.ROUTER)
        self._security.secure(self._socket)
        self._socket.bind(self._bind)
        self.endpoint = self._socket.last_endpoint.decode().rstrip("\0")
        self._ending = False
        self._thread = threading.Thread(target=self._serve, name="peer")
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End without a word, like a process that is killed."""
        self._ending = True
        self._thread.join(WAIT_S)
        self._socket.close(0)
        self._security.close()
        self._context.term()

    def welcome(self) -> wire.Welcome:
        return wire.Welcome(wire.VERSION, self.epoch, self.restored, self.last, self.settings, "model", 1, 99)

    def result(self, chunk: wire.Chunk, text: str | None = None) -> wire.Result:
        words = f"chunk {chunk.index}" if text is None else text
        return wire.Result(chunk.epoch, chunk.seq, words, [7, 8], 5, 50, 99, "end", {"decode": 1.0}, 2.0)

    def understand(self, chunk: wire.Chunk) -> list[Reply]:
        self.last = chunk.seq
        return [self.result(chunk)]

    def say(self, *replies: Reply) -> None:
        """Say something to the newest connection, unasked."""
        with self._changed:
            self._to_say += [(None, reply) for reply in replies]

    def wait_for(self, kind: type[wire.Message], number: int = 1) -> list[Any]:
        """All messages of a kind, once there are so many."""

        def found() -> list[Any]:
            return [message for message in self.heard if isinstance(message, kind)]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= number, WAIT_S), f"no {kind.__name__}"
            return found()

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Answer nothing at all."""
        before, self.answers = self.answers, {}
        yield
        self.answers = before

    def _serve(self) -> None:
        reader: wire.Reader[Any] = wire.Reader(wire.FromRobot)
        while not self._ending:
            with self._changed:
                to_say, self._to_say = self._to_say, []
            for robot, reply in to_say:
                parts = [reply] if isinstance(reply, bytes) else wire.pack(reply)
                self._socket.send_multipart([robot or self._robot, *parts])
            if not self._socket.poll(_POLL_MS):
                continue
            robot, *frames = self._socket.recv_multipart(copy=False)
            self._security.hear(frames[0])
            self._robot, parts = robot.bytes, [frame.bytes for frame in frames]
            message = reader.read(parts)
            with self._changed:
                if isinstance(message, wire.Chunk):
                    self.pictures = parts[1:]
                self.heard.append(message)
                self._changed.notify_all()
                replies = self._answer(message)
                self._to_say += [(self._robot, reply) for reply in replies]

    def _answer(self, message: Any) -> Sequence[Reply]:
        if not self.answers:
            return []
        if isinstance(message, wire.Hello):
            self._greeted.add(self._robot)
        elif self._robot not in self._greeted:
            return [wire.Error(wire.Code.SESSION)]
        if answer := self.answers.get(type(message)):
            return answer(message)
        return [wire.Done(message.id, self.epoch)]


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that another thread does."""
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.005)
