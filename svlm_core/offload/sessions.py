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
from collections.abc import Callable, Iterable
import itertools
from typing import Any

import msgspec
from svlm_core.offload import backend, wire
from svlm_core.offload.actions import (
    Action,
    Began,
    Came,
    Dropped,
    Forget,
    Landed,
    Order,
    Parted,
    Pictures,
    Reply,
    Save,
)
from svlm_core.offload.metrics import Ended, Lost
from svlm_core.offload.session import Flight, Record, Session
from svlm_core.offload.wire import Code, Restored

CREDITS = (
    1  # chunks of one session in flight: the newest frames wait at the robot, where they can be replaced
)
MAX_REQUESTS = 16  # of one session that wait for an answer
FULL_RETRY_S = 10.0
ENDING_RETRY_S = 5.0
RATE_RETRY_S = 1.0


class Sessions:
    """All sessions of a server.

    Attributes:
        draining: whether the server shuts down: nothing new is taken.
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
            return self.refuse(connection, user, message, Code.SESSION)
        session.heard_s = now_s
        if isinstance(message, wire.Ping):
            return [Reply(connection, wire.Pong(message.n))]
        if isinstance(message, wire.Bye):
            return [*self._end(session, Ended.BYE), Forget(session.name)]
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
        user: str,
        message: wire.FromRobot | None,
        code: Code,
        retry_s: float = 0.0,
    ) -> list[Action]:
        """Tell a robot that its message is not served; None if it could not even be read."""
        number, seq = getattr(message, "id", None), getattr(message, "seq", None)
        actions: list[Action] = [Reply(connection, wire.Error(code, number, seq, retry_s=retry_s))]
        if isinstance(message, wire.Chunk):
            frames = len(message.stamps_ns)
            actions += [Came(user, frames), Dropped(user, frames, code)]
        return actions

    def leave(self, connection: bytes, why: Ended, now_s: float) -> list[Action]:
        """A connection is gone, or was given up; its session waits for another."""
        session = self._by_connection.pop(connection, None)
        if session is None:
            return []
        session.connection, session.greet, session.heard_s = None, None, now_s
        return [Parted(session.name, why)]

    def tick(self, now_s: float) -> list[Action]:
        """Look who is silent, or away, for too long; call it a few times a second."""
        actions: list[Action] = []
        for session in list(self._by_name.values()):
            silent_s = now_s - session.heard_s
            if session.connection is not None and silent_s > wire.DEAD_AFTER_S:
                actions += self.leave(session.connection, Ended.SILENT, now_s)
            elif session.connection is None and silent_s > self._keep_cache_s:
                actions += self._end(session, Ended.EXPIRED)
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
            for action in self._lose(session, Lost.WORKER)
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
            return [*self._tell(session, error), *self._end(session, Ended.REFUSED)]
        answer = message.message
        if isinstance(answer, wire.Result):
            return self._result(session, answer, message, now_s)
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
            return self.refuse(connection, user, hello, Code.ENDING, ENDING_RETRY_S)
        session = self._by_name.get(hello.session)
        known = session.record if session else self._recall(hello.session)
        if known is not None and known.user != user:
            return self.refuse(connection, user, hello, Code.TAKEN)
        actions: list[Action] = []
        if session is None:
            if not self._make_room(actions):
                return self.refuse(connection, user, hello, Code.FULL, FULL_RETRY_S)
            session = self._begin(hello, user, known, now_s)
            actions += [Save(session.record), *self._opening(session)]
            actions.append(Began(session.name, hello.camera, session.restored, known is None))
        elif not _agree(hello.settings, session):
            session.asked = hello.settings
            session.settings = {}
            actions += [Order(session.worker, backend.Close(session.stream))]
            actions += self._lose(session, Lost.ENDED)
            actions.append(Began(session.name, hello.camera, session.restored, False))
        else:
            actions.append(Began(session.name, hello.camera, Restored.CACHE, False))
        actions += self._attach(session, connection, now_s)
        session.greet, session.partial, session.camera = hello.heard, hello.partial, hello.camera
        return actions + self._welcome(session)

    def _make_room(self, actions: list[Action]) -> bool:
        """Whether there is room for a newcomer, if need be that of the robot that is away for longest."""
        if len(self._by_name) < self._max_sessions:
            return True
        away = [session for session in self._by_name.values() if session.connection is None]
        if not away:
            return False
        actions += self._end(min(away, key=lambda session: session.heard_s), Ended.EXPIRED)
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

    def _attach(self, session: Session, connection: bytes, now_s: float) -> list[Action]:
        """Let a session speak over this connection, and no other."""
        actions: list[Action] = []
        if session.connection is not None and session.connection != connection:
            actions += self._tell(session, wire.Error(Code.TAKEN))
            actions += self.leave(session.connection, Ended.TAKEN, now_s)
        if self._by_connection.get(connection) is not session:
            actions += self.leave(connection, Ended.TAKEN, now_s)  # whatever session it spoke for before
        self._by_connection[connection] = session
        session.connection, session.heard_s = connection, now_s
        return actions

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
            return self.refuse(connection, session.user, chunk, Code.ENDING, ENDING_RETRY_S)
        if not session.opened or chunk.epoch != session.epoch:
            return self.refuse(connection, session.user, chunk, Code.EPOCH)
        if chunk.seq <= session.newest or chunk.index <= session.index:
            return self.refuse(connection, session.user, chunk, Code.ORDER)
        if session.flight is not None:
            return self.refuse(connection, session.user, chunk, Code.CREDIT)
        frames = len(chunk.stamps_ns)
        session.newest, session.index, session.restored = chunk.seq, chunk.index, Restored.CACHE
        session.flight = Flight(chunk.seq, chunk.epoch, frames, now_s)
        return [Came(session.user, frames), self._task(session, chunk, pictures)]

    def _request(self, connection: bytes, session: Session, message: Any) -> list[Action]:
        """Configure, Check, Size or Reset."""
        if not session.opened:
            return self.refuse(connection, session.user, message, Code.EPOCH)
        if len(session.requests) >= MAX_REQUESTS:
            return self.refuse(connection, session.user, message, Code.RATE, RATE_RETRY_S)
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

    def _result(
        self, session: Session, result: wire.Result, answer: backend.Answer, now_s: float
    ) -> list[Action]:
        flight = session.flight
        if flight is None:
            return []
        server_ms = (now_s - flight.since_s) * 1e3
        session.result = msgspec.structs.replace(result, epoch=flight.epoch, server_ms=server_ms)
        session.last = flight.seq
        if flight.epoch == session.epoch:
            session.said = answer.said
        session.flight = None
        told = self._welcome(session) or self._tell(session, session.result)
        landed = Landed(session.user, flight.frames, session.result, answer.first_token_s)
        return [Save(session.record), *told, landed]

    def _failure(self, session: Session, error: wire.Error) -> list[Action]:
        """A task was not carried out."""
        if error.id is not None:
            session.requests.discard(error.id)
            return self._tell(session, error)
        if session.flight is None:
            return []
        current = session.flight.epoch == session.epoch
        dropped = self._drop(session, error.code)
        if error.code is Code.FULL:  # no memory for its cache: its robot comes again when others have left
            refused = msgspec.structs.replace(error, retry_s=FULL_RETRY_S)
            return [*dropped, *self._tell(session, refused), *self._end(session, Ended.REFUSED)]
        actions = [*dropped, *self._tell(session, error)]
        if current and error.code is Code.NUMERICS:
            self._begin_anew(session)
            self._greet_again(session)
            actions.append(Save(session.record))
        elif current and error.code is Code.INTERNAL:
            actions.append(Order(session.worker, backend.Close(session.stream)))
            actions += self._lose(session, Lost.WORKER)
        return actions + self._welcome(session)

    def _lose(self, session: Session, why: Lost) -> list[Action]:
        """A stream's memory is gone: go on with its text in a new one."""
        actions: list[Action] = []
        if session.flight is not None:
            actions += self._tell(session, wire.Error(Code.INTERNAL, seq=session.flight.seq))
            actions += self._drop(session, why)
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

    def _end(self, session: Session, why: Ended) -> list[Action]:
        """Free a session's stream; its record stays."""
        dropped = self._drop(session, Lost.ENDED)
        del self._by_name[session.name], self._by_stream[session.stream]
        if session.connection is not None:
            del self._by_connection[session.connection]
            session.connection = None
        return [*dropped, Order(session.worker, backend.Close(session.stream)), Parted(session.name, why)]

    def _tell(self, session: Session, message: wire.FromServer) -> list[Action]:
        return [] if session.connection is None else [Reply(session.connection, message)]

    def _drop(self, session: Session, why: Code | Lost) -> list[Action]:
        """The chunk in work, if there is one, will have no result."""
        flight, session.flight = session.flight, None
        return [] if flight is None else [Dropped(session.user, flight.frames, why)]


def _agree(settings: wire.Settings, session: Session) -> bool:
    """Whether the stream goes by these settings already."""
    if settings == session.asked:
        return True
    return session.opened and all(session.settings.get(name) == value for name, value in settings.items())
