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

"""Starts worker processes: what each is told, and what a way of starting them must offer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
import subprocess
import sys
import tempfile
from typing import Any, Protocol

import msgspec
import zmq

EXIT_OK, EXIT_ERROR, EXIT_DEVICE = 0, 1, 3


class WorkerKeys(msgspec.Struct, frozen=True):
    """CURVE keys of a worker that is not on the front's machine, z85.

    Attributes:
        server: the front's public key.
        public, secret: the worker's own.
    """

    server: str
    public: str
    secret: str


class WorkerConfig(msgspec.Struct, frozen=True):
    """What a worker needs to know.

    Attributes:
        name: of the worker, unique in a server.
        endpoint: of the front's backend.
        model: a folder, a hub id, or the embedded checkpoint's name.
        device: a torch device.
        dtype: of the weights.
        quantize: "" for no.
        threads: CPU threads, 0 for torch's own choice.
        settings: (fields of StreamConfig, where they come from), each winning over those before.
        max_batch: most chunks in work at once.
        log_level: debug, info, warning or error.
        log_json: whether lines of the log are JSON.
        keys: of the link to the front; None for a link that does not leave the machine.
    """

    name: str
    endpoint: str
    model: str
    device: str
    dtype: str
    quantize: str
    threads: int
    settings: tuple[tuple[dict[str, Any], str], ...]
    max_batch: int
    log_level: str = "info"
    log_json: bool = False
    keys: WorkerKeys | None = None


class WorkerProcess(Protocol):
    """A worker that was started."""

    def exit_code(self) -> int | None:
        """None while it runs; never blocks."""

    def kill(self) -> None:
        """End it at once."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; whether it has ended."""


class Launcher(Protocol):
    """Starts workers: here as processes of this machine, elsewhere as it likes.

    A worker runs svlm_core.offload.worker.serve, which connects to the config's endpoint. It must end when
    the front ends, however that ends.
    """

    def listen(self, backend: zmq.Socket) -> AbstractContextManager[str]:
        """Bind the front's socket, which has a context of its own, where workers reach it.

        Returns:
            The endpoint, until the context ends.
        """

    def start(self, config: WorkerConfig) -> WorkerProcess:
        """Start one; does not wait until it is ready."""


class LocalProcess:
    """A worker as a child of this process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Made by LocalLauncher."""
        self._process = process

    def exit_code(self) -> int | None:
        """As of WorkerProcess."""
        return self._process.poll()

    def kill(self) -> None:
        """As of WorkerProcess."""
        self._process.kill()

    def wait(self, timeout_s: float) -> bool:
        """As of WorkerProcess."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        assert self._process.stdin is not None
        self._process.stdin.close()
        return True


class LocalLauncher:
    """Starts workers with this interpreter; each lives as long as the pipe that brought its config."""

    @contextmanager
    def listen(self, backend: zmq.Socket) -> Iterator[str]:
        """As of Launcher."""
        with tempfile.TemporaryDirectory(prefix="svlm-") as folder:  # for this user alone
            endpoint = f"ipc://{folder}/backend"
            backend.bind(endpoint)
            yield endpoint

    def start(self, config: WorkerConfig) -> LocalProcess:
        """As of Launcher."""
        process = subprocess.Popen([sys.executable, "-m", "svlm_core.offload.worker"], stdin=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(config) + b"\n")
        process.stdin.flush()
        return LocalProcess(process)
