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

"""The streams of one worker: carries out what the front orders, and says what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
import logging
import queue
import re
import threading
import time

from svlm_core.config import StreamConfig
from svlm_core.errors import (
    CacheFullError,
    ConfigError,
    EngineClosedError,
    NumericsError,
    QueryError,
    SourceError,
    SvlmError,
)
from svlm_core.frames import Chunk, Frame
from svlm_core.model.adapter import StreamModel
from svlm_core.offload import backend, images, wire
from svlm_core.offload.wire import Code
from svlm_core.stream.budget import ChunkBudget
from svlm_core.stream.engine import Engine, EngineStream
from svlm_core.stream.query import Query
from svlm_core.stream.result import ChunkResult
import torch

LOG = logging.getLogger(__name__)

_LOG_CHARACTERS = 500
_DECODERS = 2  # threads that make pictures ready for the model
_NO_MEMORY = "DefaultCPUAllocator: can't allocate memory"  # torch has no class for it
_DEVICE_BROKEN = re.compile(r"(CUDA|HIP|cuDNN|CUBLAS) error|device-side assert", re.IGNORECASE)


@dataclass(eq=False)
class _Memory:
    """One stream, and the chunk in work."""

    number: int
    session: str
    stream: EngineStream
    budget: ChunkBudget = field(default_factory=ChunkBudget)


@dataclass
class _Flight:
    """A chunk on its way through a worker; `prepared_ms` is spent on decoding and preprocessing."""

    memory: _Memory
    message: wire.Chunk
    partial: bool
    arrived_s: float
    prepared_ms: float = 0.0
    first_token_s: float | None = None
    text: str = ""


class Streams:
    """Carries out what the front orders; every method belongs to one thread, unless it says otherwise."""

    def __init__(
        self,
        engine: Engine,
        model: StreamModel,
        config: StreamConfig,
        say: Callable[[backend.FromWorker], object],
        wake: Callable[[], object],
    ) -> None:
        """Serve.

        Args:
            engine: used by this worker alone.
            model: that of the engine.
            config: the server's settings, which a robot's win over.
            say: sends to the front; from any thread.
            wake: lets the thread call work_off soon; from any thread.
        """
        self._engine, self._model, self._config = engine, model, config
        self._say, self._wake = say, wake
        self._memories: dict[int, _Memory] = {}
        self._later: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._decoded_s: float | None = None  # when a token was, last
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # no ThreadPoolExecutor: the engine would wait for what that does afterwards
        for _ in range(_DECODERS):
            threading.Thread(target=self._prepare, name="svlm-decode", daemon=True).start()

    def do(self, order: backend.ToWorker, pictures: Sequence[memoryview]) -> None:
        """Begin to carry out an order; the answer comes later, or now.

        Raises:
            torch.AcceleratorError: the device is broken.
        """
        if isinstance(order, backend.Open):
            self._open(order)
        elif isinstance(order, backend.Close):
            if (memory := self._memories.pop(order.stream, None)) is not None:
                memory.stream.close()
        elif isinstance(order, backend.Task) and (memory := self._memories.get(order.stream)) is not None:
            message = order.message
            if isinstance(message, wire.Chunk):
                self._chunk(memory, message, order.partial, pictures)
            elif isinstance(message, wire.Cancel):
                memory.budget.cancel()
            else:
                self._request(memory, message)

    def work_off(self) -> None:
        """Say what has become known meanwhile."""
        while True:
            try:
                call = self._later.get_nowait()
            except queue.Empty:
                return
            call()

    def decoded(self) -> None:
        """The engine has decoded a token; from any thread."""
        self._decoded_s = time.monotonic()

    @property
    def since_decode_s(self) -> float | None:
        """Since it has, None if it never did."""
        return None if self._decoded_s is None else time.monotonic() - self._decoded_s

    def health(self) -> backend.Health:
        """What the engine is doing."""
        now = self._engine.health()
        streams = [memory.stream for memory in self._memories.values()]
        return backend.Health(
            len(streams),
            now.running,
            now.waiting,
            now.chunks,
            now.steps,
            now.since_step_s,
            cache_tokens=sum(stream.cache_tokens for stream in streams),
            capacity_tokens=sum(stream.capacity_tokens for stream in streams),
            since_decode_s=self.since_decode_s,
        )

    def close(self) -> None:
        """Decode no further pictures."""
        for _ in range(_DECODERS):
            self._tasks.put(None)

    def _open(self, order: backend.Open) -> None:
        try:
            config = self._config.replace(order.settings, "the robot")
            stream = self._engine.open(config, said=order.said)
        except SvlmError as error:
            LOG.warning("a stream was refused: %s", error, extra={"session": order.session})
            self._say(backend.Refused(order.stream, Code.CONFIG, _field(error, order.settings)))
            return
        self._memories[order.stream] = _Memory(order.stream, order.session, stream)
        self._say(backend.Opened(order.stream, asdict(config)))

    def _request(
        self, memory: _Memory, message: wire.Configure | wire.Check | wire.Size | wire.Reset
    ) -> None:
        stream, number = memory.stream, message.id
        done = wire.Done(number, 0)
        settings: wire.Settings = {}
        try:
            if isinstance(message, wire.Configure):
                stream.reconfigure(stream.config.replace(message.settings, "the robot"))
                settings = asdict(stream.config)
            elif isinstance(message, wire.Check):
                stream.check_query(Query(message.query))
            elif isinstance(message, wire.Size):
                low, high = stream.config.min_visual_tokens, stream.config.max_visual_tokens
                size = self._model.target_size(message.height, message.width, low, high)
                done = wire.Done(number, 0, *size)
            else:
                stream.reset()
        except SvlmError as error:
            named = _field(error, message.settings) if isinstance(message, wire.Configure) else ""
            refused = wire.Error(code_of(error), id=number, field=named)
            self._say(backend.Answer(memory.number, refused))
            return
        self._say(backend.Answer(memory.number, done, settings=settings))

    def _chunk(
        self, memory: _Memory, message: wire.Chunk, partial: bool, pictures: Sequence[memoryview]
    ) -> None:
        flight = _Flight(memory, message, partial, time.monotonic())
        deadline_s = flight.arrived_s + message.budget_ms / 1e3 if message.budget_ms else None
        memory.budget = budget = ChunkBudget(deadline_s)

        def hear(token_ids: Sequence[int]) -> None:
            self.decoded()
            flight.first_token_s = flight.first_token_s or time.monotonic() - flight.arrived_s
            if partial:
                try:
                    self._partial(flight, list(token_ids))  # here, too: else the Result would overtake it
                except Exception as error:
                    self._raise_soon(error)

        def landed(future: Future[ChunkResult]) -> None:
            try:
                self._landed(flight, future)  # here, in the engine's thread: the robot waits for it
            except Exception as error:
                self._raise_soon(error)

        def prepare() -> None:
            try:
                chunk = _decoded(message, pictures)
                query = Query(message.query) if message.query else None
                vision = memory.stream.preprocess(chunk)
                flight.prepared_ms = (time.monotonic() - flight.arrived_s) * 1e3
                memory.stream.submit(chunk, vision, budget, query, hear).add_done_callback(landed)
            except Exception as error:  # this chunk's alone
                failed: Future[ChunkResult] = Future()
                failed.set_exception(error)
                landed(failed)

        if len(self._memories) == 1:  # nobody else waits: to wake another thread would only take time
            prepare()
        else:
            self._tasks.put(prepare)

    def _prepare(self) -> None:
        """Make chunks ready; in a thread of its own."""
        while (prepare := self._tasks.get()) is not None:
            prepare()

    def _partial(self, flight: _Flight, token_ids: list[int]) -> None:
        text = flight.memory.stream.words(token_ids)[: wire.MAX_TEXT]
        if text and text != flight.text:  # a token may be no word yet
            flight.text = text
            partial = wire.Partial(flight.message.epoch, flight.message.seq, text)
            self._say(backend.Answer(flight.memory.number, partial))

    def _landed(self, flight: _Flight, future: Future[ChunkResult]) -> None:
        """A chunk is understood, or is not."""
        memory, message = flight.memory, flight.message
        if future.cancelled() or memory.number not in self._memories:
            return  # its stream was closed
        if error := future.exception():
            self._refused(memory, message, error)
            return
        server_s = time.monotonic() - flight.arrived_s
        result, stream = future.result(), memory.stream
        answer = wire.Result(
            message.epoch,
            message.seq,
            result.text[: wire.MAX_TEXT],
            list(result.token_ids),
            result.prefill_tokens,
            result.cache_tokens,
            stream.capacity_tokens,
            result.finish,
            {**result.stage_ms, "preprocess": flight.prepared_ms},
            server_s * 1e3,
        )
        first_token_s = flight.first_token_s or (server_s if result.token_ids else None)
        said = stream.said_text[-wire.MAX_TEXT :]
        self._say(backend.Answer(memory.number, answer, said, first_token_s=first_token_s))

    def _refused(self, memory: _Memory, message: wire.Chunk, error: BaseException) -> None:
        if isinstance(error, EngineClosedError):
            return  # its stream was closed
        if is_device_error(error):
            raise error
        code = code_of(error)
        inside = code is Code.INTERNAL
        text = " ".join(str(error).split())[:_LOG_CHARACTERS]
        LOG.log(
            logging.ERROR if inside else logging.WARNING,
            "a chunk was refused: %s",
            text,
            exc_info=error if inside else None,
            extra={
                "session": memory.session,
                "epoch": message.epoch,
                "seq": message.seq,
                "code": code.value,
            },
        )
        self._say(backend.Answer(memory.number, wire.Error(code, seq=message.seq)))

    def _raise_soon(self, error: Exception) -> None:
        def fail() -> None:
            raise error

        self._soon(fail)

    def _soon(self, call: Callable[[], None]) -> None:
        self._later.put(call)
        self._wake()


def _decoded(message: wire.Chunk, pictures: Sequence[memoryview]) -> Chunk:
    """A chunk with its pictures.

    Raises:
        WireError: a picture is not what the message says.
        SourceError: or is too small.
    """
    rgb = [images.decode(data, message.picture, message.height, message.width) for data in pictures]
    frames = (Frame(stamp, one, "the robot") for stamp, one in zip(message.stamps_ns, rgb, strict=True))
    return Chunk(message.index, tuple(frames))


def code_of(error: BaseException) -> Code:
    """What a robot is told about an error."""
    if isinstance(error, wire.WireError):
        return error.code
    if is_out_of_memory(error):
        return Code.FULL
    kinds = {
        ConfigError: Code.CONFIG,
        QueryError: Code.QUERY,
        CacheFullError: Code.CACHE,
        NumericsError: Code.NUMERICS,
        SourceError: Code.IMAGE,
    }
    return next((code for kind, code in kinds.items() if isinstance(error, kind)), Code.INTERNAL)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there is no room for another stream; the process and its other streams are well."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or _NO_MEMORY in str(error)


def is_device_error(error: BaseException) -> bool:
    """Whether the device is of no use to this process any more."""
    if is_out_of_memory(error):
        return False
    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and _DEVICE_BROKEN.search(str(error)) is not None


def _field(error: SvlmError, settings: wire.Settings) -> str:
    """The setting that an error's message names first, "" if none."""
    return next((word for word in re.findall(r"\w+", str(error)) if word in settings), "")
