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

"""Workers as child processes of the front, each with a pipe to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
import selectors
import socket
import subprocess
import sys

import msgspec
from svlm_core.offload.launcher import WorkerConfig
from svlm_core.offload.pipe import Pipe
import zmq

_AT_ONCE = 64  # messages of one worker before the next has its turn


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
        return True


class LocalLinks:
    """The front's ends of the pipes, by the workers' identities."""

    def __init__(self) -> None:
        """There is no worker yet."""
        self._pipes: dict[bytes, Pipe] = {}
        self._selector = selectors.DefaultSelector()

    @property
    def pollable(self) -> int:
        """As of WorkerLinks."""
        return self._selector.fileno()

    def add(self, identity: bytes, pipe: Pipe) -> None:
        """There is one more."""
        self._pipes[identity] = pipe
        self._selector.register(pipe, selectors.EVENT_READ, identity)

    def send(self, identity: bytes, message: Sequence[bytes | zmq.Frame]) -> bool:
        """As of WorkerLinks."""
        pipe = self._pipes.get(identity)
        if pipe is None:
            return True
        taken = pipe.offer([part if isinstance(part, bytes) else part.buffer for part in message])
        self._watch(identity, pipe)
        return taken

    def receive(self) -> Iterator[tuple[bytes, memoryview]]:
        """As of WorkerLinks."""
        for key, events in self._selector.select(0):
            identity, pipe = key.data, self._pipes[key.data]
            if events & selectors.EVENT_WRITE:
                pipe.flush()
                self._watch(identity, pipe)
            if not events & selectors.EVENT_READ:
                continue
            try:
                for _ in range(_AT_ONCE):
                    message = pipe.receive()
                    if message is None:
                        break
                    yield identity, message[0]
            except EOFError:
                self._selector.unregister(pipe)
                self._pipes.pop(identity).close()

    def close(self) -> None:
        """Workers that are still there end."""
        self._selector.close()
        for pipe in self._pipes.values():
            pipe.close()

    def _watch(self, identity: bytes, pipe: Pipe) -> None:
        """Be told of room where something waits for it."""
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if pipe.waits else 0)
        if self._selector.get_key(pipe).events != wanted:
            self._selector.modify(pipe, wanted, identity)


class LocalLauncher:
    """Starts workers with this interpreter; each lives as long as this end of its pipe."""

    @contextmanager
    def listen(self) -> Iterator[LocalLinks]:
        """As of Launcher."""
        self._links = LocalLinks()
        try:
            yield self._links
        finally:
            self._links.close()

    def start(self, config: WorkerConfig) -> LocalProcess:
        """As of Launcher."""
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            command = [sys.executable, "-m", "svlm_core.offload.worker", str(fd)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[fd])
        identity = config.name.encode()
        self._links.add(identity, Pipe(ours))
        self._links.send(identity, [msgspec.json.encode(config)])
        return LocalProcess(process)
