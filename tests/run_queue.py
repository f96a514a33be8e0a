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

"""What threads did with a stretch of time, as the kernel's books have it: ran, or waited for a CPU.

On a machine that has other work most of a slow reply is such waiting, which no server can help. What remains
is the server's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
import os
from typing import NamedTuple

_BOOK_BYTES = 128

Look = dict[str, tuple[int, int]]  # thread -> nanoseconds that it ran and that it waited so far


class Share(NamedTuple):
    """Of a stretch of time.

    Attributes:
        ran_s: of the thread that ran for longest.
        waited_s: for a CPU, all threads together.
    """

    ran_s: float
    waited_s: float


class RunQueue:
    """Threads that are watched: those that their processes have now."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._books: dict[str, int] = {}
        for pid in pids:
            with suppress(OSError):  # a kernel that keeps no such books: then nobody is known to have waited
                for thread in os.listdir(f"/proc/{pid}/task"):
                    self._books[thread] = os.open(f"/proc/{pid}/task/{thread}/schedstat", os.O_RDONLY)

    def look(self) -> Look:
        """How things stand."""
        now = {}
        for thread, book in self._books.items():
            with suppress(OSError):  # it has ended
                ran, waited, _ = os.pread(book, _BOOK_BYTES, 0).split()
                now[thread] = int(ran), int(waited)
        return now

    def since(self, before: Look) -> Share:
        """What they have done since."""
        spent = [
            (ran - before[thread][0], waited - before[thread][1])
            for thread, (ran, waited) in self.look().items()
            if thread in before
        ]
        return Share(
            max((ran for ran, _ in spent), default=0) / 1e9, sum(waited for _, waited in spent) / 1e9
        )

    def close(self) -> None:
        for book in self._books.values():
            os.close(book)
