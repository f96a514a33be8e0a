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

"""What a worker is told, and what a way of starting workers must offer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec
import zmq

EXIT_OK, EXIT_ERROR, EXIT_DEVICE = 0, 1, 3


class WorkerConfig(msgspec.Struct, frozen=True):
    """What a worker needs to know.

    Attributes:
        name: of the worker, unique in a server.
        model: a folder, a hub id, or the embedded checkpoint's name.
        device: a torch device.
        dtype: of the weights.
        quantize: "" for no.
        threads: CPU threads, 0 for torch's own choice.
        settings: (fields of StreamConfig, where they come from), each winning over those before.
        max_batch: most chunks in work at once.
        log_level: debug, info, warning or error.
        log_json: whether lines of the log are JSON.
    """

    name: str
    model: str
    device: str
    dtype: str
    quantize: str
    threads: int
    settings: tuple[tuple[dict[str, Any], str], ...]
    max_batch: int
    log_level: str = "info"
    log_json: bool = False


class WorkerProcess(Protocol):
    """A worker that was started."""

    def exit_code(self) -> int | None:
        """None while it runs; never blocks."""

    def kill(self) -> None:
        """End it at once."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; whether it has ended."""


class WorkerLinks(Protocol):
    """The front's links to its workers, each known by its identity; no method waits."""

    @property
    def pollable(self) -> zmq.Socket | int:
        """What becomes readable when there is something to receive, or to be done in `receive`."""

    def send(self, identity: bytes, message: Sequence[bytes | zmq.Frame]) -> bool:
        """Send to a worker, or, if it has ended, to nobody; False if it leaves too much unread."""

    def receive(self) -> Iterator[tuple[bytes, memoryview]]:
        """What has come, up to a number of messages; and from whom."""


class Launcher(Protocol):
    """Starts workers: here as processes of this machine, elsewhere as it likes.

    A worker runs svlm_core.offload.worker.serve. It must end when the front ends, however that ends.
    """

    def listen(self) -> AbstractContextManager[WorkerLinks]:
        """The links to all workers that are started until the context ends."""

    def start(self, config: WorkerConfig) -> WorkerProcess:
        """Start one, whose identity is its name; does not wait until it is ready."""
