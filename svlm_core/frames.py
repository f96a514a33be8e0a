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

"""Frames, chunks of frames, and the latest-wins mailbox, with exact accounting.

Every frame that enters ends in one of three places, and the counters say which:
`frames in = used + dropped{reason} + pending`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
import threading
from typing import Generic, Protocol, TypeVar

import numpy as np
from svlm_core.errors import SourceError

NS_PER_S = 1_000_000_000
MIN_SIDE_PX = 28  # one merged visual token of the Qwen-VL families; below it there is nothing to see

DROPPED_RATE = "rate"  # the source is faster than the model's frame rate
DROPPED_STALE = "stale"  # a newer chunk replaced it before the model was free
DROPPED_SIZE = "size"  # not the size the stream began with
DROPPED_BROKEN = "broken"  # a message that is not a picture
DROPPED_LATE = "late"  # its stamp is older than one already seen
DROPPED_LINK = "link"  # the link to the model's machine was down, or lost them


@dataclass(frozen=True)
class Frame:
    """One picture.

    Attributes:
        stamp_ns: acquisition time in nanoseconds, on the source's own clock.
        rgb: uint8 array [H, W, 3], RGB, contiguous.
        source: where it came from, for messages ("clip.mp4", "/camera/image_raw").
    """

    stamp_ns: int
    rgb: np.ndarray
    source: str = ""

    def __post_init__(self) -> None:
        """Raise SourceError when the picture is not uint8 [H, W, 3] with both sides at least MIN_SIDE_PX."""
        where = self.source or "frame"
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3:
            raise SourceError(
                f"{where}: a frame must be uint8 [H, W, 3], got {self.rgb.dtype} {list(self.rgb.shape)}"
            )
        height, width = self.rgb.shape[:2]
        if min(height, width) < MIN_SIDE_PX:
            raise SourceError(
                f"{where}: a {width}x{height} picture is too small, "
                f"both sides must be at least {MIN_SIDE_PX} px"
            )

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.rgb.shape[:2]
        return height, width


@dataclass(frozen=True)
class Chunk:
    """The frames of one chunk of time, all of one size.

    Attributes:
        index: number of the chunk since the stream began; a gap in the stream is a gap in the numbers.
        frames: 1 to chunk_s x fps frames, oldest first.
    """

    index: int
    frames: tuple[Frame, ...]

    def rgb(self) -> np.ndarray:
        """The pictures as one uint8 array [T, H, W, 3]."""
        return np.stack([frame.rgb for frame in self.frames])


class Stamped(Protocol):
    """What sorting by time needs of a frame; its picture may not be decoded yet."""

    @property
    def stamp_ns(self) -> int:
        """Acquisition time."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width."""

    @property
    def source(self) -> str:
        """Where it came from, for messages."""


class Framed(Protocol):
    """A chunk, of frames or of what will become frames."""

    @property
    def frames(self) -> Sequence[object]:
        """The frames, oldest first."""


AnyFrame = TypeVar("AnyFrame", bound=Stamped)
AnyChunk = TypeVar("AnyChunk", bound=Framed)


