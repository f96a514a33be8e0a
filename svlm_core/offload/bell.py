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

"""Wakes a thread that waits in a zmq.Poller."""

from __future__ import annotations

from contextlib import suppress
import os
from types import TracebackType


class Bell:
    """A pipe to oneself; a context manager. Register it in a Poller, whose events name its `fileno()`."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        self._closed = False

    def __enter__(self) -> Bell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """What becomes readable."""
        return self._out

    def ring(self) -> None:
        """Wake the thread; from any thread, and from signal handlers."""
        if self._closed:
            return
        with suppress(BlockingIOError):  # it rings already
            os.write(self._in, b"!")

    def quiet(self) -> None:
        """Be ready to ring again."""
        with suppress(BlockingIOError):
            os.read(self._out, 4096)

    def close(self) -> None:
        """Nobody waits any more."""
        self._closed = True
        os.close(self._out)
        os.close(self._in)
