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

"""The process that robots talk to: sockets around Sessions, Journal and Workers. It waits for no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
import logging
import time

import msgspec
from svlm_core.errors import ConfigError
from svlm_core.offload import backend, parts, wire
from svlm_core.offload.actions import Action, Forget, Order, Reply, Save
from svlm_core.offload.bell import Bell
from svlm_core.offload.curve import ServerSecurity
from svlm_core.offload.journal import Journal
from svlm_core.offload.launcher import Launcher, WorkerConfig
from svlm_core.offload.observer import Observer
from svlm_core.offload.outcome import Ended
from svlm_core.offload.rates import RateLimit
from svlm_core.offload.serving import ServeConfig
from svlm_core.offload.sessions import RATE_RETRY_S, Sessions
from svlm_core.offload.wire import Code
from svlm_core.offload.workers import Workers
import zmq

LOG = logging.getLogger(__name__)

_TICK_MS = 100
_AT_ONCE = 64  # messages of robots before the workers have their turn
_REPLIES = 256  # that wait for one robot to fetch them; more than it can ask for in one turn
_EXPIRE_S = 60.0  # how often the journal is gone through
_FAREWELL_MS = 500  # for the last messages to leave
_UNUSED_LIMIT_S = 60.0
_SAME_PRESS_S = 1.0  # ros2 launch hands Ctrl-C on to processes that the terminal has told already


@dataclass
class _Limit:
    messages: RateLimit
    bytes: RateLimit
    used_s: float


class Front:
    """One server. `run` belongs to one thread; `stop` may be called from any, and from signal handlers."""

    def __init__(self, config: ServeConfig, launcher: Launcher) -> None:
        """Prepare; nothing is started or bound yet."""
        self._config, self._launcher = config, launcher
        self._bell = Bell()
        self._stopped_s: float | None = None
        self._at_once = False
        self._observer = Observer(config.model, config.devices, config.room)
        self._limits: dict[bytes, _Limit] = {}
        self._slow: set[bytes] = set()

    def stop(self) -> None:
        """End: answer what is in work, then let go. Said again a second later, end at once."""
        now_s = time.monotonic()
        if self._stopped_s is None:
            self._stopped_s = now_s
        elif now_s - self._stopped_s > _SAME_PRESS_S:
            self._at_once = True
        self._bell.ring()

    def run(self, on_ready: Callable[[str, bytes | None], object]) -> None:
        """Serve until stopped.

        Args:
            on_ready: called with the endpoint and the server's public key once robots can connect.

        Raises:
            ConfigError: the endpoint, the keys or the journal cannot be used.
            WorkersLostError: a worker could not be started, or not be kept running.
        """
        config = self._config
        with ExitStack() as stack:
            stack.enter_context(self._bell)
            context = stack.enter_context(zmq.Context())
            self._security = stack.enter_context(
                ServerSecurity(context, config.keys_dir, config.bind, config.unencrypted)
            )
            stack.enter_context(self._observer.show(config.metrics))
            self._journal = stack.enter_context(Journal(config.journal))
            self._expire()
            self._robots = stack.enter_context(context.socket(zmq.ROUTER))
            self._security.secure(self._robots)
            self._robots.router_mandatory, self._robots.sndhwm = True, _REPLIES
            self._links = stack.enter_context(self._launcher.listen())
            names = [str(number) for number in range(len(config.devices))]
            self._sessions = Sessions(
                names, config.room, config.keep_cache_s, self._journal.recall, lambda: int(time.time())
            )
            self._workers = Workers(self._launcher, self._worker_configs(names), time.monotonic())
            try:
                self._serve(on_ready)
            finally:
                for name in names:
                    self._order(Order(name, backend.Stop()))
                self._robots.close(linger=_FAREWELL_MS)
                self._workers.end()

    def _worker_configs(self, names: Sequence[str]) -> list[WorkerConfig]:
        config = self._config
        batch = -(-config.room // len(names))
        settings = tuple((dict(fields), where) for fields, where in config.settings)
        weights = (config.dtype, config.quantize, config.threads, settings)
        return [
            WorkerConfig(name, config.model, device, *weights, batch, config.log_level, config.log_json)
            for name, device in zip(names, config.devices, strict=True)
        ]

    def _serve(self, on_ready: Callable[[str, bytes | None], object]) -> None:
        from_robot: wire.Reader[wire.FromRobot] = wire.Reader(wire.FromRobot)
        from_worker: backend.Decoder[backend.FromWorker] = backend.Decoder(backend.FromWorker)
        poller = zmq.Poller()
        poller.register(self._links.pollable, zmq.POLLIN)
        poller.register(self._bell, zmq.POLLIN)
        bound = False
        ticked_s = expired_s = time.monotonic()
        end_s: float | None = None
        while True:
            events = dict(poller.poll(_TICK_MS))
            now_s = time.monotonic()
            if self._links.pollable in events:
                for identity, message in self._links.receive():
                    self._hear_worker(identity, from_worker.read([message]), now_s)
            if bound and self._robots in events:
                for connection, *frames in parts.waiting(self._robots, _AT_ONCE):
                    self._hear_robot(from_robot, connection.bytes, frames, now_s)
            self._bell.quiet()
            if self._stopped_s is not None and end_s is None:
                end_s = now_s + self._config.drain_s
                LOG.info("ending: %d chunks are in work", self._sessions.in_work)
                self._carry_out(self._sessions.drain())
            if end_s is not None and (not self._sessions.in_work or now_s > end_s or self._at_once):
                return
            if 1e3 * (now_s - ticked_s) >= _TICK_MS:
                ticked_s = now_s
                self._tick(now_s)
            if now_s - expired_s >= _EXPIRE_S:
                expired_s = now_s
                self._expire()
            if not bound and self._workers.all_served:
                self._bind()
                poller.register(self._robots, zmq.POLLIN)
                bound = True
                on_ready(self._robots.getsockopt_string(zmq.LAST_ENDPOINT), self._security.public)

    def _bind(self) -> None:
        try:
            self._robots.bind(self._config.bind)
        except zmq.ZMQError as error:
            raise ConfigError(f"--bind {self._config.bind}: {error.strerror}") from None

    # ---- robots -------------------------------------------------------------------------------------------

    def _hear_robot(
        self,
        reader: wire.Reader[wire.FromRobot],
        connection: bytes,
        frames: Sequence[zmq.Frame],
        now_s: float,
    ) -> None:
        sessions = self._sessions
        user = self._security.hear(frames[0])
        if user is None:
            self._carry_out(sessions.refuse(connection, "", None, Code.REVOKED))
            self._carry_out(sessions.leave(connection, Ended.REVOKED, now_s))
            return
        size_bytes = sum(map(len, frames))
        within = self._within_limits(user.encode() or connection, size_bytes, now_s)
        try:
            message = reader.read([frame.buffer for frame in frames])
        except wire.WireError as error:
            self._carry_out(sessions.refuse(connection, user, None, error.code))
            self._observer.unreadable(user, size_bytes, error)
            return
        if not within:
            self._carry_out(sessions.refuse(connection, user, message, Code.RATE, RATE_RETRY_S))
        elif connection in self._slow and not isinstance(message, wire.Hello):
            self._carry_out(sessions.refuse(connection, user, message, Code.SLOW))
        else:
            self._carry_out(sessions.receive(connection, user, message, frames[1:], now_s))
        self._observer.heard(user, size_bytes, message)  # last: nobody waits for it

    def _within_limits(self, who: bytes, size_bytes: int, now_s: float) -> bool:
        limit = self._limits.get(who)
        if limit is None:
            messages, size = self._config.messages_per_s, self._config.bytes_per_s
            limit = _Limit(RateLimit(messages, 2 * messages), RateLimit(size, 2 * size), now_s)
            self._limits[who] = limit
        limit.used_s = now_s
        return limit.messages.take(1, now_s) and limit.bytes.take(size_bytes, now_s)

    def _reply(self, reply: Reply) -> None:
        (header,) = wire.pack(reply.message)
        session = self._sessions.of(reply.connection)
        try:
            parts.send(self._robots, [reply.connection, header])
            self._observer.said(session, reply.message, len(header))
            self._slow.discard(reply.connection)  # it has been told, or welcomed
        except zmq.Again:  # its queue is full
            if reply.connection not in self._slow:
                LOG.warning("a robot does not fetch what it is sent: cut")
                self._slow.add(reply.connection)
            self._part(reply.connection, Ended.SLOW)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._slow.discard(reply.connection)
            self._part(reply.connection, Ended.SILENT)

    def _part(self, connection: bytes, why: Ended) -> None:
        self._carry_out(self._sessions.leave(connection, why, time.monotonic()))

    # ---- workers ------------------------------------------------------------------------------------------

    def _hear_worker(self, identity: bytes, message: backend.FromWorker, now_s: float) -> None:
        name = self._workers.hear(identity, message, now_s)
        if name is None:
            return
        if isinstance(message, backend.Health):
            self._observer.worker_health(self._workers.device(name), message, now_s)
        elif isinstance(message, backend.Ready):
            self._carry_out(self._sessions.worker_ready(name, message.model))
        else:
            self._carry_out(self._sessions.hear(name, message, now_s))

    def _order(self, order: Order) -> None:
        identity = self._workers.identity(order.worker)
        if not self._links.send(identity, [msgspec.msgpack.encode(order.message), *order.pictures]):
            LOG.error("worker %s does not take its messages: killed", order.worker)
            self._workers.kill(order.worker, time.monotonic())

    # ---- both ---------------------------------------------------------------------------------------------

    def _tick(self, now_s: float) -> None:
        for name in self._workers.check(now_s):
            self._observer.worker_lost(self._workers.device(name))
            self._carry_out(self._sessions.worker_lost(name))
        mute = self._workers.mute
        for name in mute:
            self._observer.worker_mute(self._workers.device(name))
        self._carry_out(self._sessions.tick(now_s, mute))
        sessions = self._sessions
        health = self._workers.health
        self._observer.beat(sessions.attached, len(sessions), health, sessions.draining, now_s)
        self._limits = {
            who: limit for who, limit in self._limits.items() if now_s - limit.used_s < _UNUSED_LIMIT_S
        }

    def _expire(self) -> None:
        self._journal.expire(time.time() - self._config.keep_text_s)

    def _carry_out(self, actions: Sequence[Action]) -> None:
        wrote_s: list[float] = []
        for action in actions:
            if isinstance(action, Reply):
                self._reply(action)
            elif isinstance(action, Order):
                self._order(action)
            elif isinstance(action, Save):
                begin_s = time.perf_counter()
                self._journal.save(action.record, time.time())
                wrote_s.append(time.perf_counter() - begin_s)
            elif isinstance(action, Forget):
                self._journal.forget(action.name)
            else:
                self._observer.count(action)
        for took_s in wrote_s:
            self._observer.wrote(took_s)
