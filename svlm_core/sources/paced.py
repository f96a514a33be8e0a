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

"""Plays any source in real time."""

from __future__ import annotations

from collections.abc import Iterator
import threading
import time

from svlm_core.frames import Frame, NS_PER_S
from svlm_core.sources.source import Source


class Paced(Source):
    """A recorded source that behaves like a camera: each frame comes when its stamp is due.

    The first comes at once, and frames keep their own stamps, at any speed. Whoever is late with asking gets
    the overdue frames without waiting; none is skipped here.
    """

    live = True

    def __init__(self, source: Source, rate: float = 1.0) -> None:
        """Wrap a source; it is closed with this one.

        Args:
            source: a recorded one.
            rate: its speed; 2.0 plays it in half the time.
        """
        self.name, self.fps, self.frames_total = source.name, source.fps, source.frames_total
        self.frame_id, self.origin_ns = source.frame_id, source.origin_ns
        self._source = source
        self._rate = rate
        self._began: tuple[float, int] | None = None  # time.monotonic() and stamp of the first frame
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        """The source's frames, each at its time."""
        self._began = None
        for frame in self._source:
            self.broken = self._source.broken
            if self._began is None:
                self._began = (time.monotonic(), frame.stamp_ns)
            start_s, first_ns = self._began
            due_s = start_s + (frame.stamp_ns - first_ns) / NS_PER_S / self._rate
            if self._closed.wait(max(0.0, due_s - time.monotonic())):
                return
            yield frame
        self.broken = self._source.broken

    def position_ns(self) -> int | None:
        """The moment that is being played, on the clock of the frames' stamps; None before the first."""
        if self._began is None:
            return None
        start_s, first_ns = self._began
        return first_ns + round((time.monotonic() - start_s) * self._rate * NS_PER_S)

    def close(self) -> None:
        """End the iteration at once, also while it waits for a frame's time."""
        self._closed.set()
        self._source.close()
