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

"""Live sources that come back: what is lost is opened again, ever more patiently."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
import random
import threading
import time

from svlm_core.errors import SourceError
from svlm_core.frames import Frame
from svlm_core.sources.open import is_live, live_name, open_source
from svlm_core.sources.source import Source

_MOST_DOUBLINGS = 60  # far beyond any longest_s, and still a float


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a lost source is opened again.

    Attributes:
        first_s: the longest first wait; the waits double from there.
        longest_s: no wait is longer, however long the source stays away.
        jitter: each wait is shortened by a random share of itself, up to this one, so that the cameras
            behind one switch do not all come back in the same moment.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    jitter: float = 0.2

    def delay_s(self, attempt: int, chance: float) -> float:
        """The wait before an attempt.

        Args:
            attempt: 0 for the first one since the last good frame.
            chance: a random number in [0, 1].
        """
        doubled_s = self.first_s * 2.0 ** min(attempt, _MOST_DOUBLINGS)
        return min(doubled_s, self.longest_s) * (1.0 - self.jitter * chance)


class Reconnecting(Source):
    """One live source over as many connections as it takes.

    A connection that breaks, or that ends although nothing said how long it would be, is opened again. Frames
    keep the stamps of the system clock, so the time without a camera is a gap in the stamps. A recording that
    a server sends (`frames_total` is known) is not begun again: its end is an end, a break is an error.
    """

    live = True
    frames_total = None

    def __init__(
        self,
        connect: Callable[[], Source],
        name: str,
        report: Callable[[str], object],
        first: Source | None = None,
        backoff: Backoff = Backoff(),
    ) -> None:
        """Prepare; nothing is opened before the iteration.

        Args:
            connect: opens the source once; raises SourceError.
            name: of the source, for events and messages.
            report: told in one line when the source is lost, at every failed attempt, and when it is back.
            first: the first connection, where it is open already.
            backoff: how long to wait between attempts.
        """
        self.name = name
        self.fps = 0.0 if first is None else first.fps
        self._connect, self._report, self._backoff = connect, report, backoff
        self._source = first
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        """Frames until close(), or until a recording has ended.

        Raises:
            SourceError: a recording broke.
        """
        attempt, good_s = 0, time.monotonic()
        while not self._closed.is_set():
            try:
                source = self._connection()
                for frame in source:
                    if attempt:
                        self._report(f"{self.name} is back after {time.monotonic() - good_s:.0f} s")
                    attempt, good_s = 0, time.monotonic()
                    yield frame
                if source.frames_total is not None:
                    return
                loss = f"{self.name}: the stream ended"
            except SourceError as error:
                if self._source is not None and self._source.frames_total is not None:
                    raise
                loss = str(error)
            self._source = None
            if self._closed.is_set():
                return
            delay_s = self._backoff.delay_s(attempt, random.random())
            self._report(f"{loss}; trying again in {delay_s:.1f} s")
            self._closed.wait(delay_s)
            attempt += 1

    def close(self) -> None:
        """End the iteration at its next frame, and at once where it waits for the next attempt."""
        self._closed.set()
        source = self._source
        if source is not None:
            source.close()

    def _connection(self) -> Source:
        if self._source is None:
            self._source = self._connect()
            self.fps = self._source.fps
            if self._closed.is_set():  # while it was being opened
                self._source.close()
        return self._source


def open_lasting(
    spec: str, report: Callable[[str], object], *, folder_fps: float = 2.0, patient: bool = False
) -> Source:
    """Open a source as open_source does, but a live one comes back when it is lost.

    Args:
        spec: what open_source takes.
        report: see Reconnecting.
        folder_fps: frame rate of a folder of pictures.
        patient: wait also for a live source that cannot be opened at first, as when the robot has booted
            before its camera; otherwise that is an error.

    Raises:
        SourceError: as open_source.
    """
    if not is_live(spec):
        return open_source(spec, folder_fps)
    first = None if patient else open_source(spec)
    return Reconnecting(lambda: open_source(spec), live_name(spec), report, first)
