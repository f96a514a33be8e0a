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

"""Chunks in, events out: the one place that numbers events, finds gaps and accounts for frames."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
import threading
import time
from typing import Any, Protocol

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.errors import NumericsError, QueryError
from svlm_core.events import (
    CommentaryEvent,
    KIND_ANSWER,
    KIND_COMMENTARY,
    KIND_GAP,
    KIND_PARTIAL,
    KIND_RESET,
)
from svlm_core.frames import Chunk, FrameLedger
from svlm_core.stream.budget import ChunkBudget
from svlm_core.stream.query import Query
from svlm_core.stream.result import ChunkResult, FINISH_DEADLINE, FINISH_LENGTH

MAX_WAITING_QUERIES = 16  # one is answered each chunk: whoever came later would wait too long for an answer
Prepared = Any  # what a stream has made of a chunk's frames; for its own `step` only
Saying = Any  # what a stream has said so far about the chunk in work; for its own `words` only
_RECENT_CHUNKS = 3600  # latencies the percentiles are taken from: memory must not grow with the stream


class Stream(Protocol):
    """A StreamSession, an EngineStream, or a Client of a server; what they have in common."""

    @property
    def config(self) -> StreamConfig:
        """Its settings, from the next chunk on."""

    @property
    def said_text(self) -> str:
        """The text so far, as far as it is remembered."""

    @property
    def cache_tokens(self) -> int:
        """Tokens in the KV cache."""

    @property
    def capacity_tokens(self) -> int:
        """Slots of the KV cache, 0 before the first chunk."""

    def preprocess(self, chunk: Chunk) -> Prepared:
        """Make a chunk's frames ready; in any thread."""

    def check_query(self, query: Query) -> None:
        """Make sure that a question can be asked; in any thread."""

    def reconfigure(self, config: StreamConfig) -> None:
        """Take over other settings before the next chunk; in any thread."""

    def step(
        self,
        chunk: Chunk,
        vision: Prepared | None,
        budget: ChunkBudget | None,
        query: Query | None,
        hear: Callable[[Saying], object] | None,
    ) -> ChunkResult:
        """Understand one chunk, in which a question may ride; `hear` is told what is said, in any thread."""

    def words(self, said: Saying, /) -> str:
        """The text of what `hear` was told."""

    def reset(self) -> None:
        """Forget everything."""


@dataclass(frozen=True)
class StreamSummary:
    """What became of a stream so far.

    Attributes:
        chunks: chunks understood.
        silent_chunks: chunks about which nothing was said.
        events: events given, gaps included.
        frames_received: frames that came in.
        frames_used: frames that the model saw.
        frames_dropped: frames that it did not see, by reason.
        latency_ms_p50: median of the recent chunks' latency, from handing over to words.
        latency_ms_p99: 99th percentile of the same.
        cache_tokens: tokens in the KV cache now.
    """

    chunks: int
    silent_chunks: int
    events: int
    frames_received: int
    frames_used: int
    frames_dropped: dict[str, int]
    latency_ms_p50: float
    latency_ms_p99: float
    cache_tokens: int


