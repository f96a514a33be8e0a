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

"""A ZeroMQ peer from bare bytes (ZMTP 3.0, no encryption), for what libzmq itself would never send."""

from __future__ import annotations

import socket
import struct

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
MORE, LONG, COMMAND = 1, 2, 4


def frame(body: bytes, flags: int = 0) -> bytes:
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | LONG]) + struct.pack(">Q", len(body)) + body


def open_connection(endpoint: str) -> socket.socket:
    """A TCP connection to a ZeroMQ endpoint on which nothing was said yet."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def connect(endpoint: str) -> socket.socket:
    """A connection after the handshake of a DEALER."""
    connection = open_connection(endpoint)
    connection.sendall(GREETING + frame(READY, COMMAND))
    heard = b""
    while b"READY" not in heard:
        heard += connection.recv(4096)
    return connection


def until_closed(connection: socket.socket) -> bytes:
    """All that the other side says until it ends the connection."""
    heard = b""
    try:
        while more := connection.recv(65536):
            heard += more
    except ConnectionResetError:
        pass
    return heard
