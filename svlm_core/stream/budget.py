"""The time a chunk may take."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class ChunkBudget:
    """How long one chunk may take; asked between steps, so it ends at a token boundary.

    Attributes:
        deadline_s: `time.monotonic()` after which no further token is begun; None for no limit.
        cancelled: whether the chunk shall end after the step it is in.
    """

    deadline_s: float | None = None
    cancelled: bool = False

    def cancel(self) -> None:
        """End the chunk after the step it is in; from any thread."""
        self.cancelled = True

    @property
    def spent(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline_s is not None and time.monotonic() >= self.deadline_s