class Commentator:
    """Runs a stream and speaks in events.

    `ask`, `reconfigure` and `cancel` may be called from any thread; the rest belongs to one.

    Attributes:
        frame_id: coordinate frame that the events carry.
        last: the stream's result for the last chunk, None before the first.
    """

    def __init__(
        self,
        stream: Stream,
        ledger: FrameLedger,
        camera: str,
        frame_id: str = "",
        hear: Callable[[CommentaryEvent], object] | None = None,
    ) -> None:
        """Comment on one camera.

        Args:
            stream: nobody else may step it.
            ledger: counts this camera's frames.
            camera: name that the events carry.
            frame_id: coordinate frame that the events carry.
            hear: told an event of kind `partial` whenever words were found, while `take` works on a chunk;
                in whatever thread found them, so it must be quick.
        """
        self.last: ChunkResult | None = None
        self.frame_id = frame_id
        self._stream, self._ledger, self._camera, self._hear = stream, ledger, camera, hear
        self._budget = ChunkBudget()
        self._next_chunk = 0
        self._chunks = self._silent = self._events = 0
        self._dropped_before: Counter[str] = Counter()
        self._newest_ns: int | None = None  # of the chunk before
        self._latency_ms: deque[float] = deque(maxlen=_RECENT_CHUNKS)
        self._asking = threading.Lock()
        self._asked: deque[Query] = deque()  # not answered yet, oldest first
        self._unfinished = ""  # id of the question whose answer goes on in the next chunk
        self._owed: list[CommentaryEvent] = []  # events that an error kept from being handed out

    def ask(self, query: Query) -> None:
        """Ask the stream something: the oldest waiting question rides in the next chunk.

        What the model says about that chunk becomes an event of kind `answer` with the question's id, exactly
        one for each question, even if it has no words. A chunk that the model never ran on (it was refused,
        replaced or cancelled) leaves its question to the next one.

        Raises:
            QueryError: the question is longer than max_query_tokens, or MAX_WAITING_QUERIES wait already.
        """
        self._stream.check_query(query)
        with self._asking:
            if len(self._asked) >= MAX_WAITING_QUERIES:
                raise QueryError(
                    f"{MAX_WAITING_QUERIES} questions wait for an answer already, and one is answered each "
                    "chunk; ask again later"
                )
            self._asked.append(query)

    def reconfigure(self, config: StreamConfig) -> None:
        """Take over other settings before the next chunk.

        Raises:
            ConfigError: as StreamSession.reconfigure; nothing has changed.
        """
        self._stream.reconfigure(config)

    def take(
        self, chunk: Chunk, arrived_s: float | None = None, vision: Prepared | None = None
    ) -> list[CommentaryEvent]:
        """Understand a chunk.

        Args:
            chunk: the next one.
            arrived_s: `time.monotonic()` when its newest frame of a live camera was handed over; the words
                end when `chunk_budget_s` has passed since then. Not given: it is handed over now and has all
                the time it needs.
            vision: its frames, if `Stream.preprocess` has run already.

        Returns:
            A gap event if chunks are missing before this one, a reset if the stream had lost its memory, then
            the answer if the chunk was asked, else the words if there are any.

        Raises:
            NumericsError: as StreamSession.step. The next call, or restart or dismiss, returns first that
                everything is forgotten, and an answer without words if the chunk was asked: no question is
                put to the model twice.
            QueryError: the model's machine refuses the question that check_query let pass; it is answered
                without words, as after a NumericsError.
            SvlmError: as StreamSession.step; the question stays for the next chunk.
        """
        config = self._stream.config
        deadline_s = None if arrived_s is None else arrived_s + (config.chunk_budget_s or config.chunk_s)
        self._budget = ChunkBudget(deadline_s)
        arrived_s = time.monotonic() if arrived_s is None else arrived_s
        oldest_ns, newest_ns = chunk.frames[0].stamp_ns, chunk.frames[-1].stamp_ns
        query = self._asked[0] if self._asked else None
        hear = self._partial(chunk, arrived_s, query) if self._hear else None
        try:
            self.last = result = self._stream.step(chunk, vision, self._budget, query, hear)
        except NumericsError as error:
            self._owed.append(self._event(str(error), KIND_RESET, chunk.index, (newest_ns, newest_ns)))
            if query:
                self._owed += self._dismiss(1, chunk.index, (oldest_ns, newest_ns))
            self._unfinished = ""
            raise
        except QueryError:
            self._owed += self._dismiss(1, chunk.index, (oldest_ns, newest_ns))
            raise
        latency_ms = (time.monotonic() - arrived_s) * 1e3
        self._ledger.use(len(chunk.frames))
        self._latency_ms.append(latency_ms)
        events, self._owed = self._owed, []
        if chunk.index > self._next_chunk:
            missed_ns = (oldest_ns if self._newest_ns is None else self._newest_ns, oldest_ns)
            events.append(self._event("", KIND_GAP, chunk.index, missed_ns))
        if result.forgot:
            last_ns = self._newest_ns or 0
            events.append(self._event(result.forgot, KIND_RESET, chunk.index, (last_ns, last_ns)))
            self._unfinished = ""
        kind, query_id = KIND_COMMENTARY, self._unfinished
        if query and result.token_ids:  # without tokens it was cancelled before the model saw the question
            kind, query_id = KIND_ANSWER, self._asked.popleft().query_id
        if result.text or kind == KIND_ANSWER:
            about = (chunk.index, (oldest_ns, newest_ns), len(chunk.frames))
            events.append(self._event(result.text, kind, *about, latency_ms, query_id))
        self._unfinished = query_id if result.finish in (FINISH_LENGTH, FINISH_DEADLINE) else ""
        self._chunks += 1
        self._silent += not result.text
        self._next_chunk, self._newest_ns = chunk.index + 1, newest_ns
        return events

    def cancel(self) -> None:
        """End the chunk in work after the step it is in; from any thread."""
        self._budget.cancel()

    def restart(self, frame_id: str, reason: str) -> list[CommentaryEvent]:
        """Begin a new stream of this camera: the session forgets, chunks count from 0, events count on.

        Questions that wait are asked in the new stream.

        Args:
            frame_id: coordinate frame that the events carry from now on.
            reason: why, in plain words: "time jumped back by 3.2 s".

        Returns:
            What is owed after an error, then an event of kind `reset`, about the old stream's last frame.
        """
        self._stream.reset()
        self.frame_id = frame_id
        last_ns = self._newest_ns or 0
        events = [*self._owed, self._event(reason, KIND_RESET, 0, (last_ns, last_ns))]
        self._next_chunk, self._newest_ns, self._unfinished, self._owed = 0, None, "", []
        return events

    def dismiss(self) -> list[CommentaryEvent]:
        """Answer all questions that wait, without words; for when no further chunk will come.

        Returns:
            What is owed after an error, then the answers, about the last frame.
        """
        owed, self._owed = self._owed, []
        last_ns = self._newest_ns or 0
        return owed + self._dismiss(len(self._asked), max(0, self._next_chunk - 1), (last_ns, last_ns))

    def summary(self) -> StreamSummary:
        """Counts and latencies so far."""
        p50, p99 = np.percentile(self._latency_ms, (50, 99)) if self._latency_ms else (0.0, 0.0)
        ledger = self._ledger
        return StreamSummary(
            self._chunks,
            self._silent,
            self._events,
            ledger.received,
            ledger.used,
            dict(ledger.dropped),
            float(p50),
            float(p99),
            self._stream.cache_tokens,
        )

    def _partial(self, chunk: Chunk, arrived_s: float, query: Query | None) -> Callable[[Saying], object]:
        """What tells about the words of a chunk while they are found."""
        seq = self._events + (chunk.index > self._next_chunk)  # a gap is told first
        query_id = query.query_id if query else self._unfinished
        span_ns = (chunk.frames[0].stamp_ns, chunk.frames[-1].stamp_ns)
        about = (self._camera, self.frame_id, chunk.index, *span_ns, len(chunk.frames))

        def hear(said: Saying) -> None:
            text = self._stream.words(said)
            if text and self._hear is not None:
                latency_ms = round((time.monotonic() - arrived_s) * 1e3, 3)
                self._hear(CommentaryEvent(text, KIND_PARTIAL, seq, *about, {}, latency_ms, query_id))

        return hear

    def _dismiss(self, count: int, chunk_index: int, span_ns: tuple[int, int]) -> list[CommentaryEvent]:
        """Answers without words for the oldest `count` waiting questions."""
        queries = [self._asked.popleft() for _ in range(count)]
        return [
            self._event("", KIND_ANSWER, chunk_index, span_ns, query_id=query.query_id) for query in queries
        ]

    def _event(
        self,
        text: str,
        kind: str,
        chunk_index: int,
        span_ns: tuple[int, int],
        used: int = 0,
        latency_ms: float = 0.0,
        query_id: str = "",
    ) -> CommentaryEvent:
        dropped = self._ledger.dropped
        since = dict(dropped - self._dropped_before)
        self._dropped_before = dropped
        seq, self._events = self._events, self._events + 1
        about = (self._camera, self.frame_id, chunk_index, *span_ns, used, since, round(latency_ms, 3))
        return CommentaryEvent(text, kind, seq, *about, query_id)
