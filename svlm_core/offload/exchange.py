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

"""The robot's side of one session: what was sent, what was heard, and what the stream still knows.

It outlives connections, and has no sockets and no clocks: every call that needs the time is given it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, fields
import math

from svlm_core.config import StreamConfig
from svlm_core.errors import CacheFullError, LinkError, NumericsError, QueryError, SvlmError
from svlm_core.offload import wire
from svlm_core.offload.flight import Flight
from svlm_core.offload.link import LinkState, LIVE
from svlm_core.offload.refusal import in_words
from svlm_core.offload.requests import BUSY_RETRY_S, Requests
from svlm_core.offload.said import SaidText
from svlm_core.offload.wire import Code, Restored
from svlm_core.stream.result import ChunkResult

CANCEL_S = 0.5  # the result of a chunk that was cancelled is waited for so long

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


class Exchange:
    """One session of a robot. One thread calls; others may read the attributes.

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
        self._change: Future[wire.Done] | None = None  # of the Configure on its way
        self._changed: Future[None] | None = None  # whoever waits for it
        self._requests = Requests()
        self._flight: Flight | None = None
        self._cancels: list[Outgoing] = []
        self._epoch = -1
        self._heard = -1  # seq of the newest Result
        self._next_seq = 0
        self._forgot = ""  # why the stream has forgotten what it saw, until the next result
        self._begins_anew = False  # the next memory is a new one for a reason that the robot knows

    # ---- what the robot wants -----------------------------------------------------------------------------

    def submit(self, flight: Flight) -> None:
        """Send a chunk; one that nobody waits for any longer makes way."""
        self._flight = flight

    def cancel(self, flight: Flight, now_s: float) -> None:
        """End a chunk: soon if it may be in work, else at once."""
        if flight is not self._flight or flight.given_up_for:
            return
        in_work = flight.sent and self._link.name == LIVE
        flight.give_up(now_s + CANCEL_S if in_work else now_s, "the chunk was cancelled")
        if in_work:
            self._cancels.append((wire.Cancel(flight.epoch, flight.seq), ()))

    def ask(self, make: Callable[[int], wire.Message], done: Future[wire.Done]) -> None:
        """Send a request, see Requests."""
        self._requests.ask(make, done)

    def reset(self, done: Future[wire.Done]) -> None:
        """Forget everything; no chunk goes out before the server has."""
        self._forget()
        self._requests.ask(wire.Reset, done)

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
        self._land(error)
        self._requests.close(error)
        self._tell_changed(error)

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
            self._epoch = message.epoch
            self._requests.answered(message)
        elif isinstance(message, wire.Error):
            if message.id is not None:
                self._requests.refused(message.id, message, now_s)
            elif flight is not None and flight.sent and message.seq == flight.seq:
                self._chunk_refused(flight, message, now_s)

    def due(self, now_s: float) -> list[Outgoing]:
        """What is to be sent now; what has waited for too long fails."""
        outgoing: list[Outgoing] = []
        if self._link.name == LIVE:
            outgoing, self._cancels = self._cancels, []
            self._configure()
            outgoing += [(message, ()) for message in self._requests.due(now_s)]
        flight = self._flight
        if flight is not None:
            if failure := flight.failure(self._link, now_s):
                if now_s >= flight.overdue_s:
                    outgoing.append((wire.Cancel(flight.epoch, flight.seq), ()))
                self._land(failure)
            elif self._may_go(flight) and now_s >= flight.not_before_s:
                outgoing.append((flight.send(self._next_seq, self._epoch, now_s), flight.pictures))
                self._next_seq += 1
        return outgoing

    @property
    def next_s(self) -> float:
        """When `due` has something to do, if nothing happens before."""
        next_s = self._requests.next_s if self._link.name == LIVE else math.inf
        flight = self._flight
        return (
            next_s
            if flight is None
            else min(next_s, flight.next_s(self._link.name == LIVE, self._may_go(flight)))
        )

    # ---- inside -------------------------------------------------------------------------------------------

    def _may_go(self, flight: Flight) -> bool:
        return flight.wanted and self._link.name == LIVE and not self._requests.pending(wire.Reset)

    def _configure(self) -> None:
        """Ask for the settings that are wanted, unless that is under way."""
        config, agreed = self.config, self._agreed
        if config is None or agreed is None or config == agreed or self._change is not None:
            return
        names = [name for name in _LIVE_FIELDS if getattr(config, name) != getattr(agreed, name)]
        settings = {name: getattr(config, name) for name in names}
        change: Future[wire.Done] = Future()
        self._change = change
        change.add_done_callback(lambda change: self._configured(change, config))
        self._requests.ask(lambda number: wire.Configure(number, settings), change)

    def _configured(self, change: Future[wire.Done], config: StreamConfig) -> None:
        """The server has taken settings over, or refuses them; or a Welcome came between."""
        if change.cancelled():
            return
        self._change = None
        if (error := change.exception()) is not None:
            self.config = self._agreed
            self._tell_changed(error)
            return
        self._agreed = config
        if self.config == config:
            self._tell_changed()

    def _tell_changed(self, error: BaseException | None = None) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and error is not None:
            changed.set_exception(error)
        elif changed is not None:
            changed.set_result(None)

    def _welcome(self, welcome: wire.Welcome, now_s: float) -> None:
        known = {name: value for name, value in welcome.settings.items() if name in _FIELDS}
        agreed = StreamConfig().replace(known, "the server's settings")
        if self.config is None:
            self.config = agreed
            self.said = SaidText(agreed.previous_text)
        else:  # what was changed here is still wanted
            self.config = agreed.replace({name: getattr(self.config, name) for name in _LIVE_FIELDS}, "")
        self._agreed = agreed
        if self._change is not None:  # whether it came through, the settings say
            self._change.cancel()
            self._change = None
        if welcome.epoch != self._epoch:
            if self._heard >= 0 and not self._begins_anew:
                self._forgot = _ALL_IS_LOST if welcome.restored is Restored.NOTHING else _SIGHT_IS_LOST
            self._epoch, self._begins_anew, self.cache_tokens = welcome.epoch, False, 0
        self.model, self.capacity_tokens = welcome.model, welcome.capacity_tokens
        self._next_seq = max(self._next_seq, welcome.last + 1)
        self._requests.welcomed()
        flight = self._flight
        if flight is not None and 0 <= flight.seq <= welcome.last:  # its Result comes now, or never
            flight.give_up(now_s + wire.DEAD_AFTER_S, "the chunk's result was lost")
        elif flight is not None:  # the server has never had it, or knows nothing of it any more
            flight.again(0.0)

    def _result(self, result: wire.Result, now_s: float) -> None:
        flight = self._flight
        if flight is not None and flight.seq != result.seq:
            flight = None
        if (flight is not None and flight.epoch != result.epoch) or result.seq >= self._next_seq:
            return  # about nothing that was sent from here
        current = result.epoch == self._epoch
        if result.seq > self._heard:
            self._heard = result.seq
            self.said.append(result.text)
            if current:
                self.cache_tokens, self.capacity_tokens = result.cache_tokens, result.capacity_tokens
        if flight is None:
            return
        forgot = ""
        if current:  # else it was understood before the loss, and the next one tells
            forgot, self._forgot, self._begins_anew = self._forgot, "", False
        link_ms = max(0.0, (now_s - flight.sent_s) * 1e3 - result.server_ms)
        words = (result.text, tuple(result.token_ids), result.prefill_tokens, result.cache_tokens)
        self._land(ChunkResult(*words, result.finish, {**result.stage_ms, "link": link_ms}, forgot))

    def _chunk_refused(self, flight: Flight, error: wire.Error, now_s: float) -> None:
        why = in_words(error)
        if error.code in _AGAIN:
            # the server has another memory: its Welcome is on its way, or has come already
            waits = error.code is Code.EPOCH and flight.epoch == self._epoch
            flight.again(math.inf if waits else now_s + (error.retry_s or BUSY_RETRY_S), why)
            return
        if error.code is Code.NUMERICS:
            self._forget()
        self._land(_AS_HERE.get(error.code, LinkError)(why))

    def _forget(self) -> None:
        """The stream begins anew, and the robot knows."""
        self._begins_anew, self._forgot = True, ""
        self.said = SaidText(self.config.previous_text if self.config else "")

    def _land(self, answer: ChunkResult | SvlmError) -> None:
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.tell(answer)
