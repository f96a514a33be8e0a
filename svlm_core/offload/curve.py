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

"""ZeroMQ sockets with CURVE keys, and the rule that nothing beyond this machine goes without."""

from __future__ import annotations

from dataclasses import dataclass, field
import ipaddress
import logging
from pathlib import Path
import socket as sockets
from types import TracebackType

from svlm_core.errors import ConfigError
from svlm_core.offload import wire
from svlm_core.offload.allow_list import AllowList
from svlm_core.offload.guard import Guard
from svlm_core.offload.keys import KeyPair, KeyStore, parse_public, read_pair
import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

LOG = logging.getLogger(__name__)

HANDSHAKE_MS = 5000  # a connection that has not said who it is by then is closed
HEARTBEAT_MS = 2000  # of the transport; the link's own are in wire.py
HEARTBEAT_TIMEOUT_MS = 15_000  # generous: no heartbeat fits between the bytes of a picture on a slow link
QUEUE_MESSAGES = 64  # of one connection and direction
BACKLOG = 1024  # connections that the kernel holds until they are accepted

_PART_OVERHEAD_BYTES = 64  # of CURVE's framing
_ZAP_DOMAIN = b"svlm"
_LOCAL_TRANSPORTS = frozenset({"ipc", "inproc"})


@dataclass(frozen=True)
class ClientKeys:
    """What a robot needs to connect.

    Attributes:
        public: the robot's public key, z85.
        secret: its secret key, z85; not shown by repr.
        server: the server's public key, z85.
    """

    public: bytes
    secret: bytes = field(repr=False)
    server: bytes

    @classmethod
    def read(cls, key_file: Path, server_key: str) -> ClientKeys:
        """Read the robot's pair.

        Args:
            key_file: NAME.key, as `svlm keys new NAME` wrote it.
            server_key: the server's public key as z85 text, or the path of its server.pub.

        Raises:
            ConfigError: a key cannot be read or is none, or others can read the robot's secret.
        """
        pair = read_pair(key_file)
        return cls(pair.public, pair.secret, parse_public(server_key, "the server key"))


def secure_client(
    socket: zmq.Socket, keys: ClientKeys | None, endpoint: str, unencrypted: bool = False
) -> None:
    """Set a socket up before it connects: keys, limits, heartbeats.

    Args:
        socket: a DEALER that is not connected yet.
        keys: the robot's; None only for an endpoint on this machine, or with `unencrypted`.
        endpoint: where it will connect to.
        unencrypted: go without keys beyond this machine.

    Raises:
        ConfigError: the endpoint is none, goes beyond this machine without keys, or keys are given and
            `unencrypted` too.
    """
    _check(endpoint, keys is not None, unencrypted, "--key and --server-key")
    arm_client(socket, keys, endpoint)


def arm_client(socket: zmq.Socket, keys: ClientKeys | None, endpoint: str) -> None:
    """As secure_client, for an endpoint that was checked before: looks no name up."""
    _harden(socket, endpoint, wire.MAX_HEADER_BYTES)
    if keys is not None:
        socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
        socket.curve_serverkey = keys.server


