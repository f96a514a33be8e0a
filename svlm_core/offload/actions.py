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

"""What Sessions wants done; the front does it, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from svlm_core.offload import backend, wire
from svlm_core.offload.outcome import Ended, Lost
from svlm_core.offload.record import Record
from svlm_core.offload.wire import Code, Restored

Pictures = Sequence[Any]  # of a chunk, coded; only handed on


@dataclass(frozen=True)
class Reply:
    """Send a message to a robot."""

    connection: bytes
    message: wire.FromServer


@dataclass(frozen=True)
class Order:
    """Send a message to a worker."""

    worker: str
    message: backend.ToWorker
    pictures: Pictures = ()


@dataclass(frozen=True)
class Save:
    """Write a record down, before anything that follows."""

    record: Record


@dataclass(frozen=True)
class Forget:
    """The session's record is of no use any more."""

    name: str


@dataclass(frozen=True)
class Began:
    """Count a session that a robot began, or came back to.

    Attributes:
        session: its name.
        camera: as the robot calls it.
        restored: what was still known.
        new: whether this server had not heard of it.
    """

    session: str
    camera: str
    restored: Restored
    new: bool


@dataclass(frozen=True)
class Parted:
    """Count a session, or the connection of one, that ended."""

    session: str
    reason: Ended


@dataclass(frozen=True)
class Came:
    """Count a chunk that arrived. Landed or Dropped follows for each, once."""

    user: str
    frames: int


@dataclass(frozen=True)
class Landed:
    """Count a chunk that was understood."""

    user: str
    frames: int
    result: wire.Result
    first_token_s: float | None


@dataclass(frozen=True)
class Dropped:
    """Count a chunk that was not."""

    user: str
    frames: int
    reason: Code | Lost


Count = Began | Parted | Came | Landed | Dropped
Action = Reply | Order | Save | Forget | Count
