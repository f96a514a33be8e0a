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

"""One robot's stream, as the front knows it: what may be asked of it now, and what its answers mean.

Each call returns what to do, in order: a robot is answered first, and what the answer says is written down
then. Should the process be killed between the two, the robot knows more than the journal, and its Hello says
so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from svlm_core.offload import backend, wire
from svlm_core.offload.actions import Action, Came, Dropped, Landed, Order, Pictures, Reply, Save
from svlm_core.offload.outcome import Lost
from svlm_core.offload.record import Record
from svlm_core.offload.wire import Code, Restored

CREDITS = (
    1  # chunks of one session in flight: the newest frames wait at the robot, where they can be replaced
)
MAX_REQUESTS = 16  # of one session that wait for an answer


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
        ready: whether the robot was told that its chunks are understood.
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
    ready: bool = False
    partial: bool = False

    @property
    def record(self) -> Record:
        """What outlives the process."""
        return Record(self.name, self.user, self.epoch, self.last, self.said, self.result)

    def agrees(self, settings: wire.Settings) -> bool:
        """Whether the stream goes by these settings of a Hello already."""
        if settings == self.asked:
            return True
        return self.opened and all(self.settings.get(name) == value for name, value in settings.items())

    def objection(
        self, message: wire.Chunk | wire.Configure | wire.Check | wire.Size | wire.Reset
    ) -> Code | None:
        """Why a message cannot be served now, None if it can."""
        if not self.opened:
            return Code.EPOCH
        if not isinstance(message, wire.Chunk):
            return Code.RATE if len(self.requests) >= MAX_REQUESTS else None
        if message.epoch != self.epoch:
            return Code.EPOCH
        if message.seq <= self.newest or message.index <= self.index:
            return Code.ORDER
        return Code.CREDIT if self.flight is not None else None

    def take(self, chunk: wire.Chunk, pictures: Pictures, now_s: float) -> list[Action]:
        """Hand a chunk without objection to the worker."""
        frames = len(chunk.stamps_ns)
        self.newest, self.index, self.restored = chunk.seq, chunk.index, Restored.CACHE
        self.flight = Flight(chunk.seq, chunk.epoch, frames, now_s)
        return [self._task(chunk, pictures), Came(self.user, frames)]

    def request(self, message: wire.Configure | wire.Check | wire.Size | wire.Reset) -> list[Action]:
        """Hand a request without objection to the worker."""
        self.requests.add(message.id)
        if not isinstance(message, wire.Reset):
            return [self._task(message)]
        self._begin_anew()
        return [Save(self.record), self._task(message)]

    def cancel(self, message: wire.Cancel) -> list[Action]:
        """End the chunk in work, if it is the one that is meant."""
        flight = self.flight
        meant = flight is not None and (flight.seq, flight.epoch) == (message.seq, message.epoch)
        return [self._task(message)] if meant else []

    def open(self) -> Order:
        """Let the worker begin the stream."""
        return Order(
            self.worker, backend.Open(self.stream, self.settings or self.asked, self.said, self.name)
        )

    def welcome(self, model: str) -> list[Action]:
        """Answer a Hello that waits, once the stream is open and no chunk in work, so that `last` is true."""
        if self.greet is None or not self.opened or self.flight or self.connection is None:
            return []
        result, unheard = self.result, self.greet < self.last
        capacity = result.capacity_tokens if result and result.epoch == self.epoch else 0
        memory = (self.epoch, self.restored, self.last, self.settings)
        self.greet, self.ready = None, True
        actions = self.tell(wire.Welcome(wire.VERSION, *memory, model, CREDITS, capacity))
        return actions + self.tell(result) if result and unheard else actions

    def notice(self, answers: bool) -> list[Action]:
        """Tell the robot when its chunks cease to be understood, and when they are again.

        Args:
            answers: whether the worker does.
        """
        ready = self.opened and answers
        if self.connection is None or ready == self.ready or (ready and self.greet is not None):
            return []  # nobody to tell, nothing new, or the Welcome will tell
        self.ready = ready
        return [Reply(self.connection, wire.Pong(0, ready))]

    def tell(self, message: wire.FromServer) -> list[Action]:
        """Send something to the robot, if it is there and welcome: what it missed, its Welcome tells it."""
        return [Reply(self.connection, message)] if self.connection is not None and self.greet is None else []

    def partly(self, partial: wire.Partial) -> list[Action]:
        """Words of the chunk in work; those of an earlier one are late: its Result has overtaken them."""
        flight = self.flight
        meant = flight is not None and (flight.seq, flight.epoch) == (partial.seq, partial.epoch)
        return self.tell(partial) if self.partial and meant else []

    def result_of(self, result: wire.Result, answer: backend.Answer, now_s: float) -> list[Action]:
        """The chunk in work is understood; a welcome follows, should a Hello wait for it."""
        flight = self.flight
        if flight is None:
            return []
        server_ms = (now_s - flight.since_s) * 1e3
        self.result = msgspec.structs.replace(result, epoch=flight.epoch, server_ms=server_ms)
        self.last, self.flight = flight.seq, None
        if flight.epoch == self.epoch:
            self.said = answer.said
        landed = Landed(self.user, flight.frames, self.result, answer.first_token_s)
        return [*self.tell(self.result), Save(self.record), landed]

    def done(self, message: wire.Done, settings: wire.Settings) -> list[Action]:
        """A request was carried out, and may have changed the settings."""
        self.requests.discard(message.id)
        self.settings = settings or self.settings
        return self.tell(msgspec.structs.replace(message, epoch=self.epoch))

    def anew(self) -> list[Action]:
        """The worker has forgotten the stream altogether; it is open yet."""
        self._begin_anew()
        self._greet_again()
        return [Save(self.record)]

    def lose(self, why: Lost) -> list[Action]:
        """The worker's stream is gone, with what was seen; another must be opened for what was said."""
        code = Code.INTERNAL if why is Lost.WORKER else Code.EPOCH  # else the robot wanted it so
        actions: list[Action] = []
        if self.flight is not None:
            actions = self.tell(wire.Error(code, seq=self.flight.seq))
        for number in sorted(self.requests):
            actions += self.tell(wire.Error(code, id=number))
        self.requests.clear()
        self.opened, self.index = False, -1
        self.epoch += 1
        self.restored = Restored.NOTHING if self.said is None else Restored.TEXT
        self._greet_again()
        return actions + self.drop(why)

    def drop(self, why: Code | Lost) -> list[Action]:
        """The chunk in work, if there is one, will have no result."""
        flight, self.flight = self.flight, None
        return [] if flight is None else [Dropped(self.user, flight.frames, why)]

    def _begin_anew(self) -> None:
        self.epoch += 1
        self.restored, self.said, self.index = Restored.NOTHING, None, -1

    def _greet_again(self) -> None:
        """Tell the robot of its new memory as soon as it can be used."""
        if self.greet is None and self.connection is not None:
            self.greet = self.last  # its Result was sent over this connection

    def _task(self, message: Any, pictures: Pictures = ()) -> Order:
        return Order(self.worker, backend.Task(self.stream, message, self.partial), pictures)
