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

"""A ZeroMQ socket for several threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import threading

from svlm_core.offload import parts
import zmq

FAREWELL_MS = 1000  # for the last message to leave


class SharedSocket:
    """Any thread may send, one may receive; a lock makes them take turns, which is all that libzmq asks for.

    Nobody can wait in a zmq.Poller for it: the one who receives waits for its `fileno()`, after `receive` has
    found nothing. That descriptor says only once that something came, and a thread that sends may be the one
    who hears it; then it calls `wake`, and the other is to look.
    """

    def __init__(self, socket: zmq.Socket, wake: Callable[[], object]) -> None:
        """Share a socket, which belongs to this object from now on."""
        self._socket, self._wake = socket, wake
        self._lock = threading.Lock()
        self._fd = int(socket.getsockopt(zmq.FD))

    def fileno(self) -> int:
        """What becomes readable."""
        return self._fd

    def send(self, message: Sequence[bytes]) -> None:
        """Send all parts of a message, when there is room; once closed, nothing is sent."""
        with self._lock:
            if self._socket.closed:
                return
            parts.send(self._socket, message, wait=True)
            heard = int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN
        if heard:
            self._wake()

    def receive(self) -> list[memoryview] | None:
        """A message that has come, None if there is none."""
        with self._lock:
            try:
                return [part.buffer for part in parts.receive(self._socket)]
            except zmq.Again:
                return None

    def close(self, linger_ms: int = FAREWELL_MS) -> None:
        """End, and the socket's context with it; what was sent has that long to leave."""
        with self._lock:
            context = self._socket.context
            self._socket.close(linger=linger_ms)
        context.term()
