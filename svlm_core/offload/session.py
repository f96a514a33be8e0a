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

"""What a server knows of one robot's stream, and what of it outlives the server."""

from __future__ import annotations

from dataclasses import dataclass, field

from svlm_core.offload import wire
from svlm_core.offload.wire import Restored


@dataclass(frozen=True)
class Record:
    """What outlives the server's process, of one session.

    Attributes:
        name: of the session.
        user: whose key it belongs to.
        epoch: of its last memory.
        last: `seq` of the newest chunk that was understood.
        said: the text so far; None if nothing was understood in this memory.
        result: of that chunk.
    """

    name: str
    user: str
    epoch: int
    last: int
    said: str | None
    result: wire.Result | None


@dataclass(frozen=True)
class Flight:
    """The chunk in work."""

    seq: int
    epoch: int
    frames: int
    since_s: float


@dataclass
class Session:
    """One stream of one robot.

    Attributes:
        name: chosen by the robot.
        user: whose key it belongs to.
        camera: for logs.
        worker: where its cache is, until it ends.
        asked: settings of the Hello that it was opened for.
        epoch: of its memory.
        restored: what was left when that memory began; everything, once the robot has sent a chunk to it.
        last: `seq` of the newest chunk that was understood.
        newest: `seq` of the newest chunk that was accepted.
        heard_s: when the robot last said something, or went away.
        stream: the memory's number at the worker.
        opened: whether the worker has the stream.
        settings: all of them, as the worker has them.
        index: of the newest chunk in this memory.
        said: the text so far; None if the stream begins with what its settings say.
        result: of the chunk `last`.
        flight: the chunk in work.
        requests: numbers of requests that wait for an answer.
        connection: of the robot, None while it is away.
        greet: `heard` of a Hello that waits for its Welcome.
        partial: whether the robot wants words while they are found.
    """

    name: str
    user: str
    camera: str
    worker: str
    asked: wire.Settings
    epoch: int
    restored: Restored
    last: int
    newest: int
    heard_s: float
    stream: int = -1
    opened: bool = False
    settings: wire.Settings = field(default_factory=dict)
    index: int = -1
    said: str | None = None
    result: wire.Result | None = None
    flight: Flight | None = None
    requests: set[int] = field(default_factory=set)
    connection: bytes | None = None
    greet: int | None = None
    partial: bool = False

    @property
    def record(self) -> Record:
        """What outlives the process."""
        return Record(self.name, self.user, self.epoch, self.last, self.said, self.result)
