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

"""A network between a robot and a server, which tests cut, stall and mend.

Two of one kind: `Namespaces`, two real network stacks joined by a virtual cable, and `Proxy`, a relay between
two loopback sockets, for machines that do not permit the first. Both lose what is under way without telling
anyone, as Wi-Fi does: no reset, no end of stream, only silence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
import os
import selectors
import shutil
import socket
import subprocess
import threading
import time
from types import TracebackType
from typing import Protocol

UP, DOWN = "up", "down"  # robot to server, server to robot
BOTH = (UP, DOWN)
IP = {UP: "10.77.0.1", DOWN: "10.77.0.2"}  # of who sends that way
MAC = {UP: "02:00:00:77:00:01", DOWN: "02:00:00:77:00:02"}
NOBODY = "02:00:00:77:00:ff"
PORT = 5577  # of the server; all are free in its namespace


class Network(Protocol):
    """Where a server listens, where its robots find it, and what can happen between."""

    bind: str  # what the server binds
    endpoint: str  # where robots find it
    on_server: list[str]  # begins the commands that run at the server's end
    on_robot: list[str]  # begins those that run at the robot's

    def cut(self, *ways: str) -> None:
        """From now on lose everything that goes these ways, without a word."""

    def mend(self) -> None:
        """Carry everything again."""


class Namespaces:
    """Two network namespaces joined by a veth pair.

    Each namespace belongs to a process that ends when its standard input does. So nothing of it outlives
    this process, however it ends, and nothing of it can be seen outside.
    """

    def __init__(self) -> None:
        self._holders: list[subprocess.Popen[bytes]] = []
        self.bind = self.endpoint = f"tcp://{IP[DOWN]}:{PORT}"

    def __enter__(self) -> Namespaces:
        try:
            user = [] if os.geteuid() == 0 else ["--map-root-user"]
            self.on_robot = self._hold(["unshare", *user, "--net"])
            self.on_server = self._hold([*self.on_robot, "unshare", "--net"])
            there = str(self._holders[1].pid)
            self._ip(self.on_robot, f"link add robot address {MAC[UP]} type veth peer name server")
            self._ip(self.on_robot, f"link set server address {MAC[DOWN]} netns {there}")
            for side, name, way in ((self.on_robot, "robot", UP), (self.on_server, "server", DOWN)):
                self._ip(side, f"address add {IP[way]}/30 dev {name}")
                self._ip(side, f"link set {name} up")
                self._ip(side, "link set lo up")
            self.mend()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for holder in reversed(self._holders):
            assert holder.stdin is not None
            holder.stdin.close()
            holder.wait(10)

    def cut(self, *ways: str) -> None:
        """Send packets to a card that is not there: the sender notices nothing."""
        for way in ways or BOTH:
            self._address(way, NOBODY)

    def mend(self) -> None:
        for way in BOTH:
            self._address(way, MAC[DOWN if way == UP else UP])

    def _address(self, way: str, mac: str) -> None:
        side, name = (self.on_robot, "robot") if way == UP else (self.on_server, "server")
        other = IP[DOWN if way == UP else UP]
        self._ip(side, f"neighbor replace {other} lladdr {mac} nud permanent dev {name}")

    def _hold(self, command: list[str]) -> list[str]:
        """Start a process that keeps its new namespaces; returns what enters them."""
        holder = subprocess.Popen(
            [*command, "sh", "-c", "echo; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._holders.append(holder)
        assert holder.stdout is not None
        if not holder.stdout.readline():
            raise OSError(f"{command} was not permitted")
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", f"--target={holder.pid}", "--net", *user, "--"]

    @staticmethod
    def _ip(side: list[str], command: str) -> None:
        done = subprocess.run([*side, "ip", *command.split()], capture_output=True, text=True, timeout=10)
        if done.returncode:
            raise OSError(f"ip {command}: {done.stderr.strip()}")


class Proxy:
    """A relay on loopback: one thread, no more connections than the robots make.

    Attributes:
        delay_s: how long everything is under way.
        tap: shown everything that arrives at the server: number of the connection, bytes.
    """

    _PIECE_BYTES = 65536
    _TICK_S = 0.004

    def __init__(self, tap: Callable[[int, bytes], object] = lambda connection, data: None) -> None:
        self._server = ("127.0.0.1", free_port())
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.bind = f"tcp://127.0.0.1:{self._server[1]}"
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.on_robot: list[str] = []
        self.on_server: list[str] = []
        self.delay_s = 0.0
        self._tap = tap
        self._lost: frozenset[str] = frozenset()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._relay, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(10)
        self._listener.close()

    def cut(self, *ways: str) -> None:
        """Leave bytes where they are: like TCP's own, they wait for the network and go on, or never do."""
        self._lost = frozenset(ways or BOTH)

    def mend(self) -> None:
        self._lost = frozenset()

    def _relay(self) -> None:
        pipes: list[_Pipe] = []
        number = 0
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._ended.is_set():
                ready = selector.select(self._TICK_S)
                if ready and not self._lost:  # else it waits, as a SYN would
                    robot, _ = self._listener.accept()
                    try:
                        server = socket.create_connection(self._server, 1.0)
                    except OSError:  # no server there
                        robot.close()
                    else:
                        pipes += [
                            _Pipe(UP, robot, server, lambda data, n=number: self._tap(n, data)),
                            _Pipe(DOWN, server, robot, lambda data: None),
                        ]
                        number += 1
                elif ready:
                    self._ended.wait(self._TICK_S)  # nothing is accepted now
                for pipe in pipes:
                    if pipe.way not in self._lost:
                        pipe.carry(self.delay_s, self._PIECE_BYTES)
                pipes = [pipe for pipe in pipes if not pipe.closed]
        for pipe in pipes:
            pipe.close()


class _Pipe:
    """One way of one connection. An end goes the way the bytes go, and is lost where they are."""

    def __init__(
        self, way: str, source: socket.socket, target: socket.socket, tap: Callable[[bytes], object]
    ) -> None:
        self.way, self.closed = way, False
        self._source, self._target, self._tap = source, target, tap
        self._waiting: deque[tuple[float, bytes]] = deque()  # when it was read; b"" is the end
        self._ended = False
        for end in (source, target):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def carry(self, delay_s: float, piece_bytes: int) -> None:
        """Read what is there, and write what has been under way for long enough."""
        while not self._ended and len(self._waiting) < 64:
            try:
                data = self._source.recv(piece_bytes)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self._ended = not data
            self._waiting.append((time.monotonic(), data))
        while self._waiting and self._waiting[0][0] + delay_s <= time.monotonic():
            since_s, data = self._waiting.popleft()
            if not data:
                self.close()
                return
            try:
                sent = self._target.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close()
                return
            self._tap(data[:sent])
            if sent < len(data):
                self._waiting.appendleft((since_s, data[sent:]))
                return

    def close(self) -> None:
        """End both connections."""
        self.closed = True
        for end in (self._source, self._target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def free_port() -> int:
    """A port of loopback that nobody has; it could be taken until it is used, and is not."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def why_no_namespaces() -> str:
    """Why this machine does not permit `Namespaces`, "" if it does."""
    for tool in ("unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (util-linux, iproute2)"
    try:
        with Namespaces():
            return ""
    except OSError as error:
        return f"network namespaces are not permitted here: {error}"
