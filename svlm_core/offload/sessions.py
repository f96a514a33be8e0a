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

"""Who may stream, and what is to be done about every message: the front's memory, without sockets or clocks.

Each call takes what happened and the time, and returns what to do, in order. What is to be written down comes
before what it is written for: a Result is in the journal before the robot can have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
import itertools
from typing import Any

import msgspec
from svlm_core.offload import backend, wire
from svlm_core.offload.wire import Code, Restored

CREDITS = (
    1  # chunks of one session in flight: the newest frames wait at the robot, where they can be replaced
)
MAX_REQUESTS = 16  # of one session that wait for an answer
FULL_RETRY_S = 10.0
ENDING_RETRY_S = 5.0
RATE_RETRY_S = 1.0

UNDERSTOOD = "understood"
GONE = "gone"  # its session ended while it was in work

Pictures = Sequence[Any]  # of a chunk, coded; only handed on


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
    """Write a record down before anything that follows."""

    record: Record


@dataclass(frozen=True)
class Forget:
    """The session's record is of no use any more."""

    name: str


Action = Reply | Order | Save | Forget


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


class Sessions:
    """All sessions of a server.

    Attributes:
        draining: whether the server shuts down: nothing new is taken.
        chunks: chunks received by what became of them: UNDERSTOOD, GONE, or the code they were refused with.
        frames: the same, of their frames.
        chunks_received: chunks received; those that are in none of the counts are in work.
        frames_received: the same, of their frames.
    """

    def __init__(
        self,
        workers: Iterable[str],
        max_sessions: int,
        keep_cache_s: float,
        recall: Callable[[str], Record | None],
        first_epoch: Callable[[], int],
    ) -> None:
        """Begin without sessions.

        Args:
            workers: names of all workers; none is ready yet.
            max_sessions: most sessions with a stream.
            keep_cache_s: how long a robot may be away before its cache is given up.
            recall: the record of a session of that name, if there is one.
            first_epoch: of a session without a record; larger than any that was forgotten.
        """
        self.draining = False
        self.chunks: Counter[str] = Counter()
        self.frames: Counter[str] = Counter()
        self.chunks_received = self.frames_received = 0
        self._max_sessions, self._keep_cache_s = max_sessions, keep_cache_s
        self._recall, self._first_epoch = recall, first_epoch
        self._models: dict[str, str | None] = dict.fromkeys(workers)  # None: not ready
        self._numbers = itertools.count()
        self._by_name: dict[str, Session] = {}
        self._by_connection: dict[bytes, Session] = {}
        self._by_stream: dict[int, Session] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def attached(self) -> int:
        """Sessions whose robot is there."""
        return len(self._by_connection)

    @property
    def in_work(self) -> int:
        """Chunks that wait for their answer."""
        return sum(session.flight is not None for session in self._by_name.values())

    def of(self, connection: bytes) -> Session | None:
        """The session that a connection speaks for."""
        return self._by_connection.get(connection)

    # ---- robots -------------------------------------------------------------------------------------------

    def receive(
        self, connection: bytes, user: str, message: wire.FromRobot, pictures: Pictures, now_s: float
    ) -> list[Action]:
        """A robot says something.

        Args:
            connection: it came over this.
            user: name of the connection's key, "" without keys.
            message: checked.
            pictures: of a Chunk.
            now_s: monotonic.
        """
        if isinstance(message, wire.Hello):
            return self._hello(connection, user, message, now_s)
        session = self._by_connection.get(connection)
        if session is None:
            return self.refuse(connection, message, Code.SESSION)
        session.heard_s = now_s
        if isinstance(message, wire.Ping):
            return [Reply(connection, wire.Pong(message.n))]
        if isinstance(message, wire.Bye):
            return [*self._end(session), Forget(session.name)]
        if isinstance(message, wire.Chunk):
            return self._chunk(connection, session, message, pictures, now_s)
        if isinstance(message, wire.Cancel):
            flight = session.flight
            current = flight is not None and (flight.seq, flight.epoch) == (message.seq, message.epoch)
            return [self._task(session, message)] if current else []
        return self._request(connection, session, message)

    def refuse(
        self,
        connection: bytes,
        message: wire.FromRobot | None,
        code: Code,
        field: str = "",
        retry_s: float = 0.0,
    ) -> list[Action]:
        """Tell a robot that its message is not served; None if it could not even be read."""
        if isinstance(message, wire.Chunk):
            self._receive(message)
            self._count(code.value, len(message.stamps_ns))
        number, seq = getattr(message, "id", None), getattr(message, "seq", None)
        return [Reply(connection, wire.Error(code, number, seq, field, retry_s))]

    def leave(self, connection: bytes, now_s: float) -> None:
        """A connection is gone, or was given up; its session waits for another."""
        session = self._by_connection.pop(connection, None)
        if session is not None:
            session.connection, session.greet, session.heard_s = None, None, now_s

    def tick(self, now_s: float) -> list[Action]:
        """Look who is silent, or away, for too long; call it a few times a second."""
        actions: list[Action] = []
        for session in list(self._by_name.values()):
            silent_s = now_s - session.heard_s
            if session.connection is not None and silent_s > wire.DEAD_AFTER_S:
                self.leave(session.connection, now_s)
            elif session.connection is None and silent_s > self._keep_cache_s:
                actions += self._end(session)
        return actions

    def drain(self) -> list[Action]:
        """Take nothing new, and tell everybody; chunks in work are answered yet."""
        self.draining = True
        ending = wire.Error(Code.ENDING, retry_s=ENDING_RETRY_S)
        return [Reply(connection, ending) for connection in self._by_connection]

    # ---- workers ------------------------------------------------------------------------------------------

    def worker_ready(self, worker: str, model: str) -> list[Action]:
        """A worker has loaded its model: the sessions that wait for it are opened."""
        self._models[worker] = model
        waiting = [s for s in self._by_name.values() if s.worker == worker and not s.opened]
        return [self._open(session) for session in waiting]

    def worker_lost(self, worker: str) -> list[Action]:
        """A worker is gone, and with it what its streams have seen; what they said is kept."""
        self._models[worker] = None
        return [
            action
            for session in self._by_name.values()
            if session.worker == worker
            for action in self._lose(session)
        ]

    def hear(self, worker: str, message: backend.FromWorker, now_s: float) -> list[Action]:
        """A worker says something about a stream."""
        if not isinstance(message, backend.Opened | backend.Refused | backend.Answer):
            return []
        session = self._by_stream.get(message.stream)
        if session is None:
            return []
        if isinstance(message, backend.Opened):
            session.opened, session.settings = True, message.settings
            return self._welcome(session)
        if isinstance(message, backend.Refused):
            error = wire.Error(message.code, field=message.field)
            return [*self._tell(session, error), *self._end(session)]
        answer = message.message
        if isinstance(answer, wire.Result):
            return self._result(session, answer, message.said, now_s)
        if isinstance(answer, wire.Partial):
            return self._tell(session, answer) if session.partial and session.flight else []
        if isinstance(answer, wire.Done):
            session.requests.discard(answer.id)
            session.settings = message.settings or session.settings
            return self._tell(session, msgspec.structs.replace(answer, epoch=session.epoch))
        return self._failure(session, answer)

    # ---- inside -------------------------------------------------------------------------------------------

    def _hello(self, connection: bytes, user: str, hello: wire.Hello, now_s: float) -> list[Action]:
        if self.draining:
            return self.refuse(connection, hello, Code.ENDING, retry_s=ENDING_RETRY_S)
        session = self._by_name.get(hello.session)
        known = session.record if session else self._recall(hello.session)
        if known is not None and known.user != user:
            return self.refuse(connection, hello, Code.TAKEN)
        actions: list[Action] = []
        if session is None:
            if not self._make_room(actions):
                return self.refuse(connection, hello, Code.FULL, retry_s=FULL_RETRY_S)
            session = self._begin(hello, user, known, now_s)
            actions += [Save(session.record), *self._opening(session)]
        elif not _agree(hello.settings, session):
            session.asked = hello.settings
            session.settings = {}
            actions += self._lose(session)
        self._attach(session, connection, now_s, actions)
        session.greet, session.partial, session.camera = hello.heard, hello.partial, hello.camera
        return actions + self._welcome(session)

    def _make_room(self, actions: list[Action]) -> bool:
        """Whether there is room for a newcomer, if need be that of the robot that is away for longest."""
        if len(self._by_name) < self._max_sessions:
            return True
        away = [session for session in self._by_name.values() if session.connection is None]
        if not away:
            return False
        actions += self._end(min(away, key=lambda session: session.heard_s))
        return True

    def _begin(self, hello: wire.Hello, user: str, known: Record | None, now_s: float) -> Session:
        """A session that this process did not have."""
        load = Counter(session.worker for session in self._by_name.values())
        worker = min(self._models, key=lambda name: (self._models[name] is None, load[name]))
        if known is not None:
            epoch, last, said, restored = known.epoch + 1, known.last, known.said, Restored.TEXT
        else:
            epoch, last, said = self._first_epoch(), hello.heard, hello.said or None
            restored = Restored.HELLO
        if said is None:
            restored = Restored.NOTHING
        session = Session(
            hello.session, user, hello.camera, worker, hello.settings, epoch, restored, last, last, now_s
        )
        session.said, session.result = said, known.result if known else None
        self._by_name[session.name] = session
        return session

    def _attach(self, session: Session, connection: bytes, now_s: float, actions: list[Action]) -> None:
        """Let a session speak over this connection, and no other."""
        if session.connection not in (None, connection):
            actions += self._tell(session, wire.Error(Code.TAKEN))
            self.leave(session.connection or b"", now_s)
        if self._by_connection.get(connection) is not session:
            self.leave(connection, now_s)  # whatever session it spoke for before
        self._by_connection[connection] = session
        session.connection, session.heard_s = connection, now_s

    def _opening(self, session: Session) -> list[Action]:
        """Open a session's stream, now or as soon as its worker is ready."""
        self._by_stream.pop(session.stream, None)
        session.stream, session.opened, session.index = next(self._numbers), False, -1
        self._by_stream[session.stream] = session
        return [self._open(session)] if self._models[session.worker] is not None else []

    def _open(self, session: Session) -> Order:
        settings = session.settings or session.asked
        return Order(session.worker, backend.Open(session.stream, settings, session.said))

    def _welcome(self, session: Session) -> list[Action]:
        """Answer a Hello that waits, once the stream is open and no chunk in work."""
        if session.greet is None or not session.opened or session.flight or session.connection is None:
            return []
        welcome = wire.Welcome(
            wire.VERSION,
            session.epoch,
            session.restored,
            session.last,
            session.settings,
            self._models[session.worker] or "",
            CREDITS,
            session.result.capacity_tokens if session.result else 0,
        )
        unheard = session.result if session.greet < session.last else None
        session.greet = None
        return [*self._tell(session, welcome), *(self._tell(session, unheard) if unheard else ())]

    def _chunk(
        self, connection: bytes, session: Session, chunk: wire.Chunk, pictures: Pictures, now_s: float
    ) -> list[Action]:
        if self.draining:
            return self.refuse(connection, chunk, Code.ENDING, retry_s=ENDING_RETRY_S)
        if not session.opened or chunk.epoch != session.epoch:
            return self.refuse(connection, chunk, Code.EPOCH)
        if chunk.seq <= session.newest or chunk.index <= session.index:
            return self.refuse(connection, chunk, Code.ORDER)
        if session.flight is not None:
            return self.refuse(connection, chunk, Code.CREDIT)
        self._receive(chunk)
        session.newest, session.index, session.restored = chunk.seq, chunk.index, Restored.CACHE
        session.flight = Flight(chunk.seq, chunk.epoch, len(chunk.stamps_ns), now_s)
        return [self._task(session, chunk, pictures)]

    def _request(self, connection: bytes, session: Session, message: Any) -> list[Action]:
        """Configure, Check, Size or Reset."""
        if not session.opened:
            return self.refuse(connection, message, Code.EPOCH)
        if len(session.requests) >= MAX_REQUESTS:
            return self.refuse(connection, message, Code.RATE, retry_s=RATE_RETRY_S)
        session.requests.add(message.id)
        actions: list[Action] = []
        if isinstance(message, wire.Reset):
            self._begin_anew(session)
            actions.append(Save(session.record))
        return [*actions, self._task(session, message)]

    def _begin_anew(self, session: Session) -> None:
        """Forget what was seen and said."""
        session.epoch += 1
        session.restored, session.said, session.index = Restored.NOTHING, None, -1

    def _task(self, session: Session, message: Any, pictures: Pictures = ()) -> Order:
        return Order(session.worker, backend.Task(session.stream, message, session.partial), pictures)

    def _result(self, session: Session, result: wire.Result, said: str, now_s: float) -> list[Action]:
        flight = session.flight
        if flight is None:
            return []
        server_ms = (now_s - flight.since_s) * 1e3
        session.result = msgspec.structs.replace(result, epoch=flight.epoch, server_ms=server_ms)
        session.last = flight.seq
        if flight.epoch == session.epoch:
            session.said = said
        self._land(session, UNDERSTOOD)
        told = self._welcome(session) or self._tell(session, session.result)
        return [Save(session.record), *told]

    def _failure(self, session: Session, error: wire.Error) -> list[Action]:
        """A task was not carried out."""
        if error.id is not None:
            session.requests.discard(error.id)
            return self._tell(session, error)
        if session.flight is None:
            return []
        current = session.flight.epoch == session.epoch
        self._land(session, error.code.value)
        if error.code is Code.FULL:  # no memory for its cache: its robot comes again when others have left
            refused = msgspec.structs.replace(error, retry_s=FULL_RETRY_S)
            return [*self._tell(session, refused), *self._end(session)]
        actions = self._tell(session, error)
        if current and error.code is Code.NUMERICS:
            self._begin_anew(session)
            self._greet_again(session)
            actions.append(Save(session.record))
        elif current and error.code is Code.INTERNAL:
            actions += [
                Order(session.worker, backend.Close(session.stream)),
                *self._lose(session),
            ]
        return actions + self._welcome(session)

    def _lose(self, session: Session) -> list[Action]:
        """A stream's memory is gone: go on with its text in a new one."""
        actions: list[Action] = []
        if session.flight is not None:
            actions += self._tell(session, wire.Error(Code.INTERNAL, seq=session.flight.seq))
            self._land(session, Code.INTERNAL.value)
        for number in sorted(session.requests):
            actions += self._tell(session, wire.Error(Code.INTERNAL, id=number))
        session.requests.clear()
        session.epoch += 1
        session.restored = Restored.NOTHING if session.said is None else Restored.TEXT
        self._greet_again(session)
        return [*actions, Save(session.record), *self._opening(session)]

    def _greet_again(self, session: Session) -> None:
        """Tell the robot of its new memory as soon as it can be used."""
        if session.greet is None:
            session.greet = session.last  # its Result was sent over this connection

    def _end(self, session: Session) -> list[Action]:
        """Free a session's stream; its record stays."""
        if session.flight is not None:
            self._land(session, GONE)
        del self._by_name[session.name], self._by_stream[session.stream]
        if session.connection is not None:
            del self._by_connection[session.connection]
            session.connection = None
        return [Order(session.worker, backend.Close(session.stream))]

    def _tell(self, session: Session, message: wire.FromServer) -> list[Action]:
        return [] if session.connection is None else [Reply(session.connection, message)]

    def _receive(self, chunk: wire.Chunk) -> None:
        self.chunks_received += 1
        self.frames_received += len(chunk.stamps_ns)

    def _land(self, session: Session, outcome: str) -> None:
        assert session.flight is not None
        self._count(outcome, session.flight.frames)
        session.flight = None

    def _count(self, outcome: str, frames: int) -> None:
        self.chunks[outcome] += 1
        self.frames[outcome] += frames


def _agree(settings: wire.Settings, session: Session) -> bool:
    """Whether the stream goes by these settings already."""
    if settings == session.asked:
        return True
    return session.opened and all(session.settings.get(name) == value for name, value in settings.items())
