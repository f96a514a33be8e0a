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

"""What the front and its workers say to each other, over a socket that no robot can reach.

The messages are of the same kind as the robots' (svlm_core.offload.wire). A stream has a number here, new for
every memory that it begins, so that late answers about an old one are known as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec
from svlm_core.offload import wire
from svlm_core.offload.wire import Message

Read = TypeVar("Read")

# ---- front to worker --------------------------------------------------------------------------------------


class Open(Message, frozen=True):
    """Begin a stream; answered by Opened or Refused.

    Attributes:
        stream: its number.
        settings: fields of StreamConfig that win over the server's.
        said: what the stream has said before; None if it begins with its own previous_text.
        session: name of the robot's session, for the log.
    """

    stream: int
    settings: wire.Settings
    said: str | None
    session: str = ""


class Task(Message, frozen=True):
    """A robot's message for its stream; a Chunk's pictures are the parts behind the header.

    Attributes:
        stream: its number.
        message: as the robot sent it.
        partial: whether the words of a Chunk are wanted while they are found.
    """

    stream: int
    message: wire.Chunk | wire.Cancel | wire.Configure | wire.Check | wire.Size | wire.Reset
    partial: bool = False


class Close(Message, frozen=True):
    """End a stream; its memory is freed, nothing is answered any more."""

    stream: int


class Stop(Message, frozen=True):
    """End the worker."""


# ---- worker to front --------------------------------------------------------------------------------------


class Ready(Message, frozen=True):
    """The model is loaded: streams may be opened."""

    model: str
    device: str


class Failed(Message, frozen=True):
    """The worker ends, because of this.

    Attributes:
        text: one line, for the log.
        device: whether the device is at fault, so that another try on it may not help.
    """

    text: str
    device: bool = False


class Opened(Message, frozen=True):
    """A stream may be given tasks; `settings` are all fields of its StreamConfig."""

    stream: int
    settings: wire.Settings


class Refused(Message, frozen=True):
    """A stream cannot be opened; `field` names the setting that is wrong."""

    stream: int
    code: wire.Code
    field: str = ""


class Answer(Message, frozen=True):
    """The answer to a task, as it goes to the robot.

    Attributes:
        stream: its number.
        message: for the robot; the front fills in epochs and times.
        said: the text so far behind a Result.
        settings: all of them behind a Done that changed some.
        first_token_s: behind a Result, from the chunk's arrival to its first token; None if it has none.
    """

    stream: int
    message: wire.Partial | wire.Result | wire.Done | wire.Error
    said: str = ""
    settings: wire.Settings = msgspec.field(default_factory=dict)
    first_token_s: float | None = None


class Health(Message, frozen=True):
    """What the worker's engine is doing, as of EngineHealth, said every HEARTBEAT_S.

    Attributes:
        streams, running, waiting, chunks, steps, since_step_s: as of EngineHealth.
        cache_tokens: in all streams' caches.
        capacity_tokens: slots of all streams' caches.
        since_decode_s: since a token was decoded, of a stream or of the probe; None before the first.
    """

    streams: int
    running: int
    waiting: int
    chunks: int
    steps: int
    since_step_s: float
    cache_tokens: int
    capacity_tokens: int
    since_decode_s: float | None = None


ToWorker = Open | Task | Close | Stop
FromWorker = Ready | Failed | Opened | Refused | Answer | Health


class Decoder(Generic[Read]):
    """Reads the messages of one direction."""

    def __init__(self, kinds: object) -> None:
        """Take messages of the union `kinds`: ToWorker or FromWorker."""
        self._decoder: msgspec.msgpack.Decoder[Read] = msgspec.msgpack.Decoder(kinds)

    def read(self, parts: Sequence[bytes | memoryview]) -> Read:
        """The message in the first part; both ends are of one release, so nothing is ever refused."""
        return self._decoder.decode(parts[0])
