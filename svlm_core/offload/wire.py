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

"""The messages of the link and their limits: the one place that defines them. Prose: docs/protocol.md.

A message is a msgpack header, then one part for each picture if it is a Chunk. Headers are maps with the
message's name in `t`; every field has a type and a limit, and is checked before anything else looks at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct
from svlm_core.errors import SvlmError

VERSION = 1
MAX_HEADER_BYTES = 256 * 1024
MAX_IMAGE_BYTES = 16 * 1024 * 1024
MAX_IMAGES = 240  # of one chunk; StreamConfig allows more, a link does not
MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # all parts of one message
MAX_TEXT = 64 * 1024  # characters of text that was said before
MAX_QUERY = 16 * 1024  # characters
MAX_SIDE_PX = 8192
MAX_CHUNK_PIXELS = 64 * 1024 * 1024  # of all pictures together: 200 MB decoded, eight of 4K

HEARTBEAT_S = 1.0  # each side says something at least this often
DEAD_AFTER_S = 3.0  # a side that has said nothing for so long is gone

Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
Label = Annotated[str, Meta(max_length=256)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Question = Annotated[str, Meta(max_length=MAX_QUERY)]
Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Heard = Annotated[int, Meta(ge=-1, le=(1 << 63) - 1)]
SidePx = Annotated[int, Meta(ge=1, le=MAX_SIDE_PX)]
Milliseconds = Annotated[float, Meta(ge=0.0, le=1e9)]
Setting = bool | int | float | Question
Settings = Annotated[dict[Name, Setting], Meta(max_length=64)]


class WireError(SvlmError):
    """A message that breaks the protocol; `code` is what the peer is told."""

    def __init__(self, code: Code, text: str) -> None:
        """Keep `text` for the own log: it never goes over the wire."""
        super().__init__(text)
        self.code = code


class Code(str, Enum):
    """Why something was refused: all that ever goes over the wire about an error."""

    VERSION = "version"  # the peer speaks another version of the protocol
    SCHEMA = "schema"  # not a message, or a field is missing, wrong or beyond its limit
    TOO_LARGE = "too_large"  # a part, a picture or the whole message is beyond its limit
    IMAGE = "image"  # a picture is damaged or of a kind that is not taken
    FULL = "full"  # no room for another stream: come again later
    RATE = "rate"  # more messages or bytes than this key may send
    REVOKED = "revoked"  # the key was taken back
    SESSION = "session"  # say Hello first
    TAKEN = "taken"  # another key has this session, or a newer connection of this key took it over
    EPOCH = "epoch"  # about a memory that the stream no longer has
    ORDER = "order"  # a chunk that is not newer than the last one
    CREDIT = "credit"  # more chunks in flight than there is credit for
    CONFIG = "config"  # a setting is unknown, wrong, or cannot change now; `field` names it
    QUERY = "query"  # a question longer than max_query_tokens
    CACHE = "cache"  # the chunk does not fit into the KV cache: smaller settings
    NUMERICS = "numerics"  # the scores were not finite: the stream begins anew
    SLOW = "slow"  # the peer does not fetch what it is sent
    ENDING = "ending"  # the server shuts down: come again later
    INTERNAL = "internal"  # the server's fault; its log says more


class Restored(str, Enum):
    """What a stream still knows when a robot says Hello."""

    NOTHING = "nothing"  # a new stream
    CACHE = "cache"  # everything
    TEXT = "text"  # what was said, from the server's journal; nothing of what was seen
    HELLO = "hello"  # what was said, from the Hello


class Picture(str, Enum):
    """How pictures are coded."""

    JPEG = "jpeg"
    PNG = "png"  # without loss


class Message(Struct, frozen=True, tag_field="t", tag=str.lower, forbid_unknown_fields=False):
    """Any message; fields that are not known are ignored, so that newer peers of one version can add some."""


# ---- robot to server --------------------------------------------------------------------------------------


class Hello(Message, frozen=True):
    """Begin a stream, or go on with it after a cut. Always the first message of a connection.

    Attributes:
        v: version of the protocol.
        session: the stream's name, chosen by the robot at random, the same over all its connections.
        camera: name for logs.
        settings: fields of StreamConfig that win over the checkpoint's own.
        heard: `seq` of the last chunk whose Result arrived, -1 before the first.
        said: what the robot has heard this stream say, for a server that has forgotten it.
        partial: whether Partial messages are wanted.
    """

    v: int
    session: Name
    camera: Label = ""
    settings: Settings = {}
    heard: Heard = -1
    said: Text = ""
    partial: bool = False


class Chunk(Message, frozen=True):
    """Frames, oldest first, one part each behind the header.

    Attributes:
        epoch: as of the last Welcome or Done.
        seq: number of this message in its session; each is larger than the one before, over all connections.
        index: number of the chunk since the stream began; a gap in the numbers is a gap in what was seen.
        stamps_ns: acquisition times on the robot's clock; the server only hands them through its logs.
        height: of every picture, pixels.
        width: of every picture, pixels.
        picture: how the pictures are coded.
        budget_ms: time for the answer from arrival on; 0 for no limit.
        query: a question that rides in the chunk, "" for none.
    """

    epoch: Number
    seq: Number
    index: Number
    stamps_ns: Annotated[list[Heard], Meta(min_length=1, max_length=MAX_IMAGES)]
    height: SidePx
    width: SidePx
    picture: Picture
    budget_ms: Milliseconds = 0.0
    query: Question = ""


class Cancel(Message, frozen=True):
    """End the chunk in work after the step it is in; its Result comes as usual."""

    epoch: Number
    seq: Number


class Configure(Message, frozen=True):
    """Change settings from the next chunk on; answered by Done, or Error with `config` and the field."""

    id: Number
    settings: Settings


class Check(Message, frozen=True):
    """Ask whether a question is short enough; answered by Done or Error with `query`."""

    id: Number
    query: Question


class Size(Message, frozen=True):
    """Ask what size the model scales such frames to; answered by Done with `height` and `width`."""

    id: Number
    height: SidePx
    width: SidePx


class Reset(Message, frozen=True):
    """Forget everything; answered by Done with the new epoch."""

    id: Number


class Ping(Message, frozen=True):
    """A sign of life; answered by Pong with the same number.

    Attributes:
        n: any number.
        round_trip_ms: of the Ping before, as the sender measured it, for the server's metrics; 0 if unknown.
    """

    n: Number
    round_trip_ms: Milliseconds = 0.0


class Bye(Message, frozen=True):
    """The stream ends; the server forgets it."""


# ---- server to robot --------------------------------------------------------------------------------------


class Welcome(Message, frozen=True):
    """The stream may go on: the answer to Hello, and sent again whenever the server has lost its memory.

    Attributes:
        v: version of the protocol.
        epoch: of the stream's memory: larger after every loss of it, so that late messages show as such.
        restored: what the stream still knows.
        last: `seq` of the newest chunk that is understood, -1 for none. Its Result follows if `heard` is less
            than that.
        settings: the stream's StreamConfig, all fields.
        model: name of the checkpoint.
        credits: chunks that may be in flight.
        capacity_tokens: slots of the KV cache, 0 before the first chunk.
    """

    v: int
    epoch: Number
    restored: Restored
    last: Heard
    settings: Settings
    model: Label
    credits: Annotated[int, Meta(ge=1, le=16)]
    capacity_tokens: Number = 0


class Partial(Message, frozen=True):
    """The words of the chunk in work so far, all of them; a Result with the whole text follows."""

    epoch: Number
    seq: Number
    text: Text


class Result(Message, frozen=True):
    """A chunk is understood; gives one credit back. Fields as of svlm_core.stream.result.ChunkResult.

    Attributes:
        epoch: of the memory that the chunk went into.
        seq: of the chunk.
        server_ms: from the chunk's arrival to this message, on the server's clock.
    """

    epoch: Number
    seq: Number
    text: Text
    token_ids: Annotated[list[Number], Meta(max_length=4096)]
    prefill_tokens: Number
    cache_tokens: Number
    capacity_tokens: Number
    finish: Label
    stage_ms: Annotated[dict[Name, float], Meta(max_length=16)]
    server_ms: float


class Done(Message, frozen=True):
    """A request was carried out.

    Attributes:
        id: of the request.
        epoch: of the stream's memory from now on.
        height, width: the answer to Size, 0 otherwise.
    """

    id: Number
    epoch: Number
    height: Number = 0
    width: Number = 0


class Error(Message, frozen=True):
    """Something was refused.

    Attributes:
        code: why.
        id: of the request that was refused, if it was one.
        seq: of the chunk that was refused, if it was one; gives its credit back.
        field: the StreamConfig field that is wrong, "" if none is.
        retry_s: when to come again, 0 for never with the same message.
    """

    code: Code
    id: Number | None = None
    seq: Number | None = None
    field: Label = ""
    retry_s: float = 0.0


class Pong(Message, frozen=True):
    """The answer to Ping; also said unasked, with `n` 0, when `ready` changes.

    Attributes:
        n: of the Ping.
        ready: whether chunks are understood now: not before the Welcome, nor while the stream's worker does
            not answer or is started again.
    """

    n: Number
    ready: bool = True


FromRobot = Hello | Chunk | Cancel | Configure | Check | Size | Reset | Ping | Bye
FromServer = Welcome | Partial | Result | Done | Error | Pong
AnyMessage = TypeVar("AnyMessage")

_encoder = msgspec.msgpack.Encoder()


def pack(message: Message, pictures: Sequence[bytes] = ()) -> list[bytes]:
    """A message as the parts that go over the wire."""
    return [_encoder.encode(message), *pictures]


class Reader(Generic[AnyMessage]):
    """Reads and checks the messages of one direction."""

    def __init__(self, kinds: Any) -> None:
        """Take messages of the union `kinds`: FromRobot or FromServer."""
        self._decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(kinds)

    def read(self, parts: Sequence[bytes | memoryview]) -> AnyMessage:
        """Check a message's sizes and header; the pictures are the parts behind the first, not looked at.

        Raises:
            WireError: a size or the header is wrong, a Hello is of another version, there are not as many
                pictures as stamps, or they have too many pixels.
        """
        if not parts or len(parts) > 1 + MAX_IMAGES:
            raise WireError(Code.SCHEMA, f"a message of {len(parts)} parts")
        if len(parts[0]) > MAX_HEADER_BYTES or any(len(part) > MAX_IMAGE_BYTES for part in parts[1:]):
            raise WireError(Code.TOO_LARGE, f"parts of {[len(part) for part in parts]} bytes")
        if (total := sum(map(len, parts))) > MAX_MESSAGE_BYTES:
            raise WireError(Code.TOO_LARGE, f"a message of {total} bytes")
        try:
            message = self._decoder.decode(parts[0])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise WireError(_refusal(parts[0]), f"not a message: {error}") from None
        if isinstance(message, (Hello, Welcome)) and message.v != VERSION:
            raise WireError(Code.VERSION, f"the peer speaks version {message.v}, this is {VERSION}")
        pictures = len(message.stamps_ns) if isinstance(message, Chunk) else 0
        if len(parts) != 1 + pictures:
            raise WireError(Code.SCHEMA, f"{len(parts) - 1} pictures where {pictures} belong")
        if isinstance(message, Chunk) and pictures * message.height * message.width > MAX_CHUNK_PIXELS:
            raise WireError(Code.TOO_LARGE, f"{pictures} pictures of {message.width}x{message.height}")
        return message


def _refusal(header: bytes | memoryview) -> Code:
    """What a header that cannot be read is refused for: a peer of a newer version is told so."""
    try:
        version = msgspec.msgpack.decode(header, type=_Versioned).v
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Code.SCHEMA
    return Code.SCHEMA if version == VERSION else Code.VERSION


class _Versioned(Struct):
    v: int
