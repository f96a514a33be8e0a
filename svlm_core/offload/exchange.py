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

"""What a robot has asked a server and has no answer to yet: pure, without sockets and clocks.

It outlives connections: after a Welcome, what was not answered is asked again, unless it is too late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, fields
import math

import msgspec
from svlm_core.config import StreamConfig
from svlm_core.errors import CacheFullError, ConfigError, LinkError, NumericsError, QueryError, SvlmError
from svlm_core.offload import wire
from svlm_core.offload.link import LinkState, LIVE
from svlm_core.offload.refusal import in_words
from svlm_core.offload.said import SaidText
from svlm_core.offload.wire import Code, Restored
from svlm_core.stream.result import ChunkResult

CANCEL_S = 0.5  # a chunk that was cancelled is waited for so long
BUSY_RETRY_S = 0.05  # while the server works on a chunk that was given up here

Answer = str | ChunkResult | SvlmError  # the words so far; or the end of it
Outgoing = tuple[wire.Message, tuple[bytes, ...]]

_AGAIN = frozenset({Code.RATE, Code.CREDIT, Code.EPOCH, Code.SESSION, Code.FULL, Code.ENDING})
_AS_HERE: Mapping[Code, type[SvlmError]] = {  # what a stream in this process would raise
    Code.NUMERICS: NumericsError,
    Code.CACHE: CacheFullError,
    Code.QUERY: QueryError,
}
_FIELDS = frozenset(field.name for field in fields(StreamConfig))
_LIVE_FIELDS = tuple(field.name for field in fields(StreamConfig) if field.metadata.get("live"))
_SIGHT_IS_LOST = "the server lost the stream's memory: what was said is kept, what was seen is not"
_ALL_IS_LOST = "the server lost the stream's memory: nothing of what was seen and said is kept"


@dataclass(eq=False)
class Flight:
    """A chunk on its way.

    Attributes:
        chunk: its header; epoch, seq and budget are filled in when it is sent.
        pictures: its frames, coded.
        deadline_s: monotonic time from which on it is not sent any more; None for none.
        tell: takes the words so far, any number of times, then a result or an error.
        seq: as which it was sent; -1 while it is not.
        sent_s: when, monotonic.
        not_before_s: when it may be sent, monotonic.
        given_up_s: when it is not waited for any longer.
    """

    chunk: wire.Chunk
    pictures: tuple[bytes, ...]
    deadline_s: float | None
    tell: Callable[[Answer], object]
    seq: int = -1
    epoch: int = -1
    sent_s: float = 0.0
    not_before_s: float = 0.0
    given_up_s: float = math.inf
    given_up_for: str = ""


@dataclass(eq=False)
class _Request:
    message: wire.Message
    done: Future[wire.Done]
    sent: bool = False


@dataclass(eq=False)
class _Change:
    number: int
    config: StreamConfig


class Exchange:
    """The robot's side of one session. One thread calls; others may read the attributes.

    Attributes:
        config: the stream's settings, from the next chunk on; None before the first Welcome.
        said: what the stream has said.
        model: name of the checkpoint.
        cache_tokens: tokens in the KV cache.
        capacity_tokens: slots of the KV cache, 0 before the first chunk.
    """

    def __init__(self, session: str, camera: str, overrides: wire.Settings, partial: bool = False) -> None:
        """Begin a session.

        Args:
            session: its name, which nobody else may have.
            camera: for the server's log.
            overrides: settings that win over the checkpoint's own.
            partial: whether words are wanted while they are found.
        """
        self.config: StreamConfig | None = None
        self.said = SaidText()
        self.model = ""
        self.cache_tokens = self.capacity_tokens = 0
        self._session, self._camera, self._overrides, self._partial = session, camera, overrides, partial
        self._link = LinkState("")
        self._agreed: StreamConfig | None = None  # what the server goes by
        self._epoch = -1
        self._heard = -1  # seq of the newest Result
        self._next_seq = self._next_id = 0
        self._forgot = ""  # why the stream has forgotten what it saw, until the next result
        self._begins_anew = False  # the next memory is a new one for a reason that the robot knows
        self._flight: Flight | None = None
        self._requests: dict[int, _Request] = {}
        self._change: _Change | None = None
        self._changed: Future[None] | None = None
        self._outbox: list[Outgoing] = []

    # ---- what the robot wants -----------------------------------------------------------------------------

    def submit(self, flight: Flight) -> None:
        """Send a chunk; one that nobody waits for any longer makes way."""
        self._flight = flight

    def cancel(self, flight: Flight, now_s: float) -> None:
        """End a chunk: soon if it may be in work, else at once."""
        if flight is not self._flight or flight.given_up_for:
            return
        in_work = flight.seq >= 0 and self._link.name == LIVE
        self._give_up(flight, now_s + CANCEL_S if in_work else now_s, "the chunk was cancelled")
        if in_work:
            self._outbox.append((wire.Cancel(flight.epoch, flight.seq), ()))

    def ask(self, make: Callable[[int], wire.Message], done: Future[wire.Done]) -> None:
        """Send a request; cancel `done` to let it be.

        Args:
            make: number of the request -> Check or Size.
            done: takes the answer, or the error that a stream in this process would raise.
        """
        self._requests[self._next_id] = _Request(make(self._next_id), done)
        self._next_id += 1

    def reset(self, done: Future[wire.Done]) -> None:
        """Forget everything; no chunk goes out before the server has."""
        self._forget()
        self.ask(wire.Reset, done)

    def reconfigure(self, config: StreamConfig, done: Future[None]) -> None:
        """Take over other settings; what the server cannot be told now it is told after the next Welcome.

        Args:
            config: the new settings.
            done: takes None once the server, if it is there, has taken them over, or ConfigError.
        """
        self.config = config
        if self._link.name == LIVE:
            self._changed = done
        else:
            done.set_result(None)

    def close(self, error: SvlmError) -> None:
        """Fail everything that waits."""
        if self._flight is not None:
            self._land(error)
        for request in self._requests.values():
            _fail(request.done, error)
        if self._changed is not None:
            _fail(self._changed, error)

    # ---- what the link brings -----------------------------------------------------------------------------

    def hello(self) -> wire.Hello:
        """What every connection begins with."""
        settings = self._overrides if self._agreed is None else asdict(self._agreed)
        return wire.Hello(
            wire.VERSION, self._session, self._camera, settings, self._heard, str(self.said), self._partial
        )

    def stand(self, link: LinkState) -> None:
        """The link stands so from now on."""
        self._link = link

    def receive(self, message: wire.FromServer, now_s: float) -> None:
        """The server said something; the link knows already.

        Raises:
            ConfigError: a Welcome's settings are none.
        """
        flight = self._flight
        if isinstance(message, wire.Welcome):
            self._welcome(message, now_s)
        elif isinstance(message, wire.Result):
            self._result(message, now_s)
        elif isinstance(message, wire.Partial):
            if flight is not None and (message.seq, message.epoch) == (flight.seq, flight.epoch):
                flight.tell(message.text)
        elif isinstance(message, wire.Done):
            self._done(message)
        elif isinstance(message, wire.Error):
            if message.id is not None:
                self._request_refused(message.id, message)
            elif flight is not None and message.seq is not None and message.seq == flight.seq:
                self._chunk_refused(flight, message, now_s)

    def due(self, now_s: float) -> list[Outgoing]:
        """What is to be sent now; what has waited for too long fails."""
        outgoing, self._outbox = self._outbox, []
        self._requests = {n: request for n, request in self._requests.items() if not request.done.cancelled()}
        if self._link.name == LIVE:
            for request in self._requests.values():
                if not request.sent:
                    request.sent = True
                    outgoing.append((request.message, ()))
            outgoing += self._configuring()
        flight = self._flight
        if flight is not None:
            late = flight.seq < 0 and flight.deadline_s is not None and now_s >= flight.deadline_s
            if self._link.final:
                self._land(LinkError(self._link.reason, final=True))
            elif now_s >= flight.given_up_s:
                self._land(LinkError(flight.given_up_for))
            elif late:
                why = f" ({self._link.reason})" if self._link.reason else ""
                self._land(
                    LinkError(f"the chunk could not be sent in time: the link is {self._link.name}{why}")
                )
            elif self._may_fly(flight) and now_s >= flight.not_before_s:
                outgoing.append(self._send(flight, now_s))
        return outgoing

    @property
    def next_s(self) -> float:
        """When `due` has something to do, if nothing happens before."""
        flight = self._flight
        if flight is None:
            return math.inf
        next_s = flight.given_up_s
        if flight.seq < 0 and flight.deadline_s is not None:
            next_s = min(next_s, flight.deadline_s)
        return min(next_s, flight.not_before_s) if self._may_fly(flight) else next_s

    # ---- inside -------------------------------------------------------------------------------------------

    def _may_fly(self, flight: Flight) -> bool:
        resetting = any(isinstance(request.message, wire.Reset) for request in self._requests.values())
        return flight.seq < 0 and self._link.name == LIVE and not resetting

    def _send(self, flight: Flight, now_s: float) -> Outgoing:
        budget_ms = 0.0 if flight.deadline_s is None else (flight.deadline_s - now_s) * 1e3
        flight.seq, flight.epoch, flight.sent_s = self._next_seq, self._epoch, now_s
        self._next_seq += 1
        header = msgspec.structs.replace(
            flight.chunk, epoch=flight.epoch, seq=flight.seq, budget_ms=budget_ms
        )
        return header, flight.pictures

    def _configuring(self) -> list[Outgoing]:
        """The Configure that the server needs, unless one is on its way."""
        if self._change is not None or self.config is None or self.config == self._agreed:
            return []
        changes = {
            name: getattr(self.config, name)
            for name in _LIVE_FIELDS
            if getattr(self.config, name) != getattr(self._agreed, name)
        }
        self._change = _Change(self._next_id, self.config)
        self._next_id += 1
        return [(wire.Configure(self._change.number, changes), ())]

    def _welcome(self, welcome: wire.Welcome, now_s: float) -> None:
        known = {name: value for name, value in welcome.settings.items() if name in _FIELDS}
        agreed = StreamConfig().replace(known, "the server's settings")
        if self._agreed is None or self.config is None:
            self.config = agreed
            self.said = SaidText(agreed.previous_text)
        else:
            kept = {name: getattr(self.config, name) for name in _LIVE_FIELDS}
            self.config = agreed.replace(kept, "settings")
        self._agreed, self._change = agreed, None
        if welcome.epoch != self._epoch:
            if self._heard >= 0 and not self._begins_anew:
                self._forgot = _ALL_IS_LOST if welcome.restored is Restored.NOTHING else _SIGHT_IS_LOST
            self._epoch, self._begins_anew = welcome.epoch, False
        self.model, self.capacity_tokens = welcome.model, welcome.capacity_tokens
        self._next_seq = max(self._next_seq, welcome.last + 1)
        for request in self._requests.values():
            request.sent = False
        flight = self._flight
        if flight is not None and 0 <= flight.seq <= welcome.last:  # its Result comes now, or never
            self._give_up(flight, now_s + wire.DEAD_AFTER_S, "the chunk's result was lost")
        elif flight is not None:  # the server has never had it, or knows nothing of it any more
            flight.seq, flight.not_before_s = -1, 0.0

    def _result(self, result: wire.Result, now_s: float) -> None:
        flight = self._flight
        if flight is not None and flight.seq != result.seq:
            flight = None
        if (flight is not None and flight.epoch != result.epoch) or result.seq >= self._next_seq:
            return  # about nothing that was sent from here
        if result.seq > self._heard:
            self._heard = result.seq
            self.said.append(result.text)
            self.cache_tokens, self.capacity_tokens = result.cache_tokens, result.capacity_tokens
        if flight is not None:
            self._begins_anew = False
            forgot, self._forgot = self._forgot, ""
            link_ms = max(0.0, (now_s - flight.sent_s) * 1e3 - result.server_ms)
            words = (result.text, tuple(result.token_ids), result.prefill_tokens, result.cache_tokens)
            stages = {**result.stage_ms, "link": link_ms}
            self._land(ChunkResult(*words, result.finish, stages, forgot))

    def _done(self, done: wire.Done) -> None:
        change = self._change
        if change is not None and done.id == change.number:
            self._change, self._agreed, self._epoch = None, change.config, done.epoch
            if self._changed is not None and self.config == change.config:
                self._changed.set_result(None)
                self._changed = None
        elif (request := self._requests.pop(done.id, None)) is not None:
            self._epoch = done.epoch
            if request.done.set_running_or_notify_cancel():
                request.done.set_result(done)

    def _request_refused(self, number: int, error: wire.Error) -> None:
        change = self._change
        if change is not None and number == change.number:
            self._change, self.config = None, self._agreed
            if self._changed is not None:
                self._changed.set_exception(ConfigError(in_words(error)))
                self._changed = None
        elif number in self._requests and error.code not in _AGAIN and error.code is not Code.INTERNAL:
            kind = _AS_HERE.get(error.code, LinkError)
            _fail(self._requests.pop(number).done, kind(in_words(error)))

    def _chunk_refused(self, flight: Flight, error: wire.Error, now_s: float) -> None:
        if error.code in _AGAIN:
            flight.seq = -1
            # the server has another memory: its Welcome is on its way, or has come already
            waits = error.code is Code.EPOCH and flight.epoch == self._epoch
            flight.not_before_s = math.inf if waits else now_s + (error.retry_s or BUSY_RETRY_S)
            return
        if error.code is Code.NUMERICS:
            self._forget()
        self._land(_AS_HERE.get(error.code, LinkError)(in_words(error)))

    def _forget(self) -> None:
        """The stream begins anew, and the robot knows."""
        self._begins_anew, self._forgot = True, ""
        self.said = SaidText(self.config.previous_text if self.config else "")

    def _give_up(self, flight: Flight, at_s: float, why: str) -> None:
        if at_s < flight.given_up_s:
            flight.given_up_s, flight.given_up_for = at_s, why

    def _land(self, answer: ChunkResult | SvlmError) -> None:
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.tell(answer)


def _fail(done: Future, error: SvlmError) -> None:
    if done.set_running_or_notify_cancel():
        done.set_exception(error)
