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
from dataclasses import asdict
import gc
import logging
import math
import os
import select
import signal
import socket
import sys
import time
from typing import NoReturn, Protocol

import msgspec
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError, SvlmError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import EMBEDDED, load_model
from svlm_core.model.precision import affordable_dtype, quantize
from svlm_core.offload import backend, wire
from svlm_core.offload.bell import Bell
from svlm_core.offload.launcher import EXIT_DEVICE, EXIT_ERROR, EXIT_OK, WorkerConfig
from svlm_core.offload.logs import log_to_stderr
from svlm_core.offload.pipe import Pipe
from svlm_core.offload.probe import Probe
from svlm_core.offload.streams import is_device_error, Streams
from svlm_core.stream.defaults import stream_config
from svlm_core.stream.engine import Engine
import torch
import zmq

LOG = logging.getLogger(__name__)


class FrontLink(Protocol):
    """The link to the front; any thread may send, one receives."""

    def fileno(self) -> int:
        """What becomes readable."""

    def send(self, message: Sequence[bytes]) -> None:
        """Send all parts of a message, when there is room; to a front that is gone, nothing."""

    def receive(self) -> Sequence[memoryview] | None:
        """A message that has come, None if there is none; EOFError when the front is gone."""

    def close(self) -> None:
        """End; what was sent may still leave."""


def load(config: WorkerConfig) -> tuple[StreamModel, StreamConfig]:
    """The model and the settings that streams begin with.

    Raises:
        ModelError, ConfigError: in one line; also for a setting that is too long for a Welcome.
    """
    if threads := config.threads or (1 if config.model == EMBEDDED else 0):
        torch.set_num_threads(threads)
    dtype = affordable_dtype(config.model, config.dtype, config.device)
    model = load_model(config.model, dtype=dtype, device=config.device)
    if config.quantize:
        quantize(model, config.quantize)
    settings = stream_config(model, *config.settings)
    for name, value in asdict(settings).items():
        if isinstance(value, str) and len(value) > wire.MAX_QUERY:
            raise ConfigError(
                f"{name}: {len(value)} characters; a server tells its robots all settings, "
                f"and takes at most {wire.MAX_QUERY} characters for one"
            )
    return model, settings


def settle() -> None:
    """Have the garbage collector pass over what is there now, for good.

    It is what was imported and loaded, hundreds of thousands of objects. To look through them takes 0.2 s, in
    which no stream of this process gets a word.
    """
    gc.collect()
    gc.freeze()


def serve(config: WorkerConfig, front: FrontLink, bell: Bell) -> int:
    """Load the model and carry out orders until told to stop, or until the front is gone.

    Args:
        config: what to serve.
        front: for whom; closed in the end.
        bell: wakes this thread.

    Returns:
        One of the EXIT_ codes.
    """

    def say(message: backend.FromWorker) -> None:
        front.send([msgspec.msgpack.encode(message)])

    try:
        model, settings = load(config)
        settle()
        with Engine(model, config.max_batch) as engine:
            _serve(front, bell, engine, model, settings, say)
        return EXIT_OK
    except SvlmError as error:
        say(backend.Failed(str(error)))
        return EXIT_ERROR
    finally:
        front.close()


def _serve(
    front: FrontLink,
    bell: Bell,
    engine: Engine,
    model: StreamModel,
    settings: StreamConfig,
    say: Callable[[backend.FromWorker], None],
) -> None:
    reader: backend.Decoder[backend.ToWorker] = backend.Decoder(backend.ToWorker)
    streams = Streams(engine, model, settings, say, bell.ring)
    probe = Probe(engine, settings, streams.decoded)
    poller = zmq.Poller()
    for one in (front, bell):
        poller.register(one, zmq.POLLIN)
    say(backend.Ready(model.name, str(model.device)))
    beat_s = -math.inf
    serving = True
    while serving:
        try:
            if time.monotonic() - beat_s >= wire.HEARTBEAT_S:
                beat_s = time.monotonic()
                say(streams.health())  # before a probe begins, which is nobody's chunk
                probe.look(streams.since_decode_s)
            events = dict(poller.poll(round(1000 * wire.HEARTBEAT_S)))
            if bell.fileno() in events:
                bell.quiet()
                streams.work_off()
            serving = _obey(front, reader, streams)
        except Exception as error:
            if is_device_error(error):
                _leave(front, error, say)
            raise
    engine.close()
    streams.close()


def _obey(front: FrontLink, reader: backend.Decoder[backend.ToWorker], streams: Streams) -> bool:
    """Begin all that the front has ordered; whether to go on."""
    try:
        while (parts := front.receive()) is not None:
            order = reader.read(parts)
            if isinstance(order, backend.Stop):
                return False
            streams.do(order, parts[1:])
    except EOFError:  # the front is gone, and with it all that wait for an answer
        return False
    return True


def _leave(front: FrontLink, error: Exception, say: Callable[[backend.FromWorker], None]) -> NoReturn:
    """End at once: threads may hang in the device's driver."""
    LOG.error("the device is broken", exc_info=error)
    say(backend.Failed(f"{type(error).__name__}: {' '.join(str(error).split())}", device=True))
    front.close()
    os._exit(EXIT_DEVICE)


def main() -> int:
    """Serve the front at the other end of the socket that the first argument numbers."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)  # a terminal, or systemd, sends them to all: the front ends us
    end = socket.socket(fileno=int(sys.argv[1]))
    end.set_inheritable(False)  # what a compiler's processes kept open would not tell of our end
    front = Pipe(end)
    try:
        while (message := front.receive()) is None:
            select.select([front], [], [])
    except EOFError:
        return EXIT_ERROR
    config = msgspec.json.decode(message[0], type=WorkerConfig)
    log_to_stderr(config.log_json, config.log_level)
    with Bell() as bell:
        return serve(config, front, bell)


if __name__ == "__main__":
    sys.exit(main())
