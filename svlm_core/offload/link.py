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

"""How a link to a server stands: a state machine without sockets, threads or clocks.

Every method takes the monotonic time at which something happened, and returns what is to be done about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
import random

from svlm_core.offload import wire
from svlm_core.offload.refusal import in_words
from svlm_core.offload.wire import Code
from svlm_core.sources.reconnecting import Backoff

CONNECTING = "connecting"  # it has never been live
LIVE = "live"
STALLED = "stalled"  # it was live; it is silent or broken, or the server understands nothing just now
REFUSED = "refused"  # the server does not take this robot; it is tried again, more patiently

CONNECT_S = 1.5  # for TCP: a new attempt asks sooner again than a kernel whose packets were lost
BACKOFF = Backoff(first_s=0.1, longest_s=0.5, jitter=0.5)  # quick: who waits for a link waits for words
REFUSED_RETRY_S = 2.0  # where the server does not say when
FINAL_RETRY_S = 10.0  # somebody has to mend something first
MUTE = "the server is there, but its model does not answer, or is being started again"
_DOUBTS = 2  # handshakes in a row that have to fail before it is taken for more than a broken network

_OF_THE_STREAM = frozenset({Code.FULL, Code.REVOKED, Code.SLOW, Code.ENDING, Code.TAKEN})
_FINAL = frozenset({Code.VERSION, Code.SCHEMA, Code.TOO_LARGE, Code.CONFIG, Code.REVOKED, Code.TAKEN})


@dataclass(frozen=True)
class LinkState:
    """How a link stands.

    Attributes:
        name: CONNECTING, LIVE, STALLED or REFUSED.
        reason: why, in plain words; "" if it needs none.
        since_s: `time.monotonic()` when it began to stand so.
        round_trip_ms: of the newest sign of life; None before the first.
        reconnects: how often it came back.
        final: whether it was refused, and will be until somebody mends what the reason says.
    """

    name: str
    reason: str = ""
    since_s: float = 0.0
    round_trip_ms: float | None = None
    reconnects: int = 0
    final: bool = False


@dataclass(frozen=True)
class Connect:
    """Give up the socket, if there is one, connect another, and say Hello."""


@dataclass(frozen=True)
class Disconnect:
    """Give up the socket."""


@dataclass(frozen=True)
class Send:
    """Send a message."""

    message: wire.Message


Action = Connect | Disconnect | Send


class Link:
    """The life of one link, over all its connections.

    Attributes:
        state: how it stands.
    """

    def __init__(
        self, now_s: float, backoff: Backoff = BACKOFF, chance: Callable[[], float] = random.random
    ) -> None:
        """Begin; the first `tick` connects.

        Args:
            now_s: monotonic.
            backoff: between attempts, unless the server says when.
            chance: random numbers in [0, 1), so that robots do not all come back in one moment.
        """
        self.state = LinkState(CONNECTING, since_s=now_s)
        self._backoff, self._chance = backoff, chance
        self._retry_s: float | None = now_s  # when to connect; None while a connection is made or stands
        self._attempt = 0  # since it was last live
        self._doubts = 0  # handshakes that failed in a row
        self._was_live = self._welcomed = False  # ever; on this connection
        self._quiet_s, self._patience_s = now_s, 0.0  # since when nothing came, and how long that is borne
        self._ping_s: float | None = None  # when to say the next Ping; None before there is a connection
        self._pings: dict[int, float] = {}  # number of a Ping that is not answered -> when it was said
        self._number = 0

    @property
    def next_s(self) -> float:
        """When `tick` has something to do, if nothing happens before."""
        if self._retry_s is not None:
            return self._retry_s
        dead_s = self._quiet_s + self._patience_s
        return dead_s if self._ping_s is None else min(dead_s, self._ping_s)

    def tick(self, now_s: float) -> list[Action]:
        """Time has passed. What has arrived before must have been told."""
        if self._retry_s is not None:
            return self._connect(now_s) if now_s >= self._retry_s else []
        if now_s >= self._quiet_s + self._patience_s:
            silent = self._ping_s is not None  # and not: nobody is there
            return self.broke(
                "the server does not answer" if silent else "nobody can be reached there", now_s
            )
        if self._ping_s is not None and now_s >= self._ping_s:
            return self._ping(now_s)
        return []

    def connected(self, now_s: float) -> list[Action]:
        """Somebody listens at the other end; the handshake and the Welcome are to come."""
        if self._retry_s is None and self._ping_s is None:
            self._quiet_s, self._patience_s = now_s, wire.DEAD_AFTER_S
            self._ping_s = now_s + wire.HEARTBEAT_S
        return []

    def heard(self, message: wire.FromServer, now_s: float) -> list[Action]:
        """The server said something."""
        self._quiet_s, self._patience_s, self._doubts = now_s, wire.DEAD_AFTER_S, 0
        if isinstance(message, wire.Welcome):
            return self._welcome(now_s)
        if isinstance(message, wire.Pong):
            return self._pong(message, now_s)
        if isinstance(message, wire.Error):
            return self._error(message, now_s)
        return []

    def broke(self, reason: str, now_s: float) -> list[Action]:
        """The connection is gone, or could not be made."""
        if self._retry_s is None:
            self._enter(STALLED if self._was_live else CONNECTING, reason, now_s)
            self._retry_s = now_s + self._backoff.delay_s(self._attempt, self._chance())
            self._attempt += 1
        return [Disconnect()]

    def doubted(self, reason: str, now_s: float) -> list[Action]:
        """The handshake failed as it does for this reason; or the network broke, which looks the same."""
        self._doubts += 1
        if self._doubts < _DOUBTS:
            return self.broke(reason, now_s)
        return self.refused(reason, now_s, final=True)

    def refused(
        self, reason: str, now_s: float, retry_s: float = 0.0, *, final: bool = False
    ) -> list[Action]:
        """The server does not take this robot.

        Args:
            reason: in plain words.
            now_s: monotonic.
            retry_s: when to come again; 0 if the server did not say.
            final: it will not, until somebody mends something.
        """
        self._enter(REFUSED, reason, now_s, final=final)
        wait_s = retry_s or (FINAL_RETRY_S if final else REFUSED_RETRY_S)
        self._retry_s = now_s + wait_s * (1.0 + self._backoff.jitter * self._chance())
        return [Disconnect()]

    def _connect(self, now_s: float) -> list[Action]:
        self._retry_s, self._ping_s, self._welcomed = None, None, False
        self._quiet_s, self._patience_s = now_s, CONNECT_S
        self._pings.clear()
        return [Connect()]

    def _welcome(self, now_s: float) -> list[Action]:
        if not self._welcomed:
            reconnects = self.state.reconnects + self._was_live
            self._welcomed = self._was_live = True
            self._attempt = 0
            self.state = replace(self.state, reconnects=reconnects)
            self._enter(LIVE, "", now_s)
            return self._ping(now_s)  # so that the round trip is known from the beginning
        self._understood(True, now_s)
        return []

    def _understood(self, ready: bool, now_s: float) -> None:
        """Chunks are, or are not, on a connection that stands."""
        if self._retry_s is None:
            self._enter(*((LIVE, "") if ready else (STALLED, MUTE)), now_s)

    def _ping(self, now_s: float) -> list[Action]:
        self._number += 1
        self._pings[self._number] = now_s
        self._ping_s = now_s + wire.HEARTBEAT_S
        return [Send(wire.Ping(self._number, self.state.round_trip_ms or 0.0))]

    def _pong(self, pong: wire.Pong, now_s: float) -> list[Action]:
        said_s = self._pings.pop(pong.n, None)
        if said_s is not None:
            self.state = replace(self.state, round_trip_ms=(now_s - said_s) * 1e3)
        if self._welcomed:
            self._understood(pong.ready, now_s)
        elif self._retry_s is None:
            name = STALLED if self._was_live else CONNECTING
            self._enter(name, "the server is there, and prepares the stream", now_s)
        return []

    def _error(self, error: wire.Error, now_s: float) -> list[Action]:
        if error.code is Code.SESSION:
            return self.broke(in_words(error), now_s)  # it has restarted behind the same connection
        of_a_message = error.seq is not None or error.id is not None
        if of_a_message and error.code not in _OF_THE_STREAM:
            return []
        if error.code is Code.ENDING and self._welcomed:
            self.refused(in_words(error), now_s, error.retry_s)
            return []  # the chunk in work is answered yet
        final = error.code in _FINAL and not error.retry_s
        if self._welcomed and final and error.code is not Code.REVOKED:
            return self.broke(in_words(error), now_s)  # it was taken once: Hello will tell
        return self.refused(in_words(error), now_s, error.retry_s, final=final)

    def _enter(self, name: str, reason: str, now_s: float, final: bool = False) -> None:
        same = (name, reason, final) == (self.state.name, self.state.reason, self.state.final)
        if not same:
            since_s = self.state.since_s if name == self.state.name else now_s
            self.state = replace(self.state, name=name, reason=reason, since_s=since_s, final=final)
