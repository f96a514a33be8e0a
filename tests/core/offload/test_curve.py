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

"""CURVE over real sockets: who gets in, who does not, who must leave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
import socket as sockets
import struct
import time

import pytest
import raw_zmtp
from svlm_core.errors import ConfigError
from svlm_core.offload import curve, wire
from svlm_core.offload.curve import beyond_this_machine, ClientKeys, secure_client, ServerSecurity
from svlm_core.offload.keys import KeyStore
import zmq
from zmq.utils.monitor import recv_monitor_message

ANY_PORT = "tcp://127.0.0.1:0"
WAIT_MS = 20_000  # on a busy machine


@dataclass
class Server:
    """A ROUTER behind its security, and the stores of both sides."""

    context: zmq.Context
    store: KeyStore
    security: ServerSecurity
    socket: zmq.Socket
    endpoint: str

    def keys(self, name: str = "robot1", *, allow: bool = True) -> ClientKeys:
        robots = KeyStore(self.store.folder.parent / "robots")
        public = robots.new(name)
        if allow:
            self.store.allow(name, public)
        return ClientKeys.read(robots.folder / f"{name}.key", str(self.store.folder / "server.pub"))

    @contextmanager
    def client(self, keys: ClientKeys | None) -> Iterator[zmq.Socket]:
        with self.context.socket(zmq.DEALER) as socket:
            secure_client(socket, keys, self.endpoint)
            socket.connect(self.endpoint)
            yield socket

    def hears(self, socket: zmq.Socket) -> str | None:
        """The user behind a message from this client; None when it must not be served."""
        socket.send(b"hello")
        assert self.socket.poll(WAIT_MS), "nothing came through"
        return self.security.hear(self.socket.recv_multipart(copy=False)[1])


@contextmanager
def serving(folder: Path, *, keys: bool = True) -> Iterator[Server]:
    store = KeyStore(folder / "server")
    store.new("server")
    with (
        zmq.Context() as context,
        ServerSecurity(context, store.folder if keys else None, ANY_PORT) as security,
        context.socket(zmq.ROUTER) as socket,
    ):
        security.secure(socket)
        socket.bind(ANY_PORT)
        yield Server(context, store, security, socket, socket.last_endpoint.decode().rstrip("\0"))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("svlm_core.offload.allow_list._REFRESH_S", 0.0)
    with serving(tmp_path) as server:
        yield server


def outcome(socket: zmq.Socket, endpoint: str, wait_ms: int = WAIT_MS) -> tuple[str, int]:
    """The first end of a handshake that the client sees: event and value."""
    ends = {
        zmq.EVENT_HANDSHAKE_SUCCEEDED: "in",
        zmq.EVENT_HANDSHAKE_FAILED_AUTH: "auth",
        zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "protocol",
        zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "no detail",
        zmq.EVENT_DISCONNECTED: "disconnected",
    }
    with closing(socket.get_monitor_socket()) as monitor:
        socket.connect(endpoint)
        while monitor.poll(wait_ms):
            event = recv_monitor_message(monitor)
            if event["event"] in ends:
                return ends[event["event"]], event["value"]
    return "silence", 0


def test_an_allowed_key_comes_through_under_its_name(server: Server) -> None:
    with server.client(server.keys()) as client:
        assert server.hears(client) == "robot1"


def test_what_is_sent_cannot_be_read_on_the_way(server: Server) -> None:
    """A relay between the two sees every byte."""
    keys, seen = server.keys(), bytearray()
    address = ("127.0.0.1", int(server.endpoint.rpartition(":")[2]))
    with (
        closing(sockets.create_server(("127.0.0.1", 0))) as relay,
        server.context.socket(zmq.DEALER) as client,
    ):
        endpoint = f"tcp://127.0.0.1:{relay.getsockname()[1]}"
        secure_client(client, keys, endpoint)
        client.connect(endpoint)
        client.send(b"the robot's whereabouts")
        near, far = relay.accept()[0], sockets.create_connection(address)
        with near, far:
            near.setblocking(False)
            far.setblocking(False)
            poller = zmq.Poller()
            for socket in (near, far, server.socket):
                poller.register(socket, zmq.POLLIN)
            while ready := dict(poller.poll(WAIT_MS)):
                if server.socket in ready:
                    break
                for source, target in ((near, far), (far, near)):
                    if source.fileno() in ready:
                        seen += (data := source.recv(65536))
                        target.sendall(data)
        assert server.socket.recv_multipart()[1] == b"the robot's whereabouts"
    assert len(seen) > 300 and b"whereabouts" not in seen and b"robot" not in seen


def test_an_unknown_key_is_refused_and_told_so(server: Server) -> None:
    with server.context.socket(zmq.DEALER) as client:
        secure_client(client, server.keys(allow=False), server.endpoint)
        assert outcome(client, server.endpoint) == ("auth", 400)


def test_no_keys_are_refused(server: Server) -> None:
    with server.context.socket(zmq.DEALER) as client:
        secure_client(client, None, server.endpoint)
        assert outcome(client, server.endpoint)[0] in {"protocol", "disconnected"}
        with suppress(zmq.Again):  # no connection to send it over
            client.send(b"hello", zmq.NOBLOCK)
        assert not server.socket.poll(300)


def test_the_wrong_server_key_is_noticed(server: Server) -> None:
    keys = replace(server.keys(), server=zmq.curve_keypair()[0])
    with server.context.socket(zmq.DEALER) as client:
        secure_client(client, keys, server.endpoint)
        assert outcome(client, server.endpoint)[0] in {"no detail", "disconnected"}


def test_a_password_is_no_key(server: Server) -> None:
    with server.context.socket(zmq.DEALER) as client:
        client.linger = 0
        client.plain_username, client.plain_password = b"robot1", b"x"
        assert outcome(client, server.endpoint)[0] != "in"


def test_a_name_in_the_routing_id_is_not_believed(server: Server) -> None:
    keys = server.keys()
    with server.context.socket(zmq.DEALER) as client:
        secure_client(client, keys, server.endpoint)
        client.routing_id = b"robot2"
        client.connect(server.endpoint)
        assert server.hears(client) == "robot1"


def test_revoking_needs_no_restart_and_holds_for_connections_that_live(server: Server) -> None:
    keys = server.keys()
    with server.client(keys) as client:
        assert server.hears(client) == "robot1" and server.security.allows("robot1")
        server.store.revoke("robot1")
        assert not server.security.allows("robot1")
    with server.context.socket(zmq.DEALER) as client:
        secure_client(client, keys, server.endpoint)
        assert outcome(client, server.endpoint) == ("auth", 400)
        server.store.allow("robot1", keys.public)
    with server.client(keys) as client:
        assert server.hears(client) == "robot1" and server.security.allows("robot1")


def test_a_new_key_under_an_old_name_shuts_the_old_key_out(server: Server) -> None:
    """Whoever stole the old key may be connected still."""
    with server.client(server.keys()) as thief:
        assert server.hears(thief) == "robot1"
        thief.send(b"hello")
        assert server.socket.poll(WAIT_MS)
        server.store.allow("robot1", zmq.curve_keypair()[0])
        assert server.security.allows("robot1")
        assert server.security.hear(server.socket.recv_multipart(copy=False)[1]) is None


def test_nobody_gets_in_when_nobody_answers(server: Server) -> None:
    """By default libzmq lets everybody in once the thread that checks keys is gone."""
    keys = server.keys()
    server.security.close()
    with server.context.socket(zmq.DEALER) as client:
        secure_client(client, keys, server.endpoint)
        assert outcome(client, server.endpoint, wait_ms=500)[0] != "in"


def test_without_keys_on_this_machine_everybody_is_nobody(tmp_path: Path) -> None:
    with serving(tmp_path, keys=False) as server, server.client(None) as client:
        assert server.security.public is None
        assert server.hears(client) == "" and server.security.allows("")


@pytest.mark.parametrize("keys", [True, False])
def test_a_part_beyond_the_limit_ends_the_connection(tmp_path: Path, keys: bool) -> None:
    with serving(tmp_path, keys=keys) as server, server.client(server.keys() if keys else None) as client:
        server.hears(client)
        client.send(bytes(wire.MAX_IMAGE_BYTES))
        assert server.socket.poll(WAIT_MS) and len(server.socket.recv_multipart()[1]) == wire.MAX_IMAGE_BYTES
        with closing(client.get_monitor_socket(zmq.EVENT_DISCONNECTED)) as monitor:
            client.send(bytes(wire.MAX_IMAGE_BYTES + 1000))
            assert monitor.poll(WAIT_MS), "the server keeps a connection that sends more than it may"
        assert not server.socket.poll(0)


def test_a_robot_takes_no_more_than_a_header(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.client(server.keys()) as client:
        client.send(b"hello")
        identity, _ = server.socket.recv_multipart()
        server.socket.send_multipart([identity, bytes(wire.MAX_HEADER_BYTES)])
        assert client.poll(WAIT_MS) and len(client.recv()) == wire.MAX_HEADER_BYTES
        with closing(client.get_monitor_socket(zmq.EVENT_DISCONNECTED)) as monitor:
            server.socket.send_multipart([identity, bytes(wire.MAX_HEADER_BYTES + 1000)])
            assert monitor.poll(WAIT_MS) and not client.poll(0)


def test_a_length_that_is_only_claimed_reserves_nothing(tmp_path: Path) -> None:
    """A frame header may say 2^60 bytes; the connection ends instead."""
    with serving(tmp_path, keys=False) as server, raw_zmtp.connect(server.endpoint) as raw:
        raw.sendall(raw_zmtp.frame(b"hello"))
        assert server.socket.poll(WAIT_MS)
        raw.sendall(bytes([raw_zmtp.LONG]) + struct.pack(">Q", 1 << 60))
        began_s = time.monotonic()
        raw_zmtp.until_closed(raw)
        assert time.monotonic() - began_s < 2


def test_a_connection_that_never_says_who_it_is_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve, "HANDSHAKE_MS", 200)
    with serving(tmp_path) as server, raw_zmtp.open_connection(server.endpoint) as raw:
        began_s = time.monotonic()
        raw_zmtp.until_closed(raw)
        assert 0.1 < time.monotonic() - began_s < 4


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://127.0.0.1:5577",
        "tcp://127.8.8.8:5577",
        "tcp://localhost:5577",
        "tcp://[::1]:5577",
        "tcp://127.0.0.1:*",
        "ipc://socket",
        "inproc://x",
    ],
)
def test_this_machine_needs_no_keys(endpoint: str) -> None:
    assert not beyond_this_machine(endpoint)


BEYOND = [
    "tcp://*:5577",
    "tcp://0.0.0.0:5577",
    "tcp://[::]:5577",
    "tcp://[::ffff:10.0.0.1]:5577",
    "tcp://[fe80::1%lo]:5577",
    "tcp://192.168.1.7:5577",
    "tcp://0:5577",
    "tcp://eth0:5577",
    "tcp://no-such-host.invalid:5577",
    "tcp://127.0.0.1:0;10.0.0.5:5577",
]


@pytest.mark.parametrize("endpoint", BEYOND)
def test_beyond_it_keys_or_plain_words_are_needed(endpoint: str) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        with pytest.raises(ConfigError, match="beyond this machine: give keys"):
            ServerSecurity(context, None, endpoint)
        with pytest.raises(ConfigError, match="beyond this machine: give keys"):
            secure_client(socket, None, endpoint)
        ServerSecurity(context, None, endpoint, unencrypted=True).close()
        secure_client(socket, None, endpoint, unencrypted=True)


@pytest.mark.parametrize(
    "endpoint", ["", "5577", "localhost:5577", "tcp://host", "tcp://:1", "udp://a:1", "ipc://"]
)
def test_what_is_no_endpoint_is_named(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="must look like tcp://HOST:PORT"):
        beyond_this_machine(endpoint)


def test_keys_and_unencrypted_exclude_each_other(server: Server) -> None:
    keys = server.keys()
    with (
        server.context.socket(zmq.DEALER) as socket,
        pytest.raises(ConfigError, match="exclude each other"),
    ):
        secure_client(socket, keys, server.endpoint, unencrypted=True)
    with zmq.Context() as context, pytest.raises(ConfigError, match="exclude each other"):
        ServerSecurity(context, server.store.folder, ANY_PORT, unencrypted=True)


def test_secrets_are_not_printed(server: Server) -> None:
    keys = server.keys()
    assert keys.secret.decode() not in repr(keys) and keys.public.decode() in repr(keys)
