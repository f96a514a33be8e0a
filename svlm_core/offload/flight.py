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

"""One chunk on its way to a server, over as many connections as it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math

import msgspec
from svlm_core.errors import LinkError, SvlmError
from svlm_core.offload import wire
from svlm_core.offload.link import LinkState, LIVE
from svlm_core.stream.result import ChunkResult

# a server that is well says something about every chunk long before: it does not bear workers that hang
LATE_S = 60.0  # after its deadline, a chunk that was sent is lost
PATIENCE_S = 600.0  # after it was sent, one without a deadline is

Answer = str | ChunkResult | SvlmError  # the words so far; or the end of it


@dataclass(eq=False)
class Flight:
    """A chunk that somebody waits for.

    Attributes:
        chunk: its header; epoch, seq and budget are filled in when it is sent.
        pictures: its frames, coded.
        deadline_s: monotonic time from which on it is not sent any more; None for none.
        tell: takes the words so far, any number of times, then a result or an error.
        seq: as which it was sent; -1 while it is not.
        epoch: of the memory that it was sent to.
        sent_s: when, monotonic.
        not_before_s: when it may be sent again, monotonic.
        waits_for: why it was not taken when it was sent last, in words.
        given_up_s: when it is not waited for any longer, whatever the deadline.
        given_up_for: why, in words.
    """

    chunk: wire.Chunk
    pictures: tuple[bytes, ...]
    deadline_s: float | None
    tell: Callable[[Answer], object]
    seq: int = -1
    epoch: int = -1
    sent_s: float = 0.0
    not_before_s: float = 0.0
    waits_for: str = ""
    given_up_s: float = math.inf
    given_up_for: str = ""

    @property
    def sent(self) -> bool:
        """Whether the server may have it."""
        return self.seq >= 0

    @property
    def overdue_s(self) -> float:
        """From when on a server that is well should have answered, monotonic."""
        if not self.sent:
            return math.inf
        return self.sent_s + PATIENCE_S if self.deadline_s is None else self.deadline_s + LATE_S

    @property
    def wanted(self) -> bool:
        """Whether it is to be sent, as soon as that is possible."""
        return not self.sent and not self.given_up_for

    def send(self, seq: int, epoch: int, now_s: float) -> wire.Chunk:
        """The message, now that it is sent."""
        self.seq, self.epoch, self.sent_s = seq, epoch, now_s
        budget_ms = 0.0 if self.deadline_s is None else (self.deadline_s - now_s) * 1e3
        return msgspec.structs.replace(self.chunk, epoch=epoch, seq=seq, budget_ms=budget_ms)

    def again(self, not_before_s: float, why: str = "") -> None:
        """The server does not have it: it must be sent once more."""
        self.seq, self.not_before_s, self.waits_for = -1, not_before_s, why

    def give_up(self, at_s: float, why: str) -> None:
        """Wait no longer than until then."""
        if at_s < self.given_up_s:
            self.given_up_s, self.given_up_for = at_s, why

    def failure(self, link: LinkState, now_s: float) -> LinkError | None:
        """Why it must fail now; None while there is hope."""
        if link.final:
            return LinkError(link.reason, final=True)
        if now_s >= self.given_up_s:
            return LinkError(self.given_up_for)
        if link.name == LIVE and now_s >= self.overdue_s:
            return LinkError(f"the server has not answered the chunk for {now_s - self.sent_s:.0f} s")
        if self.sent or self.deadline_s is None or now_s < self.deadline_s:
            return None
        why = self.waits_for if link.name == LIVE else f"the link is {link.name}: {link.reason}"
        return LinkError(f"the chunk could not be sent in time: {why or 'its time was over'}")

    def next_s(self, live: bool, may_be_sent: bool) -> float:
        """When something is to be done about it, if nothing happens before."""
        next_s = min(self.given_up_s, self.overdue_s) if live else self.given_up_s
        if not self.sent and self.deadline_s is not None:
            next_s = min(next_s, self.deadline_s)
        return min(next_s, self.not_before_s) if may_be_sent else next_s