class FrameLedger:
    """Thread-safe counters of what became of every frame: `received = used + sum(dropped) + pending`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = 0
        self._used = 0
        self._dropped: Counter[str] = Counter()

    def receive(self) -> None:
        """Count a frame that came in."""
        with self._lock:
            self._received += 1

    def use(self, frames: int) -> None:
        """Count frames that the model saw."""
        with self._lock:
            self._used += frames

    def drop(self, reason: str, frames: int = 1) -> None:
        """Count frames that the model will not see."""
        with self._lock:
            self._dropped[reason] += frames

    @property
    def received(self) -> int:
        """Frames that came in so far."""
        return self._received

    @property
    def used(self) -> int:
        """Frames that the model saw so far."""
        return self._used

    @property
    def dropped(self) -> Counter[str]:
        """Frames dropped so far, by reason (a copy)."""
        with self._lock:
            return self._dropped.copy()

    @property
    def pending(self) -> int:
        """Frames that were received and are neither used nor dropped yet."""
        with self._lock:
            return self._received - self._used - self._dropped.total()


class TimeSlots(Generic[AnyFrame]):
    """Sorts frames into chunks of time, keeping the first frame of every 1/fps slot.

    A slot opens a quarter of its length early, so a camera whose clock jitters by less than that loses
    no frame of its nominal rate. A chunk is complete as soon as its last slot is filled, without waiting
    for the next frame, or when a frame of a later chunk arrives.
    """

    def __init__(self, chunk_s: float, fps: float, ledger: FrameLedger) -> None:
        self._slots = max(1, round(chunk_s * fps))
        self._slot_ns = round(chunk_s * NS_PER_S) // self._slots
        self._ledger = ledger
        self._origin_ns: int | None = None
        self._newest_ns = 0
        self._size_px = (0, 0)
        self._index = 0  # the chunk being filled
        self._filled: dict[int, AnyFrame] = {}  # slot -> frame

    def push(self, frame: AnyFrame) -> list[tuple[int, tuple[AnyFrame, ...]]]:
        """Take one frame; return the chunks it completed, oldest first: none, one or two (index, frames).

        Raises:
            SourceError: the frame is not of the size the stream began with.
        """
        self._ledger.receive()
        if self._origin_ns is None:
            self._origin_ns, self._newest_ns, self._size_px = frame.stamp_ns, frame.stamp_ns, frame.size_px
        if frame.size_px != self._size_px:
            self._ledger.drop(DROPPED_SIZE)
            (was_h, was_w), (now_h, now_w) = self._size_px, frame.size_px
            raise SourceError(
                f"{frame.source or 'frame'}: the size changed from {was_w}x{was_h} to {now_w}x{now_h} "
                f"{(frame.stamp_ns - self._origin_ns) / NS_PER_S:.1f} s into the stream"
            )
        if frame.stamp_ns < self._newest_ns:
            self._ledger.drop(DROPPED_LATE)
            return []
        self._newest_ns = frame.stamp_ns
        slot_number = (4 * (frame.stamp_ns - self._origin_ns) + self._slot_ns) // (4 * self._slot_ns)
        index, slot = divmod(slot_number, self._slots)
        done: list[tuple[int, tuple[AnyFrame, ...]]] = []
        if index > self._index:
            done += self.flush()
            self._index = index
        if index < self._index or slot in self._filled:
            self._ledger.drop(DROPPED_RATE)
            return done
        self._filled[slot] = frame
        if slot == self._slots - 1:
            done += self.flush()
        return done

    def flush(self) -> list[tuple[int, tuple[AnyFrame, ...]]]:
        """Complete the chunk being filled with what it has; none when it is empty."""
        if not self._filled:
            return []
        done = (self._index, tuple(self._filled.values()))
        self._filled = {}
        self._index += 1
        return [done]


class Chunker:
    """TimeSlots of decoded frames: gives chunks that a model can see."""

    def __init__(self, chunk_s: float, fps: float, ledger: FrameLedger) -> None:
        self._slots: TimeSlots[Frame] = TimeSlots(chunk_s, fps, ledger)

    def push(self, frame: Frame) -> list[Chunk]:
        """As TimeSlots.push."""
        return [Chunk(*done) for done in self._slots.push(frame)]

    def flush(self) -> list[Chunk]:
        """As TimeSlots.flush."""
        return [Chunk(*done) for done in self._slots.flush()]


class LatestMailbox(Generic[AnyChunk]):
    """Holds at most one chunk between a camera thread and the model's thread: the newest wins.

    The chunk that is replaced is counted in the ledger as DROPPED_STALE, so speech never queues sight.
    """

    def __init__(self, ledger: FrameLedger) -> None:
        self._ledger = ledger
        self._changed = threading.Condition()
        self._chunk: AnyChunk | None = None
        self._closed = False

    def put(self, chunk: AnyChunk) -> None:
        """Leave the newest chunk, replacing one that was not fetched."""
        with self._changed:
            if self._chunk is not None:
                self._ledger.drop(DROPPED_STALE, len(self._chunk.frames))
            self._chunk = chunk
            self._changed.notify()

    def get(self, timeout_s: float | None = None) -> AnyChunk | None:
        """Wait for a chunk and take it. None once the mailbox is closed and empty, or after timeout_s."""
        with self._changed:
            self._changed.wait_for(lambda: self._chunk is not None or self._closed, timeout_s)
            chunk, self._chunk = self._chunk, None
            return chunk

    def close(self) -> None:
        """Say that no chunk will follow; a chunk still inside can be fetched."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """True once closed and emptied."""
        with self._changed:
            return self._closed and self._chunk is None
