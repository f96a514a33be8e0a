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

"""What a stream node has measured about itself, gathered from its threads for the diagnostics."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
import threading
import time

import numpy as np
from svlm_core.frames import FrameLedger

_RECENT_CALLBACKS = 1000
_RECENT_CHUNKS = 300  # five minutes at one chunk a second
_RATE_WINDOW_S = 5.0


@dataclass(frozen=True)
class Snapshot:
    """Measurements at one moment; what was not measured yet is None.

    Attributes:
        frames_in, frames_used, frames_pending: frames since the node was configured.
        frames_dropped: the same by reason.
        in_hz, used_hz, dropped_hz: rates over the last seconds.
        callback_ms_p99: image callbacks.
        chunks: chunks understood.
        chunk_ms_p50, chunk_ms_p95: from the arrival of a chunk's newest frame to its last word.
        age_s_p50, age_s_p95: age of a chunk's newest frame, by its stamp, when its words were ready.
        ahead_s: how far the newest stamp was ahead of the node's clock; 0 if it was not.
        came_old_s: how old the newest frame was already when it arrived.
        busy_s: time spent on the chunk in work; 0 if none is.
        idle_s: since the last chunk was understood, or since the model was ready.
        answers, refused: questions answered, and those that could not be asked.
        last_error: the latest thing that went wrong, "" if nothing did.
        since_error_s: how long ago.
    """

    frames_in: int = 0
    frames_used: int = 0
    frames_pending: int = 0
    frames_dropped: dict[str, int] = field(default_factory=dict)
    in_hz: float = 0.0
    used_hz: float = 0.0
    dropped_hz: dict[str, float] = field(default_factory=dict)
    callback_ms_p99: float | None = None
    chunks: int = 0
    chunk_ms_p50: float | None = None
    chunk_ms_p95: float | None = None
    age_s_p50: float | None = None
    age_s_p95: float | None = None
    ahead_s: float = 0.0
    came_old_s: float = 0.0
    busy_s: float = 0.0
    idle_s: float = 0.0
    answers: int = 0
    refused: int = 0
    last_error: str = ""
    since_error_s: float = 0.0


class Health:
    """Thread-safe; every method returns at once."""

    def __init__(self, ledger: FrameLedger) -> None:
        """Measure nothing yet; `ledger` counts the frames."""
        self._ledger = ledger
        self._lock = threading.Lock()
        self._callback_ms: deque[float] = deque(maxlen=_RECENT_CALLBACKS)
        self._chunk_ms: deque[float] = deque(maxlen=_RECENT_CHUNKS)
        self._age_s: deque[float] = deque(maxlen=_RECENT_CHUNKS)
        self._ahead_s = self._came_old_s = 0.0
        self._chunks = self._answers = self._refused = 0
        self._busy_since_s: float | None = None
        self._idle_since_s = time.monotonic()
        self._error, self._error_s = "", 0.0
        self._counts: deque[tuple[float, int, int, Counter[str]]] = deque()  # (when, in, used, dropped)

    def called_back(self, took_s: float) -> None:
        """An image callback has returned."""
        with self._lock:
            self._callback_ms.append(took_s * 1e3)

    def chunk_begins(self) -> None:
        """The model turns to a chunk."""
        with self._lock:
            self._busy_since_s = time.monotonic()

    def chunk_ends(self) -> None:
        """The model is done with it, or has failed."""
        with self._lock:
            self._busy_since_s, self._idle_since_s = None, time.monotonic()

    def chunk_understood(self, latency_s: float, age_s: float) -> None:
        """A chunk became words, or silence.

        Args:
            latency_s: since its newest frame arrived.
            age_s: of that frame by its stamp; below zero if the stamp is ahead of the node's clock.
        """
        with self._lock:
            self._chunks += 1
            self._chunk_ms.append(latency_s * 1e3)
            self._age_s.append(max(0.0, age_s))
            self._ahead_s = max(0.0, -age_s)
            self._came_old_s = max(0.0, age_s - latency_s)

    def ready(self) -> None:
        """The model is loaded."""
        self.chunk_ends()

    def forget_ages(self) -> None:
        """The clock jumped: ages measured by it say nothing any more."""
        with self._lock:
            self._age_s.clear()
            self._ahead_s = self._came_old_s = 0.0

    def answered(self) -> None:
        """A question was answered."""
        with self._lock:
            self._answers += 1

    def refused(self) -> None:
        """A question could not be asked."""
        with self._lock:
            self._refused += 1

    def failed(self, error: str) -> None:
        """Something went wrong."""
        with self._lock:
            self._error, self._error_s = error, time.monotonic()

    def snapshot(self) -> Snapshot:
        """All of it, now."""
        now_s = time.monotonic()
        ledger = self._ledger
        with self._lock:
            used, dropped = ledger.used, ledger.dropped
            counts = (now_s, ledger.received, used, dropped)
            self._counts.append(counts)
            while len(self._counts) > 2 and now_s - self._counts[0][0] > _RATE_WINDOW_S:
                self._counts.popleft()
            then_s, then_in, then_used, then_dropped = self._counts[0]
            span_s = max(now_s - then_s, 1e-9)
            chunk_ms, age_s = _percentiles(self._chunk_ms, 50, 95), _percentiles(self._age_s, 50, 95)
            return Snapshot(
                frames_in=counts[1],
                frames_used=used,
                frames_pending=max(0, counts[1] - used - dropped.total()),
                frames_dropped=dict(dropped),
                in_hz=(counts[1] - then_in) / span_s,
                used_hz=(used - then_used) / span_s,
                dropped_hz={name: n / span_s for name, n in (dropped - then_dropped).items()},
                callback_ms_p99=_percentiles(self._callback_ms, 99)[0],
                chunks=self._chunks,
                chunk_ms_p50=chunk_ms[0],
                chunk_ms_p95=chunk_ms[1],
                age_s_p50=age_s[0],
                age_s_p95=age_s[1],
                ahead_s=self._ahead_s,
                came_old_s=self._came_old_s,
                busy_s=0.0 if self._busy_since_s is None else now_s - self._busy_since_s,
                idle_s=now_s - self._idle_since_s,
                answers=self._answers,
                refused=self._refused,
                last_error=self._error,
                since_error_s=now_s - self._error_s if self._error else 0.0,
            )


def _percentiles(values: deque[float], *which: int) -> list[float | None]:
    return [float(value) for value in np.percentile(values, which)] if values else [None] * len(which)
