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

"""Messages of storage files that lost their end: the recorder was killed, the disk full, a copy cut short.

Libraries refuse such files: the index stands at the end of an MCAP file, and SQLite counts its pages. Here
they are read from the beginning, in the order of recording, as far as they go.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
import sqlite3
import struct
from typing import BinaryIO, NamedTuple

from svlm_core.sources.bag_codecs import BrokenDataError, inflate, MAX_MESSAGE_BYTES

CDR = "cdr"  # the serialisation of every ROS 2 message

_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
_RECORD = struct.Struct("<BQ")  # opcode, length of what follows
_MESSAGE_HEADER = struct.Struct("<HIQQ")  # channel, sequence number, time of recording and of sending
_CHUNK_HEADER = struct.Struct("<QQQI")  # first and last time, unpacked size, its CRC-32 or 0


class RawMessage(NamedTuple):
    """A serialised message: topic, type ("sensor_msgs/msg/Image"), when it was recorded (ns), CDR bytes."""

    topic: str
    kind: str
    recorded_ns: int
    data: bytes


def rescue(path: Path) -> Iterator[RawMessage]:
    """The messages of a .mcap or .db3 file, up to its end or the first damage.

    Raises:
        BrokenDataError: that damage, after all messages before it.
    """
    return _rescue_mcap(path) if path.suffix == ".mcap" else _rescue_sqlite(path)


def _rescue_sqlite(path: Path) -> Iterator[RawMessage]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            # makes SQLite read a file that has fewer pages than its header says
            database.execute("PRAGMA writable_schema=ON")
            topics = {
                number: (str(topic), str(kind))
                for number, topic, kind, layout in database.execute(
                    "SELECT id, name, type, serialization_format FROM topics"
                )
                if layout == CDR
            }
            # by row number, not by time: the index of times is often the part that is lost
            rows = database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY id")
            for number, recorded_ns, data in rows:
                if number in topics:  # in a damaged row anything may stand
                    known_ns = recorded_ns if isinstance(recorded_ns, int) else 0
                    yield RawMessage(*topics[number], known_ns, data if isinstance(data, bytes) else b"")
    except sqlite3.Error as error:
        raise BrokenDataError(f"damaged or cut off ({error})") from error


def _rescue_mcap(path: Path) -> Iterator[RawMessage]:
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise BrokenDataError("empty" if not size else "not an MCAP file")
        reading = _McapReading()
        while file.tell() < size:
            opcode, content, whole = _next_record(file, size)
            if opcode == _DATA_END:
                return
            if opcode == _CHUNK:
                yield from reading.chunk(content, whole)
            elif whole:
                message = reading.record(opcode, memoryview(content))
                if message:
                    yield message
            if not whole:
                break
    raise BrokenDataError("cut off")


def _next_record(file: BinaryIO, size: int) -> tuple[int, bytes, bool]:
    """Opcode, content, and whether the content is all there."""
    header = file.read(_RECORD.size)
    if len(header) < _RECORD.size:
        return 0, b"", False
    opcode, length = _RECORD.unpack(header)
    there = min(length, size - file.tell())
    if there > MAX_MESSAGE_BYTES:
        raise BrokenDataError(f"a record claims {length} bytes")
    return opcode, file.read(there), there == length


class _McapReading:
    """What the records so far said about the messages to come."""

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {}  # schema -> type
        self._channels: dict[int, tuple[str, str]] = {}  # channel -> topic and type

    def record(self, opcode: int, content: memoryview) -> RawMessage | None:
        """Take one whole record; the message, if it is one."""
        try:
            if opcode == _SCHEMA:
                self._kinds[_number(content)], _ = _string(content, 2)
            elif opcode == _CHANNEL:
                topic, at = _string(content, 4)
                encoding, _ = _string(content, at)
                if encoding == CDR:
                    self._channels[_number(content)] = (topic, self._kinds.get(_number(content[2:]), ""))
            elif opcode == _MESSAGE:
                channel, _, recorded_ns, _ = _MESSAGE_HEADER.unpack_from(content)
                if channel in self._channels:
                    data = bytes(content[_MESSAGE_HEADER.size :])
                    return RawMessage(*self._channels[channel], recorded_ns, data)
        except (struct.error, UnicodeDecodeError) as error:
            raise BrokenDataError(f"damaged record ({error})") from error
        return None

    def chunk(self, content: bytes, whole: bool) -> Iterator[RawMessage]:
        """Take a chunk, which holds records; of one that is cut off, the records that are there."""
        try:
            _, _, unpacked_bytes, crc = _CHUNK_HEADER.unpack_from(content)
            compression, at = _string(memoryview(content), _CHUNK_HEADER.size)
        except (struct.error, UnicodeDecodeError) as error:
            raise BrokenDataError(f"damaged or cut off chunk ({error})") from error
        if unpacked_bytes > MAX_MESSAGE_BYTES:
            raise BrokenDataError(f"a chunk claims {unpacked_bytes} bytes")
        records = inflate(content[at + 8 :], compression, unpacked_bytes)
        if whole and (len(records) != unpacked_bytes or (crc and crc32(records) != crc)):
            raise BrokenDataError("damaged chunk: its checksum is another")
        view, at = memoryview(records), 0
        while at + _RECORD.size <= len(records):
            opcode, length = _RECORD.unpack_from(records, at)
            at += _RECORD.size
            if at + length <= len(records):
                message = self.record(opcode, view[at : at + length])
                if message:
                    yield message
            at += length


def _number(content: memoryview) -> int:
    return int.from_bytes(content[:2], "little")


def _string(content: memoryview, at: int) -> tuple[str, int]:
    """The string that begins there, and where it ends."""
    end = at + 4 + int.from_bytes(content[at : at + 4], "little")
    return bytes(content[at + 4 : end]).decode(), end
