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

"""Many cameras, one model: whatever the streams ask for next runs as one batch.

A worker thread steps all running streams together: their vision encodes are one pass, their prefills and
decode steps another (continuous batching: Orca, OSDI 2022). A stream may join, leave, pause or reset between
any two steps. Each has a place for one waiting chunk, and the newest wins it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
import threading
import time
from types import TracebackType

from svlm_core.cache.pool import KVPools
from svlm_core.config import StreamConfig
from svlm_core.errors import EngineClosedError
from svlm_core.frames import Chunk
from svlm_core.model.adapter import StreamModel, VisionInput
from svlm_core.stream.budget import ChunkBudget
from svlm_core.stream.query import Query
from svlm_core.stream.result import ChunkResult
from svlm_core.stream.runner import Answer, Choose, Runner, Work
from svlm_core.stream.session import Hear, Steps, StreamSession


@dataclass(frozen=True)
class EngineHealth:
    """What an engine is doing.

    Attributes:
        alive: the worker runs.
        streams: open streams.
        running: chunks in work.
        waiting: chunks that wait for their turn.
        chunks: chunks finished, with a result or an error.
        steps: batches run.
        since_step_s: time since the last batch ended, or since the start.
    """

    alive: bool
    streams: int
    running: int
    waiting: int
    chunks: int
    steps: int
    since_step_s: float


@dataclass(eq=False)
class _Job:
    """One chunk on its way; `work` is what its stream asks for next, once it runs."""

    stream: EngineStream
    chunk: Chunk
    budget: ChunkBudget
    query: Query | None
    hear: Hear | None
    since_s: float
    vision: Future[VisionInput] = field(default_factory=Future)
    done: Future[ChunkResult] = field(default_factory=Future)
    steps: Steps | None = None
    work: Work | None = None


class EngineStream:
    """One camera's stream on an engine; every method may be called from any thread."""

    def __init__(self, engine: Engine, session: StreamSession) -> None:
        """Made by Engine.open."""
        self._engine, self._session = engine, session
        self._waiting: _Job | None = None
        self._running: _Job | None = None
        self._paused = self._closed = self._reset_wanted = False
        self._came_s, self._period_s = time.monotonic(), 0.0  # of the newest chunk, and since the one before

    @property
    def config(self) -> StreamConfig:
        """Its settings, from the next chunk on."""
        return self._session.config

    @property
    def cache_tokens(self) -> int:
        """Tokens in the KV cache."""
        return self._session.cache_tokens

    @property
    def capacity_tokens(self) -> int:
        """Slots of the KV cache, 0 before the first chunk."""
        return self._session.capacity_tokens

    @property
    def said_text(self) -> str:
        """As StreamSession.said_text."""
        return self._session.said_text

    def words(self, token_ids: Sequence[int]) -> str:
        """As StreamSession.words."""
        return self._session.words(token_ids)

    def preprocess(self, chunk: Chunk) -> VisionInput:
        """As StreamSession.preprocess."""
        return self._session.preprocess(chunk)

    def check_query(self, query: Query) -> None:
        """As StreamSession.check_query."""
        self._session.check_query(query)

    def reconfigure(self, config: StreamConfig) -> None:
        """As StreamSession.reconfigure; the chunk in work ends with the settings that it began with."""
        self._session.reconfigure(config)

    def submit(
        self,
        chunk: Chunk,
        vision: VisionInput | None = None,
        budget: ChunkBudget | None = None,
        query: Query | None = None,
        hear: Hear | None = None,
    ) -> Future[ChunkResult]:
        """Hand over the next chunk; does not block.

        A chunk of this stream that still waits is replaced, keeping its place in the queue; its future is
        cancelled.

        Args:
            chunk: the next one.
            vision: its frames, if `preprocess` has run already; otherwise a thread of the engine does it.
            budget: limits the time; `cancel` ends the chunk.
            query: a question that rides in the chunk; it goes with the chunk when that is replaced.
            hear: as of StreamSession.steps; called in the engine's thread, so all streams wait for it.

        Returns:
            The result, or one of the errors of StreamSession.steps.

        Raises:
            EngineClosedError: the stream or the engine is closed.
        """
        return self._engine._submit(self, chunk, vision, budget or ChunkBudget(), query, hear)

    def step(
        self,
        chunk: Chunk,
        vision: VisionInput | None = None,
        budget: ChunkBudget | None = None,
        query: Query | None = None,
        hear: Hear | None = None,
    ) -> ChunkResult:
        """Submit and wait, with the arguments and errors of StreamSession.step."""
        return self.submit(chunk, vision, budget, query, hear).result()

    def cancel(self) -> None:
        """End the chunk in work after the step it is in."""
        self._engine._cancel(self)

    def pause(self) -> None:
        """Keep the next chunks waiting, the newest of them; the one in work goes on."""
        self._engine._set(self, paused=True)

    def resume(self) -> None:
        """End a pause."""
        self._engine._set(self, paused=False)

    def reset(self) -> None:
        """Forget everything before the next chunk begins; the one in work is cancelled."""
        self._engine._reset(self)

    def close(self) -> None:
        """Leave: the chunk in work ends after its step, a waiting one is cancelled, the memory is freed."""
        self._engine._leave(self)

    def _comes_soon(self, now_s: float, within_s: float) -> bool:
        """Whether a chunk is on its way, or the next is about due if the stream keeps its rhythm."""
        return self._waiting is not None or abs(now_s - self._came_s - self._period_s) <= within_s


