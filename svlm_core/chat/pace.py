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

"""How often something may begin."""

from __future__ import annotations

from collections.abc import Callable
import threading
import time


class Pace:
    """Spaces out beginnings evenly, over any number of threads."""

    def __init__(
        self,
        per_s: float,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the pace.

        Args:
            per_s: most beginnings in a second; 0 sets no limit.
            sleep: waits so many seconds.
            clock: seconds.
        """
        self._gap_s = 1 / per_s if per_s else 0.0
        self._sleep, self._clock = sleep, clock
        self._lock = threading.Lock()
        self._next_s = 0.0

    def wait(self) -> None:
        """Return when the next beginning is due."""
        if not self._gap_s:
            return
        with self._lock:
            now_s = self._clock()
            due_s = max(now_s, self._next_s)
            self._next_s = due_s + self._gap_s
        if due_s > now_s:
            self._sleep(due_s - now_s)
