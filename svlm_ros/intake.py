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

"""From image messages to the newest chunk; a new stream begins where the old one cannot go on."""

from __future__ import annotations

from dataclasses import dataclass
import threading

from svlm_core.config import StreamConfig
from svlm_core.errors import SourceError, SvlmError
from svlm_core.frames import Chunk, DROPPED_BROKEN, Frame, FrameLedger, LatestMailbox, NS_PER_S, TimeSlots
from svlm_ros.pictures import SealedPicture

DROPPED_DISABLED = "disabled"  # came while the node was told not to look
DROPPED_STOPPED = "stopped"  # still waited when the node was deactivated


@dataclass(frozen=True)
class CameraChunk:
    """A chunk as it came from a camera topic, not decoded yet.

    Attributes:
        index: number of the chunk since its stream began.
        frames: its pictures, oldest first; none when only a new stream is announced.
        stream: number of the stream it belongs to; the model's memory does not reach across streams.
        restarted: why that stream began; "" for the first.
        frame_id: the camera's coordinate frame.
    """

    index: int
    frames: tuple[SealedPicture, ...]
    stream: int
    restarted: str
    frame_id: str

    def open(self, ledger: FrameLedger) -> tuple[Chunk | None, str]:
        """Decode the pictures; those that cannot be are counted as DROPPED_BROKEN.

        Returns:
            The chunk, None when no picture is left, and what was wrong with the last bad one ("": nothing).
        """
        frames, broken = [], ""
        for picture in self.frames:
            try:
                frames.append(Frame(picture.stamp_ns, picture.open(), picture.source))
            except SvlmError as error:
                ledger.drop(DROPPED_BROKEN)
                broken = str(error)
        return (Chunk(self.index, tuple(frames)) if frames else None), broken


class Intake:
    """Sorts a camera's pictures into chunks for one inference thread, which calls `take`.

    Everything else may be called from any thread, and returns at once.
    """

    def __init__(self, config: StreamConfig, ledger: FrameLedger, where: str) -> None:
        """Make an empty intake.

        Args:
            config: gives the chunk's length and the frame rate.
            ledger: counts what becomes of every frame.
            where: name of the frames' origin in messages, for example the topic.
        """
        self._config = config
        self._ledger = ledger
        self._where = where
        self._lock = threading.Lock()
        self._mailbox: LatestMailbox[CameraChunk] = LatestMailbox(ledger)
        self._stream, self._restarted, self._frame_id = 0, "", ""
        self._slots: TimeSlots[SealedPicture] = TimeSlots(config.chunk_s, config.fps, ledger)
        self._newest_ns: int | None = None
        self._closed = False

    def push(self, picture: SealedPicture, frame_id: str) -> str:
        """Take one picture of the camera whose coordinate frame is `frame_id`.

        Returns:
            Why a new stream was begun with this picture, "" when none was.
        """
        with self._lock:
            if self._closed:
                self._ledger.receive()
                self._ledger.drop(DROPPED_STOPPED)
                return ""
            self._frame_id = frame_id
            reason = self._back_in_time(picture.stamp_ns)
            if reason:
                self._restart(reason)
            try:
                chunks = self._slots.push(picture)
            except SourceError as error:
                self._restart(str(error))
                return str(
                    error
                )  # this one picture stays counted as DROPPED_SIZE; the next one opens the stream
            self._newest_ns = max(picture.stamp_ns, self._newest_ns or picture.stamp_ns)
            self._hand_over(chunks)
            return reason

    def rewind(self, now_ns: int) -> str:
        """Say that the clock was set back and reads `now_ns`; returns why a new stream was begun, or ""."""
        with self._lock:
            reason = "" if self._closed else self._back_in_time(now_ns)
            if reason:
                self._restart(reason)
            return reason

    def restart(self, reason: str) -> None:
        """Begin a new stream; the next `take` announces it even if no picture follows."""
        with self._lock:
            if not self._closed:
                self._restart(reason)

    def hurry(self) -> None:
        """Hand over the chunk being filled with what it has, if it has something."""
        with self._lock:
            if not self._closed:
                self._hand_over(self._slots.flush())

    def discard(self, reason: str) -> None:
        """Drop the pictures that wait, counted under `reason`."""
        with self._lock:
            self._discard(reason)

    def refuse(self, reason: str) -> None:
        """Count a message that is not taken."""
        self._ledger.receive()
        self._ledger.drop(reason)

    def take(self) -> CameraChunk | None:
        """Wait for the newest chunk; None once closed."""
        return self._mailbox.get()

    def close(self) -> None:
        """Wake whoever waits in `take`, for good; pictures that wait are dropped as DROPPED_STOPPED."""
        with self._lock:
            self._closed = True
            self._discard(DROPPED_STOPPED)
            self._mailbox.close()

    def _back_in_time(self, now_ns: int) -> str:
        back_ns = 0 if self._newest_ns is None else self._newest_ns - now_ns
        if back_ns <= self._config.chunk_s * NS_PER_S:
            return ""
        return f"{self._where}: time jumped back by {back_ns / NS_PER_S:.1f} s"

    def _restart(self, reason: str) -> None:
        self._hand_over(self._slots.flush())
        self._slots = TimeSlots(self._config.chunk_s, self._config.fps, self._ledger)
        self._newest_ns = None
        self._stream += 1
        self._restarted = reason
        self._hand_over([(0, ())])

    def _discard(self, reason: str) -> None:
        for _, frames in self._slots.flush():
            self._ledger.drop(reason, len(frames))
        waiting = self._mailbox.get(0.0)
        if waiting is None:
            return
        self._ledger.drop(reason, len(waiting.frames))
        if waiting.restarted and not self._closed:  # the announcement must not be lost with the pictures
            self._hand_over([(0, ())])

    def _hand_over(self, chunks: list[tuple[int, tuple[SealedPicture, ...]]]) -> None:
        for index, frames in chunks:
            self._mailbox.put(CameraChunk(index, frames, self._stream, self._restarted, self._frame_id))