class Engine:
    """Serves streams with one model; a context manager."""

    def __init__(self, model: StreamModel, max_batch: int = 8, batch_wait_s: float = 0.005) -> None:
        """Start the worker.

        Args:
            model: used by this engine alone from now on.
            max_batch: most chunks in work at once.
            batch_wait_s: how long a chunk waits for others to start with it; it waits only for streams whose
                next chunk is due within that time.
        """
        self._model = model
        self._runner = Runner(model, batched=True)
        sizes = (max_batch, model.layers, model.kv_heads, model.head_dim, model.dtype, model.device)
        self._allocate = KVPools(*sizes) if model.device.type == "cuda" else None
        self._max_batch, self._batch_wait_s = max_batch, batch_wait_s
        self._changed = threading.Condition()
        self._streams: list[EngineStream] = []
        self._closing = False
        self._chunks = self._steps = 0
        self._stepped_s = time.monotonic()
        self._preprocessor = ThreadPoolExecutor(1, thread_name_prefix="svlm-preprocess")
        self._worker = threading.Thread(target=self._serve, name="svlm-engine", daemon=True)
        self._worker.start()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(
        self, config: StreamConfig, choose: Choose | None = None, said: str | None = None
    ) -> EngineStream:
        """Let a camera join; arguments as of StreamSession.

        Raises:
            EngineClosedError: the engine is closed.
        """
        stream = EngineStream(self, StreamSession(self._model, config, choose, self._allocate, said))
        with self._changed:
            if self._closing:
                raise EngineClosedError("the engine is closed")
            self._streams.append(stream)
        return stream

    def health(self) -> EngineHealth:
        """What the engine is doing now; never waits for the model."""
        with self._changed:
            return EngineHealth(
                self._worker.is_alive(),
                len(self._streams),
                len(self._running()),
                sum(stream._waiting is not None for stream in self._streams),
                self._chunks,
                self._steps,
                time.monotonic() - self._stepped_s,
            )

    def close(self) -> None:
        """Let all streams leave and stop the worker, after the step it is in."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for stream in list(self._streams):
            self._leave(stream)
        self._worker.join()
        self._preprocessor.shutdown(cancel_futures=True)

    def _submit(
        self,
        stream: EngineStream,
        chunk: Chunk,
        vision: VisionInput | None,
        budget: ChunkBudget,
        query: Query | None,
        hear: Hear | None,
    ) -> Future[ChunkResult]:
        now_s = time.monotonic()
        job = _Job(stream, chunk, budget, query, hear, now_s)
        with self._changed:
            if self._closing or stream._closed:
                raise EngineClosedError("this stream is closed")
            if (replaced := stream._waiting) is not None:
                job.since_s = replaced.since_s
                replaced.done.cancel()
            stream._waiting = job
            stream._period_s, stream._came_s = now_s - stream._came_s, now_s
        if vision is None:
            self._preprocessor.submit(self._preprocess, job)
        else:
            job.vision.set_result(vision)
            self._wake()
        return job.done

    def _preprocess(self, job: _Job) -> None:
        if job.done.cancelled():
            return
        try:
            job.vision.set_result(job.stream.preprocess(job.chunk))
        except Exception as error:  # the stream's own: handed to whoever waits for its chunk
            job.vision.set_exception(error)
        self._wake()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _set(self, stream: EngineStream, paused: bool) -> None:
        with self._changed:
            stream._paused = paused
            self._changed.notify_all()

    def _reset(self, stream: EngineStream) -> None:
        with self._changed:
            stream._reset_wanted = True
        self._cancel(stream)

    def _cancel(self, stream: EngineStream) -> None:
        with self._changed:
            if stream._running is not None:
                stream._running.budget.cancel()

    def _leave(self, stream: EngineStream) -> None:
        with self._changed:
            stream._closed = True
            if stream._running is not None:
                stream._running.budget.cancel()
            if stream._waiting is not None:
                stream._waiting.done.cancel()
                stream._waiting = None
            if stream._running is None and stream in self._streams:
                self._streams.remove(stream)
            self._changed.notify_all()

    def _serve(self) -> None:
        """The worker: admit, step, answer, until closed and nothing is in work."""
        while (jobs := self._next_jobs()) is not None:
            answers = self._run([job.work for job in jobs if job.work is not None])
            with self._changed:
                self._steps += 1
                self._stepped_s = time.monotonic()
            for job, answer in zip(jobs, answers, strict=True):
                self._advance(job, answer)

    def _running(self) -> list[_Job]:
        return [stream._running for stream in self._streams if stream._running is not None]

    def _next_jobs(self) -> list[_Job] | None:
        """Wait for something to do; the chunks in work, new ones started, or None to end."""
        while True:
            with self._changed:
                admitted, wait_s = self._admit()
                while not admitted and not self._running():
                    if self._closing:
                        return None
                    self._changed.wait(wait_s)
                    admitted, wait_s = self._admit()
            for job in admitted:
                self._start(job)
            with self._changed:
                if jobs := self._running():
                    return jobs

    def _admit(self) -> tuple[list[_Job], float | None]:
        """Take waiting chunks into work, those waiting longest first, once the batch is full or one is due.

        Returns:
            The chunks taken, and how long to wait for the next to be due.
        """
        able = [stream for stream in self._streams if not stream._paused]
        ready = [
            stream._waiting
            for stream in able
            if stream._running is None and stream._waiting is not None and stream._waiting.vision.done()
        ]
        if not ready:
            return [], None
        ready.sort(key=lambda job: job.since_s)
        now_s, wait_s = time.monotonic(), self._batch_wait_s
        free = self._max_batch - len(self._running())
        others = [stream for stream in able if stream._running is None and stream._waiting not in ready]
        due_s = ready[0].since_s + wait_s - now_s
        if len(ready) < free and due_s > 0 and any(s._comes_soon(now_s, wait_s) for s in others):
            return [], due_s
        taken = ready[:free]
        for job in taken:
            job.stream._running, job.stream._waiting = job, None
        return taken, None

    def _start(self, job: _Job) -> None:
        stream = job.stream
        if not job.done.set_running_or_notify_cancel():
            self._finish(job)
            return
        if stream._reset_wanted:
            stream._reset_wanted = False
            stream._session.reset()
        try:
            vision = job.vision.result()
            job.steps = stream._session.steps(job.chunk, vision, job.budget, job.query, job.hear)
        except Exception as error:
            job.done.set_exception(error)
            self._finish(job)
            return
        self._advance(job, None)

    def _advance(self, job: _Job, answer: Answer) -> None:
        """Give a stream its answer; it asks for the next work, or is done."""
        assert job.steps is not None
        try:
            job.work = job.steps.throw(answer) if isinstance(answer, Exception) else job.steps.send(answer)
            return
        except StopIteration as end:
            outcome: ChunkResult | Exception = end.value
        except Exception as error:  # this stream's alone
            outcome = error
        self._finish(job)
        if isinstance(outcome, Exception):
            job.done.set_exception(outcome)
        else:
            job.done.set_result(outcome)

    def _finish(self, job: _Job) -> None:
        with self._changed:
            job.stream._running = None
            self._chunks += 1
            if job.stream._closed and job.stream in self._streams:
                self._streams.remove(job.stream)

    def _run(self, works: Sequence[Work]) -> list[Answer]:
        """One batch; should it fail as a whole, each work alone, so that only the guilty stream fails."""
        try:
            return self._runner.run(works)
        except Exception:
            answers: list[Answer] = []
            for work in works:
                try:
                    answers += self._runner.run([work])
                except Exception as error:
                    answers.append(error)
            return answers
