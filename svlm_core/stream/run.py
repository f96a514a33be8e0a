"""One source through one session, recorded or live."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from svlm_core.errors import SourceError
from svlm_core.events import CommentaryEvent
from svlm_core.frames import Chunk, Chunker, FrameLedger, LatestMailbox
from svlm_core.sources.source import Source
from svlm_core.stream.commentator import Commentator, StreamSummary
from svlm_core.stream.session import StreamSession

_JOIN_S = 2.0  # a camera that hangs must not hang the end of the stream

Step = tuple[Chunk, list[CommentaryEvent]]


@dataclass(frozen=True)
class _LiveChunk(Chunk):
    """A chunk of a live source.

    Attributes:
        arrived_s: time.monotonic() when it was complete; it may wait for the model from then on.
    """

    arrived_s: float


class StreamRun:
    """Iterates over (chunk, events).

    A recorded source waits for the model: every chunk is understood. A live one does not: its frames are read
    in a thread of their own, and the model always takes the newest chunk.
    """

    def __init__(self, source: Source, session: StreamSession) -> None:
        """Prepare; nothing is read before the iteration begins."""
        self._source = source
        self._ledger = FrameLedger()
        self._chunker = Chunker(session.config.chunk_s, session.config.fps, self._ledger)
        self._commentator = Commentator(session, self._ledger, source.name)

    def __iter__(self) -> Iterator[Step]:
        """Understand the source's chunks.

        Raises:
            SourceError: the source broke; everything before the break has been handed out.
        """
        return self._live() if self._source.live else self._recorded()

    def summary(self) -> StreamSummary:
        """Counts and latencies so far."""
        return self._commentator.summary()

    def _recorded(self) -> Iterator[Step]:
        for chunk in self._chunks():
            yield chunk, self._commentator.take(chunk)

    def _live(self) -> Iterator[Step]:
        mailbox: LatestMailbox[_LiveChunk] = LatestMailbox(self._ledger)
        broken: list[BaseException] = []

        def read() -> None:
            try:
                for chunk in self._chunks():
                    mailbox.put(_LiveChunk(chunk.index, chunk.frames, time.monotonic()))
            except Exception as error:  # handed to the thread that iterates
                broken.append(error)
            finally:
                mailbox.close()

        reader = threading.Thread(target=read, name="svlm-source", daemon=True)
        reader.start()
        try:
            while (chunk := mailbox.get()) is not None:
                yield chunk, self._commentator.take(chunk, chunk.arrived_s)
        finally:
            self._source.close()
            reader.join(_JOIN_S)
        if broken:
            raise broken[0]

    def _chunks(self) -> Iterator[Chunk]:
        """The source's chunks; where it breaks, those of all frames before come first, then the error."""
        try:
            for frame in self._source:
                yield from self._chunker.push(frame)
        except SourceError:
            yield from self._chunker.flush()
            raise
        yield from self._chunker.flush()
