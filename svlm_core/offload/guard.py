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

"""Ends connections that take more of a server than they may.

libzmq bounds a part of a message and the time of a handshake, but not how many parts a message has (it keeps
them all until the last one came), nor how many strangers wait at the door. The guard sees both from outside:
the socket's monitor tells of connections that come and go, the kernel how many bytes each has brought, the
server which of them have brought a whole message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
import logging
import os
import socket as sockets
import struct
import threading
import time

from svlm_core.offload import wire
import zmq
from zmq.utils.monitor import recv_monitor_message

LOG = logging.getLogger(__name__)

GREETING_S = 5.0  # time for the handshake and the first whole message
MOST_STRANGERS = 256  # connections that have not brought a message yet; the oldest goes
FIRST_BYTES = 2 * wire.MAX_HEADER_BYTES  # a Hello, and the handshake before it
UNFINISHED_BYTES = wire.MAX_MESSAGE_BYTES + wire.MAX_IMAGE_BYTES  # a message, and CURVE's share of it
ALL_UNFINISHED_BYTES = 4 * UNFINISHED_BYTES  # of all connections; the one with the most goes

_PERIOD_S = 0.05
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # the peer is told at once, and the kernel keeps nothing for it
_RECEIVED_AT, _TCP_INFO_BYTES = 128, 136  # tcpi_bytes_received in Linux' struct tcp_info


@dataclass
class Connection:
    """What is known of one.

    Attributes:
        since_s: when it was accepted, monotonic.
        user: name and key of its messages; None before the first.
        received_bytes: so far, encryption and all.
        finished_bytes: of these, those before the end of its last whole message.
        heard: whether a whole message came since the last look.
    """

    since_s: float
    user: str | None = None
    received_bytes: int = 0
    finished_bytes: int = 0
    heard: bool = field(default=False, repr=False)

    @property
    def name(self) -> str:
        """Of its key, for messages."""
        return (self.user or "").partition(" ")[0]

    @property
    def unfinished_bytes(self) -> int:
        """What libzmq may be keeping for a message whose end has not come."""
        return self.received_bytes - self.finished_bytes


def to_cut(
    connections: Iterable[tuple[int, Connection]], allows: Callable[[str], bool], now_s: float
) -> dict[int, str]:
    """Which connections must go, by their file descriptor, and why.

    Args:
        connections: all, oldest first.
        allows: whether a name still has its key.
        now_s: monotonic.
    """
    cut: dict[int, str] = {}
    strangers, unfinished = [], []
    for fd, connection in connections:
        if connection.user is None:
            if now_s - connection.since_s > GREETING_S:
                cut[fd] = f"it said nothing for {GREETING_S:.0f} s"
            elif connection.unfinished_bytes > FIRST_BYTES:
                cut[fd] = "its first message is too long"
            else:
                strangers.append(fd)
        elif not allows(connection.user):
            cut[fd] = f"the key of {connection.name} was revoked"
        elif connection.unfinished_bytes > UNFINISHED_BYTES:
            cut[fd] = f"a message of {connection.name or 'a robot'} does not end"
        else:
            unfinished.append((connection.unfinished_bytes, fd))
    for fd in strangers[: max(0, len(strangers) - MOST_STRANGERS)]:
        cut[fd] = f"more than {MOST_STRANGERS} connections have said nothing yet"
    total = sum(count for count, _ in unfinished)
    for count, fd in sorted(unfinished, reverse=True):
        if total <= ALL_UNFINISHED_BYTES:
            break
        cut[fd] = "all messages together take too much memory"
        total -= count
    return cut


class Guard:
    """A thread that watches the connections of one bound socket."""

    def __init__(self, socket: zmq.Socket, allows: Callable[[str], bool]) -> None:
        """Begin to watch; call it in the socket's own thread, before it is bound."""
        self._allows = allows
        self._lock = threading.Lock()
        self._connections: dict[int, Connection] = {}  # by file descriptor, oldest first
        self._closed = threading.Event()
        self._monitor = socket.get_monitor_socket(
            zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_MONITOR_STOPPED
        )
        self._thread = threading.Thread(target=self._watch, name="svlm guard", daemon=True)
        self._thread.start()

    def hear(self, message: zmq.Frame, user: str) -> None:
        """Take note that a whole message came; any of its parts will do."""
        with self._lock:
            connection = self._connections.get(message.get(zmq.SRCFD))
            if connection is not None:
                connection.user, connection.heard = user, True

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        look_s = time.monotonic() + _PERIOD_S
        try:
            while not self._closed.is_set():
                if self._monitor.poll(max(0, round((look_s - time.monotonic()) * 1000))):
                    event = recv_monitor_message(self._monitor)
                    if event["event"] == zmq.EVENT_MONITOR_STOPPED:
                        return
                    self._note(int(event["value"]), event["event"] == zmq.EVENT_ACCEPTED)
                if time.monotonic() >= look_s:
                    look_s = time.monotonic() + _PERIOD_S
                    self._look()
        finally:
            self._monitor.close()

    def _note(self, fd: int, accepted: bool) -> None:
        with self._lock:
            self._connections.pop(fd, None)  # so that a new one is the newest
            if accepted:
                self._connections[fd] = Connection(time.monotonic())

    def _look(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            for fd, connection in self._connections.items():
                connection.received_bytes = _received_bytes(fd)
                if connection.heard:  # no bytes of another message can come before the end of one
                    connection.heard, connection.finished_bytes = False, connection.received_bytes
            cut = to_cut(self._connections.items(), self._allows, now_s)
            for fd in cut:
                del self._connections[fd]
                _shut(fd)
        for reason in cut.values():
            LOG.warning("ended a connection: %s", reason)


def _received_bytes(fd: int) -> int:
    """Bytes that a TCP connection has brought so far; 0 where the kernel does not say."""
    try:
        with sockets.socket(fileno=os.dup(fd)) as connection:
            info = connection.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:  # closed just now, or not TCP
        return 0
    return int(struct.unpack_from("=Q", info, _RECEIVED_AT)[0]) if len(info) == _TCP_INFO_BYTES else 0


def _shut(fd: int) -> None:
    """End a connection; libzmq, whose descriptor it is, notices and closes it."""
    try:
        with sockets.socket(fileno=os.dup(fd)) as connection:
            connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET_ON_CLOSE)
            connection.shutdown(sockets.SHUT_RDWR)
    except OSError:
        return
