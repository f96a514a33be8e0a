"""Chunks in, events out: the one place that numbers events, finds gaps and accounts for frames."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from svlm_core.config import StreamConfig
from svlm_core.events import KIND_COMMENTARY, KIND_GAP, CommentaryEvent
from svlm_core.frames import Chunk, FrameLedger
from svlm_core.model.vision import VisionInput
from svlm_core.stream.session import ChunkBudget, ChunkResult

_RECENT_CHUNKS = 3600  # latencies the percentiles are taken from: memory must not grow with the stream


class Stream(Protocol):
    """A StreamSession, or an EngineStream; what they have in common."""

    config: StreamConfig

    @property
    def cache_tokens(self) -> int:
        """Tokens in the KV cache."""

    @property
    def capacity_tokens(self) -> int:
        """Slots of the KV cache, 0 before the first chunk."""

    def preprocess(self, chunk: Chunk) -> VisionInput:
        """Make a chunk's frames ready; in any thread."""

    def step(self, chunk: Chunk, vision: VisionInput | None, budget: ChunkBudget | None) -> ChunkResult:
        """Understand one chunk."""

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

    Attributes:
        last: the stream's result for the last chunk, None before the first.
    """

    def __init__(self, stream: Stream, ledger: FrameLedger, camera: str, frame_id: str = "") -> None:
        """Comment on one camera.

        Args:
            stream: nobody else may step it.
            ledger: counts this camera's frames.
            camera: name that the events carry.
            frame_id: coordinate frame that the events carry.
        """
        self.last: ChunkResult | None = None
        self._stream, self._ledger, self._camera, self._frame_id = stream, ledger, camera, frame_id
        self._budget = ChunkBudget()
        self._next_chunk = 0
        self._chunks = self._silent = self._events = 0
        self._dropped_before: Counter[str] = Counter()
        self._newest_ns: int | None = None  # of the chunk before
        self._latency_ms: deque[float] = deque(maxlen=_RECENT_CHUNKS)

    def take(
        self, chunk: Chunk, arrived_s: float | None = None, vision: VisionInput | None = None
    ) -> list[CommentaryEvent]:
        """Understand a chunk.

        Args:
            chunk: the next one.
            arrived_s: `time.monotonic()` when its newest frame of a live camera was handed over; the words
                end when `chunk_budget_s` has passed since then. Not given: it is handed over now and has all
                the time it needs.
            vision: its frames, if `Stream.preprocess` has run already.

        Returns:
            A gap event if chunks are missing before this one, then the words if there are any.

        Raises:
            SvlmError: as StreamSession.step.
        """
        config = self._stream.config
        deadline_s = None if arrived_s is None else arrived_s + (config.chunk_budget_s or config.chunk_s)
        self._budget = ChunkBudget(deadline_s)
        arrived_s = time.monotonic() if arrived_s is None else arrived_s
        oldest_ns, newest_ns = chunk.frames[0].stamp_ns, chunk.frames[-1].stamp_ns
        self.last = self._stream.step(chunk, vision, self._budget)
        latency_ms = (time.monotonic() - arrived_s) * 1e3
        self._ledger.use(len(chunk.frames))
        self._latency_ms.append(latency_ms)
        events = []
        if chunk.index > self._next_chunk:
            missed_ns = (oldest_ns if self._newest_ns is None else self._newest_ns, oldest_ns)
            events.append(self._event("", KIND_GAP, chunk.index, missed_ns, 0, 0.0))
        if self.last.text:
            seen_ns = (oldest_ns, newest_ns)
            frames = len(chunk.frames)
            events.append(
                self._event(self.last.text, KIND_COMMENTARY, chunk.index, seen_ns, frames, latency_ms)
            )
        self._chunks += 1
        self._silent += not self.last.text
        self._next_chunk, self._newest_ns = chunk.index + 1, newest_ns
        return events

    def cancel(self) -> None:
        """End the chunk in work after the step it is in; from any thread."""
        self._budget.cancel()

    def restart(self, frame_id: str) -> None:
        """Begin a new stream of this camera: the session forgets, chunks count from 0, events count on."""
        self._stream.reset()
        self._next_chunk, self._newest_ns = 0, None
        self._frame_id = frame_id

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

    def _event(
        self, text: str, kind: str, chunk_index: int, span_ns: tuple[int, int], used: int, latency_ms: float
    ) -> CommentaryEvent:
        dropped = self._ledger.dropped
        since = dict(dropped - self._dropped_before)
        self._dropped_before = dropped
        seq, self._events = self._events, self._events + 1
        camera, frame_id = self._camera, self._frame_id
        return CommentaryEvent(
            text, kind, seq, camera, frame_id, chunk_index, *span_ns, used, since, round(latency_ms, 3)
        )