class ServerSecurity:
    """Who may connect to a server; a context manager.

    With keys, a thread of the context answers ZeroMQ's question about every connection (ZAP) from the list of
    allowed keys as it is at that moment. Messages of a connection carry the name of its key. A second thread
    ends connections: of revoked keys, of strangers who say nothing, of messages without end.

    Close the socket first and this afterwards.
    """

    def __init__(
        self, context: zmq.Context, keys_dir: Path | None, bind: str, unencrypted: bool = False
    ) -> None:
        """Read the server's keys and begin to answer.

        Args:
            context: of the socket that will be secured; no other ServerSecurity may live in it.
            keys_dir: see svlm_core.offload.keys; None only for a bind on this machine, or with `unencrypted`.
            bind: where the socket will be bound.
            unencrypted: go without keys beyond this machine.

        Raises:
            ConfigError: as secure_client, or a key cannot be read.
        """
        _check(bind, keys_dir is not None, unencrypted, "--keys DIR")
        self._bind = bind
        self._pair: KeyPair | None = None
        self._door: _Door | None = None
        self._guard: Guard | None = None
        if keys_dir is not None:
            store = KeyStore(keys_dir)
            self._pair = store.server()
            self._allowed = AllowList(store)
            self._door = _Door(context, self._allowed)
            self._door.start()

    def __enter__(self) -> ServerSecurity:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def public(self) -> bytes | None:
        """The server's public key, z85; None without keys."""
        return None if self._pair is None else self._pair.public

    def secure(self, socket: zmq.Socket) -> None:
        """Set a socket up before it is bound: keys, limits, heartbeats. Its monitor is taken from now on."""
        _harden(socket, self._bind, wire.MAX_IMAGE_BYTES)
        self._guard = Guard(socket, self._admits)
        if self._pair is not None:
            socket.curve_server = True
            socket.curve_secretkey = self._pair.secret
            socket.zap_domain = _ZAP_DOMAIN
            # without this libzmq lets everybody in when nobody answers
            socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def hear(self, message: zmq.Frame) -> str | None:
        """Take note that a message came: a connection that never brings one is ended.

        Args:
            message: any part of it, received with copy=False.

        Returns:
            The name of its key, "" without keys; None when the key was revoked, and nothing may be served.
        """
        passport = "" if self._pair is None else str(message.get("User-Id"))
        if self._guard is not None:
            self._guard.hear(message, passport)
        return passport.partition(" ")[0] if self._admits(passport) else None

    def allows(self, user: str) -> bool:
        """Whether a key of this name is allowed; everybody is without keys."""
        return self._pair is None or self._allowed.allows(user)

    def _admits(self, passport: str) -> bool:
        """Whether the name on a connection still belongs to the key that it was let in with."""
        name, _, key = passport.partition(" ")
        return self._pair is None or self._allowed.name(key.encode()) == name

    def close(self) -> None:
        """Stop answering: from now on nobody new gets in."""
        if self._door is not None:
            self._door.stop()
            self._door = None
        if self._guard is not None:
            self._guard.close()
            self._guard = None


class _Door(ThreadAuthenticator):
    """Answers ZeroMQ's question whether a key may connect."""

    def __init__(self, context: zmq.Context, allowed: AllowList) -> None:
        super().__init__(context, log=LOG)
        self._list = allowed
        self.configure_curve_callback(_ZAP_DOMAIN.decode(), self)

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether a public key (z85) may connect."""
        name = self._list.name(key)
        if name is None:
            LOG.warning("refused a connection: its key %s is not allowed", key.decode())
        return name is not None

    def curve_user_id(self, client_public_key: bytes) -> str:
        """What the connection's messages carry: name and key, because a name can get another key."""
        key = z85.encode(client_public_key)
        return f"{self._list.name(key) or ''} {key.decode()}"


def beyond_this_machine(endpoint: str) -> bool:
    """Whether an endpoint can be reached from, or reaches, another machine.

    Raises:
        ConfigError: it is no endpoint.
    """
    transport, separator, address = endpoint.partition("://")
    if separator and transport in _LOCAL_TRANSPORTS and address:
        return False
    host, colon, port = address.rpartition(":")
    if transport != "tcp" or not colon or not host or not (port.isdecimal() or port == "*"):
        raise ConfigError(f"the endpoint {endpoint!r} must look like tcp://HOST:PORT")
    host = host.removeprefix("[").removesuffix("]")
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = {str(info[4][0]) for info in sockets.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return True  # an interface, `*`, a name that nobody knows: not known to be this machine
    return not all(ipaddress.ip_address(address).is_loopback for address in found)


def _check(endpoint: str, has_keys: bool, unencrypted: bool, options: str) -> None:
    beyond = beyond_this_machine(endpoint)
    if has_keys and unencrypted:
        raise ConfigError(f"{options} and --unencrypted exclude each other: leave one out")
    if beyond and not has_keys and not unencrypted:
        raise ConfigError(
            f"{endpoint} goes beyond this machine: give keys ({options}, see `svlm keys --help`), "
            "or say --unencrypted, and everybody on the network can look through the cameras"
        )


def _harden(socket: zmq.Socket, endpoint: str, largest_part_bytes: int) -> None:
    """Limits in place of libzmq's own, several of which are none."""
    socket.linger = 0
    socket.maxmsgsize = largest_part_bytes + _PART_OVERHEAD_BYTES
    socket.handshake_ivl = HANDSHAKE_MS
    socket.heartbeat_ivl = HEARTBEAT_MS
    socket.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
    socket.heartbeat_ttl = HEARTBEAT_TIMEOUT_MS
    socket.sndhwm = socket.rcvhwm = QUEUE_MESSAGES
    socket.backlog = BACKLOG
    socket.ipv6 = "[" in endpoint
