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

"""Asks a ZeroMQ peer how it wants to be spoken to, after it has broken off a handshake without a word."""

from __future__ import annotations

from contextlib import suppress
import socket as sockets
import time

NULL, CURVE = "NULL", "CURVE"

_GREETING_BYTES = 64
_MECHANISM = slice(12, 32)  # in a greeting of ZMTP 3
# signature and version: a peer answers with the rest of its own, and waits for the rest of this
_BEGINNING = b"\xff" + bytes(8) + b"\x7f" + bytes((3, 1))


def mechanism(endpoint: str, timeout_s: float) -> str:
    """The security mechanism of whoever listens.

    Args:
        endpoint: tcp://HOST:PORT.
        timeout_s: how long to wait for the greeting.

    Returns:
        NULL, CURVE or another; "" if nobody greets as ZeroMQ does.
    """
    transport, _, address = endpoint.partition("://")
    host, _, port = address.rpartition(":")
    if transport != "tcp" or not port.isdecimal():
        return ""
    end_s, greeting = time.monotonic() + timeout_s, b""
    host = host.removeprefix("[").removesuffix("]")
    with suppress(OSError, OverflowError), sockets.create_connection((host, int(port)), timeout_s) as peer:
        peer.sendall(_BEGINNING)
        while len(greeting) < _GREETING_BYTES:
            peer.settimeout(max(0.001, end_s - time.monotonic()))
            part = peer.recv(_GREETING_BYTES - len(greeting))
            if not part:
                break
            greeting += part
    if len(greeting) < _MECHANISM.stop or greeting[0] != _BEGINNING[0]:
        return ""
    return greeting[_MECHANISM].rstrip(b"\0").decode("ascii", "replace")
