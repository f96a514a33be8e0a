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

"""Reads what goes over an unencrypted ZeroMQ connection, from its bytes."""

from __future__ import annotations

from collections.abc import Iterator

_GREETING_BYTES = 64
_MORE, _LONG, _COMMAND = 1, 2, 4


class Wiretap:
    """One direction of one connection (ZMTP 3, NULL mechanism); gives the messages that are complete."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._greeted = False
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        """Take bytes as they come; the messages that they complete, as their parts."""
        self._bytes += data
        if not self._greeted and len(self._bytes) >= _GREETING_BYTES:
            self._greeted = True
            del self._bytes[:_GREETING_BYTES]
        while self._greeted and (frame := self._frame()) is not None:
            flags, part = frame
            if flags & _COMMAND:
                continue
            self._parts.append(part)
            if not flags & _MORE:
                yield self._parts
                self._parts = []

    def _frame(self) -> tuple[int, bytes] | None:
        if len(self._bytes) < 2:
            return None
        flags = self._bytes[0]
        start = 9 if flags & _LONG else 2
        if len(self._bytes) < start:
            return None
        end = start + int.from_bytes(self._bytes[1:start], "big")
        if len(self._bytes) < end:
            return None
        part = bytes(self._bytes[start:end])
        del self._bytes[:end]
        return flags, part
