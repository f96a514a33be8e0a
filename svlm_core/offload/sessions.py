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

"""All streams of a server: whose they are, over which connection, at which worker, and who is let in.

No sockets and no clocks: each call takes what happened and the time, and returns what to do, in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
import itertools

import msgspec
from svlm_core.offload import backend, wire
from svlm_core.offload.actions import (
    Action,
    Began,
    Came,
    Dropped,
    Forget,
    Order,
    Parted,
    Pictures,
    Reply,
    Save,
)
from svlm_core.offload.outcome import Ended, Lost
from svlm_core.offload.record import Record
from svlm_core.offload.session import Session
from svlm_core.offload.wire import Code, Restored

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
            return [Reply(connection, wire.Pong(message.n, session.ready))]
        if isinstance(message, wire.Bye):
            return [*self._end(session, Ended.BYE), Forget(session.name)]
        if isinstance(message, wire.Cancel):
            return session.cancel(message)
        if self.draining:
            return self.refuse(connection, user, message, Code.ENDING, ENDING_RETRY_S)
        if (code := session.objection(message)) is not None:
            return self.refuse(connection, user, message, code, RATE_RETRY_S if code is Code.RATE else 0.0)
        if isinstance(message, wire.Chunk):
            return session.take(message, pictures, now_s)
        return session.request(message)

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
        session.connection, session.greet, session.ready, session.heard_s = None, None, False, now_s
        return [Parted(session.name, why)]

    def tick(self, now_s: float, mute: Collection[str] = ()) -> list[Action]:
        """Look who is silent, or away, for too long; call it a few times a second.

        Args:
            now_s: monotonic.
            mute: workers that do not answer.
        """
        actions: list[Action] = []
        for session in list(self._by_name.values()):
            silent_s = now_s - session.heard_s
            if session.connection is not None and silent_s > wire.DEAD_AFTER_S:
                actions += self.leave(session.connection, Ended.SILENT, now_s)
            elif session.connection is None and silent_s > self._keep_cache_s:
                actions += self._end(session, Ended.EXPIRED)
            else:
                actions += session.notice(session.worker not in mute)
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
        return [s.open() for s in self._by_name.values() if s.worker == worker and not s.opened]

    def worker_lost(self, worker: str) -> list[Action]:
        """A worker is gone, and with it what its streams have seen; what they said is kept."""
        self._models[worker] = None
        return [
            action
            for session in self._by_name.values()
            if session.worker == worker
            for action in self._reopen(session, Lost.WORKER)
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
            return [Save(session.record), *self._welcome(session)]
        if isinstance(message, backend.Refused):
            return self._dismiss(session, wire.Error(message.code, field=message.field))
        answer = message.message
        if isinstance(answer, wire.Result):
            return session.result_of(answer, message, now_s) + self._welcome(session)
        if isinstance(answer, wire.Partial):
            return session.partly(answer)
        if isinstance(answer, wire.Done):
            return session.done(answer, message.settings)
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
            actions += self._opening(session)
            actions.append(Began(session.name, hello.camera, session.restored, known is None))
        elif not session.agrees(hello.settings):
            session.asked, session.settings = hello.settings, {}
            actions += self._reopen(session, Lost.ENDED)
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
            if hello.heard > last:  # the process was killed between a Result and its Save
                last, said, restored = hello.heard, hello.said or said, Restored.HELLO
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
            actions.append(Reply(session.connection, wire.Error(Code.TAKEN)))
            actions += self.leave(session.connection, Ended.TAKEN, now_s)
        if self._by_connection.get(connection) is not session:
            actions += self.leave(connection, Ended.TAKEN, now_s)  # whatever session it spoke for before
        self._by_connection[connection] = session
        session.connection, session.heard_s = connection, now_s
        return actions

    def _opening(self, session: Session) -> list[Action]:
        """Open a session's stream, now or as soon as its worker is ready."""
        self._by_stream.pop(session.stream, None)
        session.stream = next(self._numbers)
        self._by_stream[session.stream] = session
        return [session.open()] if self._models[session.worker] is not None else []

    def _welcome(self, session: Session) -> list[Action]:
        return session.welcome(self._models[session.worker] or "")

    def _failure(self, session: Session, error: wire.Error) -> list[Action]:
        """A task was not carried out."""
        if error.id is not None:
            session.requests.discard(error.id)
            return session.tell(error)
        if session.flight is None:
            return []
        if error.code is Code.FULL:  # no memory for its cache: its robot comes again when others have left
            dropped = session.drop(error.code)
            return dropped + self._dismiss(session, msgspec.structs.replace(error, retry_s=FULL_RETRY_S))
        current = session.flight.epoch == session.epoch
        actions = session.tell(error) + session.drop(error.code)
        if current and error.code is Code.NUMERICS:
            actions += session.anew()
        elif current and error.code is Code.INTERNAL:
            actions += self._reopen(session, Lost.WORKER)
        return actions + self._welcome(session)

    def _reopen(self, session: Session, why: Lost) -> list[Action]:
        """Go on with what was said in a new stream; the old one, if it is there yet, is of no use."""
        close = Order(session.worker, backend.Close(session.stream))
        ready = self._models[session.worker] is not None
        return [*([close] if ready else []), *session.lose(why), *self._opening(session)]

    def _dismiss(self, session: Session, error: wire.Error) -> list[Action]:
        """End a session that cannot go on, and say why."""
        told: list[Action] = [] if session.connection is None else [Reply(session.connection, error)]
        return told + self._end(session, Ended.REFUSED)

    def _end(self, session: Session, why: Ended) -> list[Action]:
        """Free a session's stream; its record stays."""
        dropped = session.drop(Lost.ENDED)
        del self._by_name[session.name], self._by_stream[session.stream]
        if session.connection is not None:
            del self._by_connection[session.connection]
            session.connection = None
        return [*dropped, Order(session.worker, backend.Close(session.stream)), Parted(session.name, why)]
