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

"""The link between a front and workers on other machines: TCP with CURVE, under keys of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
import logging

import msgspec
from svlm_core.offload import parts
from svlm_core.offload.shared_socket import SharedSocket
import zmq
from zmq.auth.thread import ThreadAuthenticator

LOG = logging.getLogger(__name__)

_DOMAIN = "svlm-workers"
_AT_ONCE = 64  # messages before others have their turn
_FAREWELL_MS = 500  # for the last messages to leave


class Address(msgspec.Struct, frozen=True):
    """Where a worker finds its front, and the CURVE keys for it, z85.

    Attributes:
        endpoint: of the front.
        server: the front's public key.
        public, secret: the worker's own.
    """

    endpoint: str
    server: str
    public: str
    secret: str


class RemoteLinks:
    """The front's socket."""

    def __init__(self, socket: zmq.Socket) -> None:
        """Made by listen_to_workers, of a ROUTER."""
        self._socket = socket

    @property
    def pollable(self) -> zmq.Socket:
        """As of WorkerLinks."""
        return self._socket

    def send(self, identity: bytes, message: Sequence[bytes | zmq.Frame]) -> bool:
        """As of WorkerLinks."""
        try:
            parts.send(self._socket, [identity, *message], copy=False)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
        return True

    def receive(self) -> Iterator[tuple[bytes, memoryview]]:
        """As of WorkerLinks."""
        for identity, message in parts.waiting(self._socket, _AT_ONCE):
            yield identity.bytes, message.buffer


@contextmanager
def listen_to_workers(host: str) -> Iterator[tuple[RemoteLinks, Address]]:
    """Let those in who have the keys that are made here, and nobody else.

    Args:
        host: address of this machine that workers reach.

    Yields:
        The links, and what a worker needs for its own.
    """
    public, secret = zmq.curve_keypair()
    # a context of its own: whoever may connect to the robots' socket may not to this one
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.router_mandatory, socket.linger = True, _FAREWELL_MS
        server, socket.curve_secretkey = zmq.curve_keypair()
        socket.curve_server, socket.zap_domain = True, _DOMAIN.encode()
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without this, nobody to ask means everybody may
        door = ThreadAuthenticator(context, log=LOG)
        door.start()
        try:
            door.configure_curve_callback(_DOMAIN, _OneKey(public))
            socket.bind(f"tcp://{host}:*")
            endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT)
            yield RemoteLinks(socket), Address(endpoint, server.decode(), public.decode(), secret.decode())
        finally:
            door.stop()


def connect_to_front(address: Address, name: str, wake: Callable[[], object]) -> SharedSocket:
    """A worker's end of a link.

    Args:
        address: of the front.
        name: identity of the worker.
        wake: see SharedSocket.
    """
    socket = zmq.Context().socket(zmq.DEALER)
    socket.routing_id = name.encode()
    socket.curve_serverkey = address.server.encode()
    socket.curve_publickey, socket.curve_secretkey = address.public.encode(), address.secret.encode()
    socket.connect(address.endpoint)
    return SharedSocket(socket, wake)


class _OneKey:
    """Says who may connect."""

    def __init__(self, public: bytes) -> None:
        self._public = public

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether a public key (z85) may."""
        return key == self._public
