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

"""A stream whose model runs on another machine; the robot's side of the link."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent import futures
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import fields, replace
import queue
import secrets
import threading
import time
from types import TracebackType
from typing import Any

import msgspec
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError, EngineClosedError, LinkError, QueryError, SvlmError
from svlm_core.frames import Chunk
from svlm_core.offload import wire
from svlm_core.offload.coded import check_fits, code, CodedFrames
from svlm_core.offload.connection import Connection
from svlm_core.offload.curve import ClientKeys
from svlm_core.offload.exchange import Exchange
from svlm_core.offload.flight import Answer, Flight
from svlm_core.offload.link import LinkState, LIVE
from svlm_core.stream.budget import ChunkBudget
from svlm_core.stream.query import Query
from svlm_core.stream.result import ChunkResult

ANSWER_S = wire.DEAD_AFTER_S  # a request that is not answered by then never will be, on this connection
_SESSION_BYTES = 16
_MOST_LABEL = 256  # characters, as of wire.Label


class Client:
    """A Stream over a link that breaks and comes back; a context manager.

    While the link is down, a chunk with a deadline fails with LinkError when that has passed; one without
    waits. What the stream has said is remembered here, for a server that has lost it.
    """

    def __init__(
        self,
        endpoint: str,
        overrides: Mapping[str, Any] = {},
        *,
        camera: str = "",
        keys: ClientKeys | None = None,
        unencrypted: bool = False,
        picture: wire.Picture = wire.Picture.JPEG,
        quality: int = 85,
        partial: bool = False,
        on_state: Callable[[LinkState], object] | None = None,
    ) -> None:
        """Begin to connect; `wait_until_live` says when the stream can be used.

        Args:
            endpoint: of the server: tcp://HOST:PORT.
            overrides: fields of StreamConfig that win over the checkpoint's own.
            camera: name in the server's log.
            keys: the robot's; None only on the server's own machine, or with `unencrypted`.
            unencrypted: go without keys beyond this machine.
            picture: how frames are coded. JPEGs are scaled down to what the model looks at; PNGs are the
                frames as they are, to the last bit.
            quality: of JPEG, 1 to 100.
            partial: have words sent while they are found, see `step`.
            on_state: told when the link stands otherwise; on a thread of the link or the one in `step`, so it
                must be quick.

        Raises:
            ConfigError: the endpoint is none, goes beyond this machine without keys, or a setting is of a
                kind that no field has.
        """
        session = secrets.token_hex(_SESSION_BYTES)
        self._exchange = Exchange(
            session, _label(camera or session), _settings(overrides, "settings"), partial
        )
        self._picture, self._quality = picture, quality
        self._sizes: dict[tuple[str, int, int], tuple[int, int]] = {}  # model, height, width -> its own
        self._configuring = threading.Lock()
        self._connection = Connection(endpoint, keys, unencrypted, self._exchange, on_state)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def state(self) -> LinkState:
        """How the link stands."""
        return self._connection.state

    @property
    def model(self) -> str:
        """Name of the checkpoint, "" before the link was live."""
        return self._exchange.model

    @property
    def config(self) -> StreamConfig:
        """The stream's settings, from the next chunk on.

        Raises:
            LinkError: the link has never been live, so nobody knows them.
        """
        config = self._exchange.config
        if config is None:
            raise LinkError(f"the server has not been reached yet: the link is {self.state.name}")
        return config

    @property
    def said_text(self) -> str:
        """The text so far; of a long one the beginning and the end."""
        return str(self._exchange.said)

    @property
    def cache_tokens(self) -> int:
        """Tokens in the KV cache."""
        return self._exchange.cache_tokens

    @property
    def capacity_tokens(self) -> int:
        """Slots of the KV cache, 0 before the first chunk."""
        return self._exchange.capacity_tokens

    def wait_until_live(self, timeout_s: float | None = None) -> LinkState:
        """Wait until the stream can be used.

        Args:
            timeout_s: how long; None for as long as it takes.

        Returns:
            The state when it is live, or when the time has passed.

        Raises:
            LinkError: refused, and waiting is of no use.
            EngineClosedError: the link is closed.
        """
        state = self._connection.wait(lambda state: state.name == LIVE or state.final, timeout_s)
        if state.final:
            raise LinkError(state.reason, final=True)
        if self._connection.ended:
            raise EngineClosedError("the link is closed")
        return state

    def preprocess(self, chunk: Chunk) -> CodedFrames:
        """Code a chunk's frames; in any thread.

        Raises:
            SourceError: they are too many or too large for a message.
        """
        began_s = time.monotonic()
        check_fits(chunk)
        size_px = chunk.frames[0].size_px
        if self._picture is wire.Picture.JPEG:
            height, width = self._size_of_the_model(*size_px)
            size_px = min(height, size_px[0]), min(width, size_px[1])
        coded = code(chunk, self._picture, self._quality, size_px)
        return replace(coded, encode_ms=(time.monotonic() - began_s) * 1e3)

    def check_query(self, query: Query) -> None:
        """Make sure that a question can be asked; in any thread.

        Raises:
            QueryError: it is longer than max_query_tokens.
            LinkError: the server cannot be asked now.
        """
        try:
            self._ask(lambda number: wire.Check(number, query.text))
        except QueryError as error:
            raise QueryError(f"{error} ({self.config.max_query_tokens}): {query.text[:40]!r}") from None

    def reconfigure(self, config: StreamConfig) -> None:
        """Take over other settings before the next chunk; in any thread.

        While the link is down they are kept, and told to the server when it is back.

        Raises:
            ConfigError: a field differs that may not change while a stream runs, or the server refuses one.
        """
        before = self.config
        before.check_live_change(config)
        changed = [f.name for f in fields(config) if getattr(config, f.name) != getattr(before, f.name)]
        _settings({name: getattr(config, name) for name in changed}, "settings")
        if not changed:
            return
        with self._configuring:
            done: Future[None] = Future()
            self._connection.post(lambda now_s: self._exchange.reconfigure(config, done))
            with suppress(futures.TimeoutError):  # then the link is about to be down
                done.result(ANSWER_S)

    def step(
        self,
        chunk: Chunk,
        vision: CodedFrames | None = None,
        budget: ChunkBudget | None = None,
        query: Query | None = None,
        hear: Callable[[str], object] | None = None,
    ) -> ChunkResult:
        """Have one chunk understood.

        Args:
            chunk: the next one; numbers may be left out, not repeated.
            vision: its frames, if `preprocess` has run already.
            budget: limits the time; no limit if not given.
            query: a question that rides in the chunk.
            hear: told the words so far while they are found, if the client was made with `partial`.

        Raises:
            LinkError: the chunk was not sent in time, was cancelled before it was in work, or its result was
                lost.
            EngineClosedError: the link is closed.
            SvlmError: as StreamSession.step.
        """
        budget = budget or ChunkBudget()
        if budget.cancelled:
            raise LinkError("the chunk was cancelled")
        coded = vision or self.preprocess(chunk)
        stamps_ns = [frame.stamp_ns for frame in chunk.frames]
        header = wire.Chunk(
            epoch=0,
            seq=0,
            index=chunk.index,
            stamps_ns=stamps_ns,
            height=coded.height,
            width=coded.width,
            picture=self._picture,
            query=query.text if query else "",
        )
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        flight = Flight(header, coded.pictures, budget.deadline_s, answers.put)
        self._connection.post(lambda now_s: self._exchange.submit(flight))
        budget.on_cancel(lambda: self._cancel(flight))
        self._connection.attend(lambda: not answers.empty())
        while isinstance(answer := answers.get(), str):
            if hear is not None:
                hear(answer)
            self._connection.attend(lambda: not answers.empty())
        if isinstance(answer, SvlmError):
            raise answer
        return replace(answer, stage_ms={"encode": coded.encode_ms, **answer.stage_ms})

    def words(self, said: str, /) -> str:
        """The text of what `hear` was told: that very text."""
        return said

    def reset(self) -> None:
        """Forget everything; what the server cannot be told now it is told before the next chunk.

        Raises:
            EngineClosedError: the link is closed.
        """
        done: Future[wire.Done] = Future()
        self._connection.post(lambda now_s: self._exchange.reset(done))
        if self.state.name == LIVE:
            with suppress(futures.TimeoutError):  # as above
                done.result(ANSWER_S)

    def close(self) -> None:
        """Say Bye, so that the server forgets the stream, and end; a chunk that waits fails."""
        self._connection.close()

    def _cancel(self, flight: Flight) -> None:
        with suppress(EngineClosedError):  # then the chunk has failed
            self._connection.post(lambda now_s: self._exchange.cancel(flight, now_s))

    def _ask(self, make: Callable[[int], wire.Message]) -> wire.Done:
        """Ask the server something that cannot wait.

        Raises:
            LinkError: the link is down, or the answer does not come.
            SvlmError: the server refuses.
        """
        state = self.state
        if state.name != LIVE:
            raise LinkError(f"the server cannot be asked now: the link is {state.name}", final=state.final)
        done: Future[wire.Done] = Future()
        self._connection.post(lambda now_s: self._exchange.ask(make, done))
        try:
            return done.result(ANSWER_S)
        except futures.TimeoutError:
            done.cancel()
            raise LinkError("the server does not answer") from None

    def _size_of_the_model(self, height: int, width: int) -> tuple[int, int]:
        """What the model scales such frames to; their own size while the server cannot be asked."""
        key = (self.model, height, width)
        if key not in self._sizes:
            try:
                done = self._ask(lambda number: wire.Size(number, height, width))
            except LinkError:
                return height, width
            self._sizes[key] = done.height, done.width
        return self._sizes[key]


def _label(text: str) -> str:
    return text[:_MOST_LABEL]


def _settings(values: Mapping[str, Any], where: str) -> wire.Settings:
    try:
        return msgspec.convert(dict(values), wire.Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from None
