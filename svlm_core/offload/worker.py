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

"""A worker process: one model on one device, streams of many robots; ends when its front ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
import logging
import os
import queue
import re
import signal
import sys
import time

import msgspec
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
from svlm_core.model.load import EMBEDDED, load_model
from svlm_core.model.precision import affordable_dtype, quantize
from svlm_core.offload import backend, images, wire
from svlm_core.offload.wire import Code
from svlm_core.offload.workers import EXIT_DEVICE, EXIT_ERROR, EXIT_OK, WorkerConfig
from svlm_core.stream.budget import ChunkBudget
from svlm_core.stream.defaults import stream_config
from svlm_core.stream.engine import Engine, EngineStream
from svlm_core.stream.query import Query
from svlm_core.stream.result import ChunkResult
import torch
import zmq

LOG = logging.getLogger(__name__)

_DECODERS = 2  # threads that make pictures ready for the model
_NO_MEMORY = "DefaultCPUAllocator: can't allocate memory"  # torch has no class for it
_DEVICE_BROKEN = re.compile(r"(CUDA|HIP|cuDNN|CUBLAS) error|device-side assert", re.IGNORECASE)


@dataclass(eq=False)
class _Memory:
    """One stream, and the chunk in work."""

    number: int
    stream: EngineStream
    budget: ChunkBudget = field(default_factory=ChunkBudget)


class Worker:
    """Carries out what the front orders. `do` and `work_off` belong to one thread."""

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
            say: sends to the front.
            wake: lets the thread call work_off soon; from any thread.
        """
        self._engine, self._model, self._config = engine, model, config
        self._say, self._wake = say, wake
        self._memories: dict[int, _Memory] = {}
        self._later: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="svlm-decode")

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

    def health(self) -> backend.Health:
        """What the engine is doing."""
        values = asdict(self._engine.health())
        del values["alive"]
        streams = [memory.stream for memory in self._memories.values()]
        tokens, slots = sum(s.cache_tokens for s in streams), sum(s.capacity_tokens for s in streams)
        return backend.Health(**values, cache_tokens=tokens, capacity_tokens=slots)

    def close(self) -> None:
        """Decode no further pictures."""
        self._decoders.shutdown(cancel_futures=True)

    def _open(self, order: backend.Open) -> None:
        try:
            config = self._config.replace(order.settings, "the robot")
            stream = self._engine.open(config, said=order.said)
        except SvlmError as error:
            LOG.warning("a stream was refused: %s", error)
            self._say(backend.Refused(order.stream, Code.CONFIG, _field(error, order.settings)))
            return
        self._memories[order.stream] = _Memory(order.stream, stream)
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
        arrived_s = time.monotonic()
        deadline_s = arrived_s + message.budget_ms / 1e3 if message.budget_ms else None
        memory.budget = budget = ChunkBudget(deadline_s)
        first_s: list[float] = []

        def hear(token_ids: Sequence[int]) -> None:
            if not first_s:
                first_s.append(time.monotonic() - arrived_s)
            if partial:
                ids = list(token_ids)
                self._soon(lambda: self._partial(memory, message, ids))

        def landed(future: Future[ChunkResult]) -> None:
            self._soon(lambda: self._landed(memory, message, future, arrived_s, first_s))

        def prepare() -> None:
            try:
                chunk = _decoded(message, pictures)
                query = Query(message.query) if message.query else None
                vision = memory.stream.preprocess(chunk)
                memory.stream.submit(chunk, vision, budget, query, hear).add_done_callback(landed)
            except Exception as error:  # this chunk's alone
                failed: Future[ChunkResult] = Future()
                failed.set_exception(error)
                landed(failed)

        self._decoders.submit(prepare)

    def _partial(self, memory: _Memory, message: wire.Chunk, token_ids: list[int]) -> None:
        if text := memory.stream.words(token_ids):
            partial = wire.Partial(message.epoch, message.seq, text[-wire.MAX_TEXT :])
            self._say(backend.Answer(memory.number, partial))

    def _landed(
        self,
        memory: _Memory,
        message: wire.Chunk,
        future: Future[ChunkResult],
        arrived_s: float,
        first_s: list[float],
    ) -> None:
        """A chunk is understood, or is not."""
        if future.cancelled():
            return  # its stream was closed
        now_s = time.monotonic()
        if error := future.exception():
            if isinstance(error, EngineClosedError):
                return
            if is_device_error(error):
                raise error
            code = code_of(error)
            LOG.log(
                logging.ERROR if code is Code.INTERNAL else logging.WARNING,
                "chunk %d of stream %d was refused (%s): %s",
                *(message.seq, memory.number, code.value, " ".join(str(error).split())[:500]),
                exc_info=error if code is Code.INTERNAL else None,
            )
            self._say(backend.Answer(memory.number, wire.Error(code, seq=message.seq)))
            return
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
            result.stage_ms,
            (now_s - arrived_s) * 1e3,
        )
        said = stream.said_text[-wire.MAX_TEXT :]
        first_token_s = first_s[0] if first_s else (now_s - arrived_s if result.token_ids else None)
        self._say(backend.Answer(memory.number, answer, said=said, first_token_s=first_token_s))

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
    """The setting that an error's message names."""
    words = set(re.findall(r"\w+", str(error)))
    return next((name for name in settings if name in words), "")


