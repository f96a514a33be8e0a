"""Plays any source in real time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from svlm_core.frames import NS_PER_S, Frame
from svlm_core.sources.source import Source


class Paced(Source):
    """A recorded source that behaves like a camera: each frame comes when its stamp is due.

    The first comes at once, and frames keep their own stamps. Whoever is late with asking gets the overdue
    frames without waiting; none is skipped here.
    """

    live = True

    def __init__(self, source: Source) -> None:
        """Wrap a source; it is closed with this one."""
        self.name, self.fps, self.frames_total = source.name, source.fps, source.frames_total
        self.frame_id, self.origin_ns = source.frame_id, source.origin_ns
        self._source = source
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        """The source's frames, each at its time."""
        start_s, first_ns = 0.0, None
        for frame in self._source:
            self.broken = self._source.broken
            if first_ns is None:
                start_s, first_ns = time.monotonic(), frame.stamp_ns
            due_s = start_s + (frame.stamp_ns - first_ns) / NS_PER_S
            if self._closed.wait(max(0.0, due_s - time.monotonic())):
                return
            yield frame
        self.broken = self._source.broken

    def close(self) -> None:
        """End the iteration at once, also while it waits for a frame's time."""
        self._closed.set()
        self._source.close()
