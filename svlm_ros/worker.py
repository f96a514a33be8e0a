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

"""The one thread of a node that runs the model: it loads the checkpoint, then turns chunks into events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
import threading
import time
from typing import Any, TYPE_CHECKING

from rclpy.impl.rcutils_logger import RcutilsLogger
from svlm_core.errors import (
    EngineClosedError,
    LinkError,
    NumericsError,
    QueryError,
    SourceError,
    SvlmError,
)
from svlm_core.events import CommentaryEvent
from svlm_core.frames import Chunk, DROPPED_BROKEN, DROPPED_LINK, FrameLedger
from svlm_core.stream.commentator import Commentator
from svlm_ros.health import Health
from svlm_ros.intake import CameraChunk, DROPPED_STOPPED, Intake
from svlm_ros.parameters import ModelParameters
from svlm_ros.supply import StreamSupply

if TYPE_CHECKING:
    from svlm_core.config import StreamConfig
    from svlm_core.stream.commentator import Stream
    from svlm_core.stream.query import Query

_STOP_POLL_S = 0.05
_OPENING_S = 0.5  # a link that is not there yet gives up within that time; a model that loads does not

Publish = Callable[[Sequence[CommentaryEvent], Chunk | None, str], None]


class Worker:
    """Opens a stream off the executor and feeds every chunk of an Intake to it.

    Attributes:
        intake: takes the pictures; None until the model is ready.
        config: the stream's settings; None until the model is ready.
        failure: why the thread ended by itself; "" while all is well.
    """

    def __init__(
        self,
        supply: StreamSupply,
        model: ModelParameters,
        overrides: Mapping[str, Any],
        camera: str,
        ledger: FrameLedger,
        health: Health,
        publish: Publish,
        hear: Callable[[CommentaryEvent], None] | None,
        now_ns: Callable[[], int],
        logger: RcutilsLogger,
    ) -> None:
        """Start the thread.

        Args:
            supply: gives the stream.
            model: the checkpoint.
            overrides: StreamConfig fields that the user set; they win over the checkpoint's own.
            camera: name of the camera in the events.
            ledger: counts the frames.
            health: measures.
            publish: takes events, the chunk they are about if there is one, and the camera's coordinate
                frame; on this thread.
            hear: takes words while they are found, in any thread; None if nobody wants them.
            now_ns: the node's clock.
            logger: the node's.
        """
        self._supply, self._model, self._overrides = supply, model, overrides
        self._early: dict[str, Any] = {}  # settings changed while the model loads
        self._camera, self._ledger, self._health = camera, ledger, health
        self._publish, self._hear, self._now_ns, self._logger = publish, hear, now_ns, logger
        self._stopped = threading.Event()
        self._abandoned = False  # the node did not wait for the end: its publishers may be gone
        self._changing = threading.Lock()
        self._stream: Stream | None = None
        self._commentator: Commentator | None = None
        self.intake: Intake | None = None
        self.failure = ""
        self.began_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    @property
    def config(self) -> StreamConfig | None:
        """The stream's settings."""
        stream = self._stream
        return stream.config if stream else None

    @property
    def budget_s(self) -> float:
        """How long a chunk may take; 0 while nothing is known."""
        config = self.config
        return (config.chunk_budget_s or config.chunk_s) if config else 0.0

    @property
    def cache_tokens(self) -> tuple[int, int]:
        """Tokens in the KV cache, and its capacity; (0, 0) before the first chunk."""
        stream = self._stream
        return (stream.cache_tokens, stream.capacity_tokens) if stream else (0, 0)

    def ask(self, query: Query) -> None:
        """Put a question; its answer comes as an event.

        Raises:
            QueryError: it cannot be asked now.
        """
        commentator = self._commentator
        if commentator is None:
            raise QueryError("the model is not ready yet; ask again later")
        commentator.ask(query)

    def reconfigure(self, changes: Mapping[str, Any]) -> None:
        """Change settings of the stream from the next chunk on.

        Raises:
            ConfigError: a value is wrong, or cannot change while a stream runs.
        """
        with self._changing:
            if self._stream is None:
                self._early |= changes
            else:
                self._stream.reconfigure(self._stream.config.replace(changes, "parameter"))

    def stop(self, wait_s: float) -> bool:
        """End the thread after the step it is busy with; a model that still loads is soon left to itself.

        Args:
            wait_s: how long to wait for a chunk in work.

        Returns:
            Whether the thread has ended, and so the memory is free.
        """
        self._stopped.set()
        if self.intake is not None:
            self.intake.close()
        end_s = time.monotonic() + (_OPENING_S if self.intake is None else wait_s)
        while self._thread.is_alive() and time.monotonic() < end_s:
            if commentator := self._commentator:
                commentator.cancel()  # again and again: the chunk may have begun just now
            self._thread.join(_STOP_POLL_S)
        self._abandoned = self._thread.is_alive()
        return not self._abandoned

    def _run(self) -> None:
        try:
            self._serve()
        except SvlmError as error:
            self._fail(str(error))
        except Exception as error:
            self._fail(f"{type(error).__name__} in the inference thread: {error}")
            raise

    def _fail(self, reason: str) -> None:
        self._health.failed(reason)
        self.failure = reason

    def _serve(self) -> None:
        """Load, comment until stopped, give the memory back."""
        model = self._model
        self._logger.info(
            f"connecting to {model.endpoint}" if model.remote else f"loading model {model.model}"
        )
        lease = self._supply.open(self._model, self._overrides, lambda: not self._stopped.is_set())
        if lease is None:
            return
        try:
            if not self._stopped.is_set():
                self._comment(lease.stream)
        finally:
            self._stream = self._commentator = None
            lease.close()

    def _comment(self, stream: Stream) -> None:
        hear = self._tell_partial if self._hear else None
        commentator = Commentator(stream, self._ledger, self._camera, hear=hear)
        intake = Intake(stream.config, self._ledger, self._camera)
        with self._changing:
            if self._early:
                stream.reconfigure(stream.config.replace(self._early, "parameter"))
            self._stream = stream
        self._commentator = commentator
        self._health.ready()
        name = self._model.endpoint if self._model.remote else f"model {self._model.model}"
        self._logger.info(f"{name} ready after {time.monotonic() - self.began_s:.1f} s")
        self.intake = intake
        current = 0
        while not self._stopped.is_set() and (chunk := intake.take()) is not None:
            if self._stopped.is_set():
                self._ledger.drop(DROPPED_STOPPED, len(chunk.frames))
                break
            if chunk.stream != current:
                if not self._restart(commentator, chunk):
                    continue
                current = chunk.stream
            if chunk.frames:
                self._understand(commentator, chunk)
        self._tell(commentator.dismiss())
        self._logger.info(f"ended: {commentator.summary()}")

    def _restart(self, commentator: Commentator, chunk: CameraChunk) -> bool:
        """Begin a new stream; False if the server cannot be told now: the next chunk tries again."""
        try:
            self._tell(commentator.restart(chunk.frame_id, chunk.restarted))
        except LinkError as error:
            self._lose(len(chunk.frames), error)
            return False
        return True

    def _understand(self, commentator: Commentator, sealed: CameraChunk) -> None:
        commentator.frame_id = sealed.frame_id
        chunk, broken = sealed.open(self._ledger)
        if broken:
            self._warn(f"dropped an image: {broken}")
        if chunk is None:
            return
        arrived_s = sealed.frames[-1].arrived_s
        self._health.chunk_begins()
        try:
            events = commentator.take(chunk, arrived_s)
        except (CancelledError, EngineClosedError):
            self._ledger.drop(DROPPED_STOPPED, len(chunk.frames))
            if not self._stopped.is_set():
                raise
            return
        except (LinkError, QueryError) as error:  # or the server takes no question that it took before
            self._lose(len(chunk.frames), error)
            return
        except (SourceError, NumericsError) as error:  # the next ones may be better
            self._ledger.drop(DROPPED_BROKEN, len(chunk.frames))
            self._warn(str(error))
            return
        finally:
            self._health.chunk_ends()
        age_s = (self._now_ns() - chunk.frames[-1].stamp_ns) / 1e9
        self._health.chunk_understood(time.monotonic() - arrived_s, age_s)
        self._tell(events, chunk, sealed.frame_id)

    def _lose(self, frames: int, error: SvlmError) -> None:
        """Count frames that did not go over the link, whose own state is in the log and the diagnostics."""
        self._ledger.drop(DROPPED_STOPPED if self._stopped.is_set() else DROPPED_LINK, frames)
        self._logger.debug(str(error))

    def _tell(
        self, events: Sequence[CommentaryEvent], chunk: Chunk | None = None, frame_id: str = ""
    ) -> None:
        if not self._abandoned:
            self._publish(events, chunk, frame_id)

    def _tell_partial(self, event: CommentaryEvent) -> None:
        if self._hear is not None and not self._abandoned:
            self._hear(event)

    def _warn(self, text: str) -> None:
        self._health.failed(text)
        self._logger.warning(text, throttle_duration_sec=5.0)