def load(config: WorkerConfig) -> tuple[StreamModel, StreamConfig]:
    """The model and the settings that streams begin with.

    Raises:
        ModelError, ConfigError: in one line.
    """
    if threads := config.threads or (1 if config.model == EMBEDDED else 0):
        torch.set_num_threads(threads)
    dtype = affordable_dtype(config.model, config.dtype, config.device)
    model = load_model(config.model, dtype=dtype, device=config.device)
    if config.quantize:
        quantize(model, config.quantize)
    return model, stream_config(model, *config.settings)


def serve(config: WorkerConfig, lifeline: int) -> int:
    """Load the model and carry out orders until told to stop.

    Args:
        config: what to serve, and for whom.
        lifeline: a file descriptor that becomes readable when the front has ended.

    Returns:
        One of the EXIT_ codes.
    """
    context = zmq.Context()
    front = context.socket(zmq.DEALER)
    front.routing_id = config.name.encode()
    front.linger = 1000
    front.connect(config.endpoint)
    encoder = msgspec.msgpack.Encoder()

    def say(message: backend.FromWorker) -> None:
        front.send(encoder.encode(message))

    try:
        model, settings = load(config)
        with Engine(model, config.max_batch) as engine:
            _serve(front, lifeline, engine, model, settings, say)
        return EXIT_OK
    except SvlmError as error:
        say(backend.Failed(str(error)))
        return EXIT_ERROR
    except Exception as error:
        LOG.exception("worker %s ends", config.name)
        broken = is_device_error(error)
        say(backend.Failed(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}", broken))
        if broken:  # the engine's threads may hang in the driver
            context.destroy(linger=1000)
            logging.shutdown()
            os._exit(EXIT_DEVICE)
        return EXIT_ERROR
    finally:
        context.destroy(linger=1000)


def _serve(
    front: zmq.Socket,
    lifeline: int,
    engine: Engine,
    model: StreamModel,
    settings: StreamConfig,
    say: Callable[[backend.FromWorker], None],
) -> None:
    waking, wake = os.pipe()
    os.set_blocking(waking, False)
    os.set_blocking(wake, False)
    poller = zmq.Poller()
    for one in (front, waking, lifeline):
        poller.register(one, zmq.POLLIN)
    reader: backend.Decoder[backend.ToWorker] = backend.Decoder(backend.ToWorker)
    worker = Worker(engine, model, settings, say, lambda: _ring(wake))
    say(backend.Ready(model.name, str(model.device)))
    healthy_s = 0.0
    try:
        while True:
            if time.monotonic() - healthy_s >= wire.HEARTBEAT_S:
                healthy_s = time.monotonic()
                say(worker.health())
            events = dict(poller.poll(round(1000 * wire.HEARTBEAT_S)))
            if lifeline in events:
                return  # the front is gone, and with it all that wait for an answer
            if waking in events:
                os.read(waking, 4096)
                worker.work_off()
            if front in events:
                parts = front.recv_multipart(copy=False)
                order = reader.read([parts[0].buffer])
                if isinstance(order, backend.Stop):
                    return
                worker.do(order, [part.buffer for part in parts[1:]])
    finally:
        worker.close()
        engine.close()
        os.close(waking)
        os.close(wake)


def _ring(wake: int) -> None:
    try:
        os.write(wake, b"!")
    except BlockingIOError:
        pass  # it rings already
    except OSError:
        pass  # the worker has ended


def main() -> int:
    """Serve the config on the first line of standard input, until that is closed."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)  # a terminal, or systemd, sends them to all: the front ends us
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    line = sys.stdin.buffer.readline()
    return serve(msgspec.json.decode(line, type=WorkerConfig), sys.stdin.fileno())


if __name__ == "__main__":
    sys.exit(main())
