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

"""One source through one session, recorded or live."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
import threading
import time

from svlm_core.errors import LinkError, QueryError, SourceError
from svlm_core.events import CommentaryEvent
from svlm_core.frames import Chunk, Chunker, DROPPED_BROKEN, DROPPED_LINK, Frame, FrameLedger, LatestMailbox
from svlm_core.sources.source import Source
from svlm_core.stream.commentator import Commentator, Prepared, Stream, StreamSummary
from svlm_core.stream.query import TimedQuery
from svlm_core.stream.result import ChunkResult

_JOIN_S = 2.0  # a camera that hangs must not hang the end of the stream

Step = tuple[Chunk, list[CommentaryEvent]]


@dataclass(frozen=True)
class _LiveChunk(Chunk):
    """A chunk of a live source.

    Attributes:
        arrived_s: time.monotonic() when it was complete; it may wait for the model from then on.
        vision: its frames, preprocessed.
    """

    arrived_s: float
    vision: Prepared


class StreamRun:
    """Iterates over (chunk, events).

    A recorded source waits for the model: every chunk is understood; while the model works on one, the next
    is read and preprocessed. A live one does not wait: its frames are read in a thread of their own, and the
    model always takes the newest chunk, and no longer than its budget. A chunk that a link to the model's
    machine loses is left out; its frames are counted as DROPPED_LINK.

    Attributes:
        commentator: takes questions and other settings, from any thread.
        unasked: questions whose time has not come yet, or came after the last chunk.
    """

    def __init__(
        self,
        source: Source,
        stream: Stream,
        queries: Sequence[TimedQuery] = (),
        hear: Callable[[CommentaryEvent], object] | None = None,
    ) -> None:
        """Prepare; nothing is read before the iteration begins.

        Args:
            source: where the frames come from.
            stream: nobody else may step it.
            queries: asked when their time has come.
            hear: as of Commentator.

        Raises:
            QueryError: a question is too long.
        """
        for query in queries:
            stream.check_query(query)
        self._source, self._stream = source, stream
        self._ledger = FrameLedger()
        self._chunker = Chunker(stream.config.chunk_s, stream.config.fps, self._ledger)
        self.commentator = Commentator(stream, self._ledger, source.name, source.frame_id, hear)
        self.unasked = sorted(queries, key=lambda query: query.at_s)

    def __iter__(self) -> Iterator[Step]:
        """Understand the source's chunks.

        Raises:
            SourceError: the source broke; everything before the break has been handed out.
            LinkError: a recorded source's model can be reached no more, until somebody mends something.
        """
        return self._live() if self._source.live else self._recorded()

    @property
    def last(self) -> ChunkResult | None:
        """The model's result for the last chunk, None before the first."""
        return self.commentator.last

    def summary(self) -> StreamSummary:
        """Counts and latencies so far."""
        return self.commentator.summary()

    def _recorded(self) -> Iterator[Step]:
        chunks = self._chunks()

        def prepare() -> tuple[Chunk, Prepared] | None:
            chunk = next(chunks, None)
            return None if chunk is None else (chunk, self._stream.preprocess(chunk))

        with ThreadPoolExecutor(1, thread_name_prefix="svlm-source") as ahead:
            coming = ahead.submit(prepare)
            while (prepared := coming.result()) is not None:
                coming = ahead.submit(prepare)
                chunk, vision = prepared
                yield from self._understood(chunk, None, vision)

    def _live(self) -> Iterator[Step]:
        mailbox: LatestMailbox[_LiveChunk] = LatestMailbox(self._ledger)
        broken: list[BaseException] = []

        def read() -> None:
            try:
                for chunk in self._chunks():
                    arrived_s = time.monotonic()
                    vision = self._stream.preprocess(chunk)
                    mailbox.put(_LiveChunk(chunk.index, chunk.frames, arrived_s, vision))
            except Exception as error:  # handed to the thread that iterates
                broken.append(error)
            finally:
                mailbox.close()

        reader = threading.Thread(target=read, name="svlm-source", daemon=True)
        reader.start()
        try:
            while (chunk := mailbox.get()) is not None:
                yield from self._understood(chunk, chunk.arrived_s, chunk.vision)
        finally:
            self._source.close()
            reader.join(_JOIN_S)
        if broken:
            raise broken[0]

    def _understood(self, chunk: Chunk, arrived_s: float | None, vision: Prepared) -> Iterator[Step]:
        """The chunk and its events, unless it was lost on the way."""
        self._ask_for(chunk)
        try:
            events = self.commentator.take(chunk, arrived_s, vision)
        except (LinkError, QueryError) as error:
            self._ledger.drop(DROPPED_LINK, len(chunk.frames))
            if isinstance(error, LinkError) and error.final and not self._source.live:
                raise
            return
        yield chunk, events

    def _ask_for(self, chunk: Chunk) -> None:
        """Ask the oldest question that is due by the end of a chunk."""
        end_s = (chunk.index + 1) * self._stream.config.chunk_s
        if self.unasked and self.unasked[0].at_s < end_s:
            # with a later chunk, if others ask more than can be answered soon, or the link is down
            with suppress(QueryError, LinkError):
                self.commentator.ask(self.unasked[0])
                del self.unasked[0]

    def _chunks(self) -> Iterator[Chunk]:
        """The source's chunks; where it breaks, those of all frames before come first, then the error."""
        try:
            for frame in self._frames():
                yield from self._chunker.push(frame)
        except SourceError:
            yield from self._chunker.flush()
            raise
        yield from self._chunker.flush()

    def _frames(self) -> Iterator[Frame]:
        """The source's frames; messages that are no picture are counted as they are passed over."""
        counted = 0
        try:
            for frame in self._source:
                counted = self._count_broken(counted)
                yield frame
        finally:
            self._count_broken(counted)

    def _count_broken(self, counted: int) -> int:
        broken = self._source.broken
        for _ in range(counted, broken):
            self._ledger.receive()
            self._ledger.drop(DROPPED_BROKEN)
        return broken
