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

"""`svlm serve` as a process of its own, which tests kill and start again with the same journal and keys."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import threading
import time

from svlm_core.offload.keys import KeyStore, SERVER

START_LIMIT_S = 240.0  # torch's import on a busy machine
END_LIMIT_S = 60.0


def make_keys(folder: Path, *robots: str) -> Path:
    """Keys of a server and of robots that it allows, all in one folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = KeyStore(folder)
    store.new(SERVER)
    for robot in robots:
        store.allow(robot, store.new(robot))
    return folder


class ServeRig:
    """One server.

    Attributes:
        lines: what it has printed since it was started last.
        ready_s: `time.monotonic()` when it was ready.
        endpoint: where it listens, its port as the system chose it.
    """

    READY = re.compile(r'svlm: ready at ([^,]+)|"event": "ready", "endpoint": "([^"]+)')  # --log-json

    def __init__(
        self,
        folder: Path,
        bind: str,
        *options: str,
        on_server: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        """Prepare; `start` starts it.

        Args:
            folder: of the journal.
            bind: where it listens.
            options: more of `svlm serve`.
            on_server: what its command line begins with.
            environment: added to ours.
        """
        folder.mkdir(parents=True, exist_ok=True)
        serve = [sys.executable, "-m", "svlm_core.cli", "serve", "--bind", bind, "--metrics", ""]
        self._command = [*on_server, *serve, "--journal", str(folder / "journal.sqlite"), *options]
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []
        self.ready_s = 0.0
        self.endpoint = ""

    def __enter__(self) -> ServeRig:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self.kill()

    def start(self) -> ServeRig:
        """Start it and wait until it is ready."""
        assert self._process is None
        self.lines, self.endpoint = [], ""
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
            start_new_session=True,  # its workers die with it, or are found by `kill`
        )
        ready = threading.Event()
        threading.Thread(target=self._read, args=(self._process, ready), daemon=True).start()
        if not ready.wait(START_LIMIT_S) or not self.endpoint:
            output = "\n".join(self.lines)
            self.kill()
            raise AssertionError(f"the server did not start:\n{output}")
        return self

    def kill(self) -> None:
        """End the front at once, as a power cut or the kernel would; its workers notice by themselves."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(END_LIMIT_S)
        self._process = None

    def end(self) -> int:
        """End it as its supervisor would; its exit status."""
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(END_LIMIT_S)
        self._process = None
        return status

    @property
    def running(self) -> bool:
        """Whether it was started and not ended by us."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of the front."""
        assert self._process is not None
        return self._process.pid

    def _read(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip())
            if (found := self.READY.search(line)) and not ready.is_set():
                self.ready_s = time.monotonic()
                self.endpoint = found[1] or found[2]
                ready.set()
        ready.set()  # it has ended
