"""From pictures with stamps to the newest chunk; a new stream begins where the old one cannot go on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from svlm_core.config import StreamConfig
from svlm_core.errors import SourceError
from svlm_core.frames import NS_PER_S, Chunk, Chunker, Frame, FrameLedger, LatestMailbox

DROPPED_BROKEN = "broken"  # a message that is not a picture


@dataclass(frozen=True)
class CameraChunk(Chunk):
    """A chunk as it came from a camera topic.

    Attributes:
        stream: number of the stream it belongs to; the model's memory does not reach across streams.
        reason: why that stream was begun, "" for the first.
        frame_id: the camera's coordinate frame.
        arrived_s: time.monotonic() when the newest of its frames arrived.
    """

    stream: int
    reason: str
    frame_id: str
    arrived_s: float


class Intake:
    """Turns frames into chunks for one inference thread. `push` belongs to one thread, `take` to another."""

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
        self._mailbox: LatestMailbox[CameraChunk] = LatestMailbox(ledger)
        self._stream, self._reason = 0, ""
        self._chunker = Chunker(config.chunk_s, config.fps, ledger)
        self._newest_ns: int | None = None
        self._arrived_s: dict[int, float] = {}  # stamp of a frame in the open chunk -> when it arrived

    def push(self, rgb: np.ndarray, stamp_ns: int, frame_id: str, arrived_s: float) -> str:
        """Take one picture.

        Args:
            rgb: uint8 array [H, W, 3].
            stamp_ns: its acquisition time.
            frame_id: the camera's coordinate frame.
            arrived_s: time.monotonic() when it arrived.

        Returns:
            Why a new stream was begun with this picture, "" when none was.

        Raises:
            SourceError: the picture is not one a model can see; it is counted as DROPPED_BROKEN.
        """
        try:
            frame = Frame(stamp_ns, rgb, self._where)
        except SourceError:
            self.count_broken()
            raise
        reason = ""
        back_ns = 0 if self._newest_ns is None else self._newest_ns - stamp_ns
        if back_ns > self._config.chunk_s * NS_PER_S:
            reason = f"{self._where}: time jumped back by {back_ns / NS_PER_S:.1f} s"
            self._restart(frame_id, reason)
        self._arrived_s[stamp_ns] = arrived_s
        try:
            chunks = self._chunker.push(frame)
        except SourceError as error:
            self._restart(frame_id, str(error))
            return str(error)  # this one picture stays counted as DROPPED_SIZE; the next one opens the stream
        self._newest_ns = stamp_ns if self._newest_ns is None else max(stamp_ns, self._newest_ns)
        self._hand_over(chunks, frame_id)
        return reason

    def count_broken(self) -> None:
        """Count a message that is not a picture."""
        self._ledger.receive()
        self._ledger.drop(DROPPED_BROKEN)

    def take(self) -> CameraChunk | None:
        """Wait for the newest chunk; None once closed."""
        return self._mailbox.get()

    def close(self) -> None:
        """Wake whoever waits in `take`, for good."""
        self._mailbox.close()

    def _restart(self, frame_id: str, reason: str) -> None:
        self._hand_over(self._chunker.flush(), frame_id)
        self._chunker = Chunker(self._config.chunk_s, self._config.fps, self._ledger)
        self._newest_ns = None
        self._arrived_s.clear()
        self._stream, self._reason = self._stream + 1, reason

    def _hand_over(self, chunks: list[Chunk], frame_id: str) -> None:
        for chunk in chunks:
            arrived_s = self._arrived_s[chunk.frames[-1].stamp_ns]
            stream = (self._stream, self._reason, frame_id)
            self._mailbox.put(CameraChunk(chunk.index, chunk.frames, *stream, arrived_s))
            oldest_kept_ns = chunk.frames[-1].stamp_ns
            self._arrived_s = {ns: at for ns, at in self._arrived_s.items() if ns > oldest_kept_ns}
