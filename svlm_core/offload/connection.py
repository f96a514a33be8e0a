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

"""A robot's socket, and the thread that moves messages between it, the link and the exchange."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import logging
import math
import select
import threading
import time

from svlm_core.errors import EngineClosedError, SvlmError
from svlm_core.offload import greeting, parts, wire
from svlm_core.offload.bell import Bell
from svlm_core.offload.curve import arm_client, ClientKeys, secure_client
from svlm_core.offload.exchange import Exchange
from svlm_core.offload.link import Action, Connect, Link, LinkState, LIVE, Send
import zmq
from zmq.utils.monitor import recv_monitor_message

LOG = logging.getLogger(__name__)

_BYE_MS = 300  # for what is still to be sent when the link is closed
_END_S = 0.9  # then the thread is left to itself: it waits for nothing but a name that is looked up
_GREETING_S = 0.5
_MESSAGES_AT_ONCE = 64
_NOT_ALLOWED = 400  # what a server answers to a key that it does not let in
_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)

Job = Callable[[float], object]


class Connection:
    """Keeps one link up, on a thread of its own.

    To wake another thread takes longer than most of what is to be done. So whoever posts a job does it, and
    sends what is due then, if the link's thread is waiting just now; and whoever waits for an answer attends
    to the link meanwhile. Hence threads wait without `_busy`, in poll() of descriptors: a zmq.Poller would
    look at the socket while another thread uses it.
    """

    def __init__(
        self,
        endpoint: str,
        keys: ClientKeys | None,
        unencrypted: bool,
        exchange: Exchange,
        on_state: Callable[[LinkState], object] | None,
    ) -> None:
        """Begin to connect.

        Args:
            endpoint: where the server is.
            keys: the robot's.
            unencrypted: see secure_client.
            exchange: nobody else may call it from now on.
            on_state: told every new state, on the thread of the link or one that attends to it.

        Raises:
            ConfigError: as secure_client.
        """
        self._endpoint, self._keys = endpoint, keys
        self._exchange, self._on_state = exchange, on_state
        self._reader: wire.Reader[wire.FromServer] = wire.Reader(wire.FromServer)
        self._link = Link(time.monotonic())
        self._context = zmq.Context()
        self._socket: zmq.Socket | None = None
        self._monitor: zmq.Socket | None = None
        try:
            with self._context.socket(zmq.DEALER) as probe:  # says now what every connection would say
                secure_client(probe, keys, endpoint, unencrypted)
        except BaseException:
            self._context.term()
            raise
        self._busy = threading.Lock()  # of the link, the exchange and the sockets
        self._until_s = 0.0  # when the thread looks again, if nothing comes before
        self._jammed = False  # the socket took no more
        self._changed = threading.Condition()  # of everything below
        self.state = self._link.state
        self._jobs: deque[Job] = deque()
        self._closing = self._ended = False
        self._attended = self._resting = False  # whether another thread does this one's work; whether it may
        self._failure: Exception | None = None  # of that other thread
        self._bell = Bell()
        self._thread = threading.Thread(target=self._run, name="svlm-link", daemon=True)
        self._thread.start()

    def post(self, job: Job) -> None:
        """Have something done now, or soon on the link's thread; it is given the monotonic time.

        Raises:
            EngineClosedError: the link is closed.
        """
        with self._changed:
            if self._ended:
                raise EngineClosedError("the link is closed")
            self._jobs.append(job)
        asleep = False  # whether the link's thread may stay so
        if self._busy.acquire(blocking=False):
            try:
                self._work_off()
                asleep = self._exchange.next_s >= self._until_s and not _heard(self._socket)
            finally:
                self._busy.release()
        with self._changed:
            if not asleep and not self._ended:
                self._bell.ring()

    def attend(self, done: Callable[[], bool]) -> None:
        """Do the work of the link's thread here until something is done, so that none has to wake another.

        Returns sooner if the link is closed, or if another thread attends already.
        """
        with self._changed:
            if self._attended or self._closing or self._ended:
                return
            self._attended = True
            self._bell.ring()
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._resting or self._ended)
            while not (done() or self._closing or self._ended):
                self._turn(done)
        except Exception as error:
            self._failure = error
        finally:
            with self._changed:
                self._attended = False
                self._changed.notify_all()

    def wait(self, until: Callable[[LinkState], bool], timeout_s: float | None) -> LinkState:
        """Wait for a state, or for the link's end; the state as it is then."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or until(self.state), timeout_s)
            return self.state

    @property
    def ended(self) -> bool:
        """Whether it is closed."""
        return self._ended

    def close(self) -> None:
        """Say Bye and end."""
        with self._changed:
            self._closing = True
            if not self._ended:
                self._bell.ring()
        if threading.current_thread() is not self._thread:
            self._thread.join(_END_S)

    # ---- on the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        end: SvlmError = EngineClosedError("the link is closed")
        try:
            while not self._closing:
                self._turn()
                self._rest()
            with self._busy:
                self._say_bye()
        except Exception as error:
            LOG.exception("the link to %s has ended by itself", self._endpoint)
            end = EngineClosedError(f"the link has ended by itself: {error}")
            with self._busy:
                self._link.refused(str(end), time.monotonic(), final=True)
                self._tell_state()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            with self._busy:
                self._disconnect()
                self._work_off()
                self._exchange.close(end)
            self._context.term()
            self._bell.close()

    def _rest(self) -> None:
        """Wait while another thread attends."""
        with self._changed:
            self._resting = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._attended)
            self._resting = False
        if self._failure is not None:
            raise self._failure

    # ---- on the thread, or on one that attends ------------------------------------------------------------

    def _turn(self, done: Callable[[], bool] = lambda: False) -> None:
        """Wait until something happens; then see to everything, in an order: what came before what is due.

        If that brings what is waited for, the rest is left to the next turn.
        """
        self._wait()
        with self._busy:
            try:
                self._receive()
                if done():
                    self._bell.ring()  # it may have called for the rest, and is quiet now
                    return
                self._watch()
                if self._jammed:
                    self._act(self._link.broke("the network takes nothing any more", time.monotonic()))
                self._act(self._link.tick(time.monotonic()))
                self._tell_state()
                self._work_off()
            except KeyboardInterrupt:
                self._jammed = True  # who knows how far it came: a new connection puts everything right
                raise

    def _wait(self) -> None:
        poller = select.poll()
        poller.register(self._bell, select.POLLIN)
        with self._busy:
            self._until_s = min(self._link.next_s, self._exchange.next_s)
            for socket in (self._socket, self._monitor):
                if _heard(socket):
                    return
                if socket is not None:
                    poller.register(int(socket.getsockopt(zmq.FD)), select.POLLIN)
        ready = dict(poller.poll(max(0, math.ceil((self._until_s - time.monotonic()) * 1e3))))
        if self._bell.fileno() in ready:
            self._bell.quiet()

    def _work_off(self) -> None:
        """Do what was posted, and send what is due."""
        while self._jobs:
            self._jobs.popleft()(time.monotonic())
        for message, pictures in self._exchange.due(time.monotonic()):
            self._send(message, pictures)

    def _receive(self) -> None:
        for _ in range(_MESSAGES_AT_ONCE):
            if self._socket is None or not _heard(self._socket):
                return
            frames = parts.receive(self._socket)
            now_s = time.monotonic()
            try:
                message = self._reader.read([frame.buffer for frame in frames])
                self._act(self._link.heard(message, now_s))
                self._exchange.stand(self._link.state)
                self._exchange.receive(message, now_s)
                self._tell_state()  # now: who waits for the Welcome wants its settings
            except wire.WireError as error:
                self._act(self._unreadable(error, now_s))
            except SvlmError as error:
                self._act(self._link.refused(str(error), now_s, final=True))

    def _unreadable(self, error: wire.WireError, now_s: float) -> list[Action]:
        LOG.debug("%s: %s", self._endpoint, error)
        if error.code is wire.Code.VERSION:
            return self._link.refused(f"the server speaks another version: {error}", now_s, final=True)
        return self._link.broke("the server sends what is no message", now_s)

    def _watch(self) -> None:
        """What the socket's monitor has seen."""
        while self._monitor is not None and _heard(self._monitor):
            event = recv_monitor_message(self._monitor)
            kind, value, now_s = event["event"], event["value"], time.monotonic()
            if kind == zmq.EVENT_CONNECTED:
                self._act(self._link.connected(now_s))
            elif kind == zmq.EVENT_CLOSED:
                self._act(self._link.broke(f"nothing answers at {self._endpoint}", now_s))
            elif kind == zmq.EVENT_DISCONNECTED:
                self._act(self._link.broke("the connection broke", now_s))
            elif kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH and value == _NOT_ALLOWED:
                why = "the server does not allow this robot's key: svlm keys allow, on the server"
                self._act(self._link.refused(why, now_s, final=True))
            else:
                self._act(self._handshake_failed())

    def _handshake_failed(self) -> list[Action]:
        """The peer has hung up on the handshake; how it greets says why."""
        spoken = greeting.mechanism(self._endpoint, _GREETING_S)
        now_s = time.monotonic()
        if self._keys is not None and spoken == greeting.CURVE:
            return self._link.doubted("the server has another key than this robot was told", now_s)
        if self._keys is not None and spoken == greeting.NULL:
            return self._link.doubted("the server has no keys, and this robot does not go without", now_s)
        if self._keys is None and spoken == greeting.CURVE:
            return self._link.doubted("the server asks for keys, and this robot was given none", now_s)
        return self._link.broke("the connection broke before the server said anything", now_s)

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self._send(action.message)
            else:
                self._disconnect()
            if isinstance(action, Connect):
                self._connect()

    def _connect(self) -> None:
        self._socket = socket = self._context.socket(zmq.DEALER)
        arm_client(socket, self._keys, self._endpoint)
        socket.reconnect_ivl = -1  # another connection is another Hello
        self._monitor = socket.get_monitor_socket(_EVENTS)
        try:
            socket.connect(self._endpoint)
        except zmq.ZMQError as error:
            reason = f"{self._endpoint}: {error.strerror}"
            self._act(self._link.refused(reason, time.monotonic(), final=True))
            return
        self._send(self._exchange.hello())

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.disable_monitor()
            self._socket.close()
        if self._monitor is not None:
            self._monitor.close()
        self._socket = self._monitor = None
        self._jammed = False

    def _send(self, message: wire.Message, pictures: tuple[bytes, ...] = ()) -> None:
        if self._socket is None:
            return
        try:
            parts.send(self._socket, wire.pack(message, pictures))
        except BaseException as error:  # Ctrl-C, too: half of the message may be on its way
            self._jammed = True  # the link's thread sees to it: no other may close what that waits for
            self._bell.ring()
            if not isinstance(error, zmq.Again):
                raise

    def _say_bye(self) -> None:
        if self._link.state.name == LIVE and self._socket is not None:
            self._socket.linger = _BYE_MS
            self._send(wire.Bye())

    def _tell_state(self) -> None:
        state = self._link.state
        self._exchange.stand(state)
        with self._changed:
            before, self.state = self.state, state
            if state == before:
                return
            self._changed.notify_all()
        if self._on_state is not None and (state.name, state.reason) != (before.name, before.reason):
            try:
                self._on_state(state)
            except Exception:
                LOG.exception("whoever was told of the link's state has failed")


def _heard(socket: zmq.Socket | None) -> bool:
    """Whether something waits at a socket; its descriptor says so only once."""
    return socket is not None and bool(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
