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

"""The time a chunk may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
import time


@dataclass
class ChunkBudget:
    """How long one chunk may take; asked between steps, so it ends at a token boundary.

    Attributes:
        deadline_s: `time.monotonic()` after which no further token is begun; None for no limit.
        cancelled: whether the chunk shall end after the step it is in.
    """

    deadline_s: float | None = None
    cancelled: bool = False
    _tell: Callable[[], object] | None = field(default=None, repr=False, compare=False)

    def cancel(self) -> None:
        """End the chunk after the step it is in; from any thread."""
        self.cancelled = True
        if self._tell is not None:
            self._tell()

    def on_cancel(self, tell: Callable[[], object]) -> None:
        """Be told, at once if it is cancelled already, in whatever thread that happens; perhaps twice."""
        self._tell = tell
        if self.cancelled:
            tell()

    @property
    def spent(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline_s is not None and time.monotonic() >= self.deadline_s
