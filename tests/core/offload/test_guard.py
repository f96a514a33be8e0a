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

"""Connections that take too much are ended, and no others: the policy alone, and over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, ExitStack
from pathlib import Path
import threading
import time

from hypothesis import given
from hypothesis import strategies as st
from properties import invariant
import psutil
import pytest
import raw_zmtp
from svlm_core.offload import guard
from svlm_core.offload.curve import ClientKeys, secure_client, ServerSecurity
from svlm_core.offload.guard import Connection, to_cut
from svlm_core.offload.keys import KeyStore
import zmq

MIB = 1 << 20
ANY_PORT = "tcp://127.0.0.1:0"


def everybody(user: str) -> bool:
    return True


connections = st.builds(
    Connection,
    since_s=st.floats(0, 10),
    user=st.none() | st.sampled_from(["", "robot1", "robot2"]),
    received_bytes=st.integers(0, 2 * guard.UNFINISHED_BYTES),
)


@invariant
@given(st.lists(connections, max_size=400))
def test_what_stays_is_within_the_limits_and_nothing_goes_without_need(all_of_them: list[Connection]) -> None:
    numbered = list(enumerate(all_of_them))
    cut = to_cut(numbered, lambda user: user != "robot2", 10.0)
    stays = [connection for fd, connection in numbered if fd not in cut]
    assert sum(one.unfinished_bytes for one in stays if one.user is not None) <= guard.ALL_UNFINISHED_BYTES
    assert sum(one.user is None for one in stays) <= guard.MOST_STRANGERS
    assert all(one.user != "robot2" for one in stays)
    assert all(
        one.unfinished_bytes <= (guard.FIRST_BYTES if one.user is None else guard.UNFINISHED_BYTES)
        for one in stays
    )
    small = [fd for fd, one in numbered if one.user in {"", "robot1"} and not one.unfinished_bytes]
    assert not cut.keys() & set(small)


def test_the_oldest_stranger_makes_room() -> None:
    strangers = [(fd, Connection(since_s=fd / 1000)) for fd in range(guard.MOST_STRANGERS + 3)]
    assert set(to_cut(strangers, everybody, 1.0)) == {0, 1, 2}


def test_the_largest_message_makes_room() -> None:
    size = guard.UNFINISHED_BYTES - MIB
    robots = [(fd, Connection(0.0, "robot1", size + fd)) for fd in range(5)]
    assert set(to_cut(robots, everybody, 1.0)) == {4}


class Door:
    """A ROUTER with its security, and a thread that reads whatever comes."""

    def __init__(self, keys_dir: Path | None) -> None:
        self.context = zmq.Context()
        self.security = ServerSecurity(self.context, keys_dir, ANY_PORT)
        self.socket = self.context.socket(zmq.ROUTER)
        self.security.secure(self.socket)
        self.socket.bind(ANY_PORT)
        self.endpoint = self.socket.last_endpoint.decode().rstrip("\0")
        self.users: list[str | None] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        while not self._closed.is_set():
            if self.socket.poll(20):
                identity, message = self.socket.recv_multipart(copy=False)[:2]
                self.users.append(self.security.hear(message))
                self.socket.send_multipart([identity, message])

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self.socket.close()
        self.security.close()
        self.context.term()


@pytest.fixture
def door() -> Iterator[Door]:
    with closing(Door(None)) as door:
        yield door


def test_a_message_that_does_not_end_ends_its_connection(door: Door) -> None:
    """In libzmq every part waits until the last one came, however many there are."""
    part = raw_zmtp.frame(bytes(MIB), raw_zmtp.MORE)
    sent_bytes = 0
    with raw_zmtp.connect(door.endpoint) as robot, pytest.raises(OSError, match=r"Broken pipe|reset"):
        robot.sendall(raw_zmtp.frame(b"hello"))
        assert b"hello" in robot.recv(4096)
        deadline_s = time.monotonic() + 30
        while time.monotonic() < deadline_s:
            robot.sendall(part)
            sent_bytes += len(part)
    # as much as the loopback carries between two looks comes on top
    assert guard.UNFINISHED_BYTES // 2 < sent_bytes < 6 * guard.UNFINISHED_BYTES


def test_a_first_message_is_no_larger_than_a_hello(door: Door) -> None:
    part = raw_zmtp.frame(bytes(guard.FIRST_BYTES // 4), raw_zmtp.MORE)
    with raw_zmtp.connect(door.endpoint) as robot:
        robot.sendall(part * 5)
        raw_zmtp.until_closed(robot)
    assert door.users == []


def test_messages_of_the_largest_size_go_on_for_ever(door: Door) -> None:
    with raw_zmtp.connect(door.endpoint) as robot:
        robot.sendall(raw_zmtp.frame(b"hello"))
        for _ in range(8):
            robot.sendall(raw_zmtp.frame(bytes(15 * MIB), raw_zmtp.MORE) * 4 + raw_zmtp.frame(b""))
        robot.sendall(raw_zmtp.frame(b"bye"))
        heard = b""
        while b"bye" not in heard:
            more = robot.recv(MIB)
            assert more, "the connection was ended"
            heard = heard[-2:] + more


def test_who_says_nothing_must_go(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "GREETING_S", 0.2)
    with raw_zmtp.open_connection(door.endpoint) as stranger, raw_zmtp.connect(door.endpoint) as mute:
        raw_zmtp.until_closed(stranger)
        raw_zmtp.until_closed(mute)


def test_a_thousand_strangers_do_not_keep_a_robot_out(door: Door) -> None:
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(raw_zmtp.open_connection(door.endpoint))
        robot: zmq.Socket = stack.enter_context(door.context.socket(zmq.DEALER))
        secure_client(robot, None, door.endpoint)
        robot.connect(door.endpoint)
        for number in range(10):
            robot.send(b"%d" % number)
            assert robot.poll(5000) and robot.recv() == b"%d" % number
        deadline_s = time.monotonic() + 5
        while open_to(door.endpoint) > guard.MOST_STRANGERS + 1:
            assert time.monotonic() < deadline_s, "strangers stay"
            time.sleep(0.02)


def open_to(endpoint: str) -> int:
    """Established connections that this process has accepted at a port."""
    port = int(endpoint.rpartition(":")[2])
    return sum(
        one.laddr.port == port and one.status == psutil.CONN_ESTABLISHED
        for one in psutil.Process().net_connections("tcp4")
    )


def test_a_revoked_robot_is_cut_off_while_it_talks(tmp_path: Path) -> None:
    store, robots = KeyStore(tmp_path / "server"), KeyStore(tmp_path / "robots")
    store.new("server")
    keys = {}
    for name in ("robot1", "robot2"):
        store.allow(name, robots.new(name))
        keys[name] = ClientKeys.read(robots.folder / f"{name}.key", str(store.folder / "server.pub"))
    with closing(Door(store.folder)) as door, ExitStack() as stack:
        sockets = {}
        for name in keys:
            sockets[name] = stack.enter_context(door.context.socket(zmq.DEALER))
            secure_client(sockets[name], keys[name], door.endpoint)
            sockets[name].connect(door.endpoint)
            sockets[name].send(b"hello")
            assert sockets[name].poll(5000) and sockets[name].recv() == b"hello"
        monitor = stack.enter_context(closing(sockets["robot1"].get_monitor_socket(zmq.EVENT_DISCONNECTED)))
        store.revoke("robot1")
        assert monitor.poll(5000), "the connection of a revoked key lives on"
        sockets["robot2"].send(b"still here")
        assert sockets["robot2"].poll(5000)
    assert door.users == ["robot1", "robot2", "robot2"]


def test_a_socket_that_is_not_tcp_is_served(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/s"
    with (
        zmq.Context() as context,
        ServerSecurity(context, None, endpoint) as security,
        context.socket(zmq.ROUTER) as server,
        context.socket(zmq.DEALER) as robot,
    ):
        security.secure(server)
        server.bind(endpoint)
        robot.connect(endpoint)
        robot.send(b"hello")
        assert security.hear(server.recv_multipart(copy=False)[1]) == ""


def test_watching_ends_with_the_socket() -> None:
    with closing(Door(None)) as door:
        threads = threading.active_count()
    assert door.context.closed and threading.active_count() < threads
