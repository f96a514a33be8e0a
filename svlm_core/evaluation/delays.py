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

"""How late true sentences were said."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from svlm_core.evaluation.truth import Heard, Truth
from svlm_core.frames import NS_PER_S

LATEST_S = 5  # a sentence said later than this is not about its event any more


class Delays:
    """How late true sentences were said, seconds; one that comes later than LATEST_S was missed.

    Attributes:
        counts: true sentences by delay; the last is the missed ones.
    """

    def __init__(self, counts: Iterable[int] = (), waiting: Iterable[Sequence[Any]] = ()) -> None:
        """Begin, or go on from what `counts` and `waiting` were."""
        self.counts = list(counts) or [0] * (LATEST_S + 2)
        self._waiting: deque[tuple[str, int]] = deque((text, age_s) for text, age_s in waiting)

    @property
    def waiting(self) -> list[tuple[str, int]]:
        """Sentences that were not said yet, and for how many seconds."""
        return list(self._waiting)

    def add(self, said: str, truth: str) -> None:
        """One more second; a sentence counts once, in the first second that has it."""
        aged = [(text, age_s + 1) for text, age_s in self._waiting]
        if truth:
            aged.append((truth, 0))
        self._waiting.clear()
        for text, age_s in aged:
            if text == said:
                self.counts[age_s] += 1
                said = ""
            elif age_s == LATEST_S:
                self.counts[-1] += 1
            else:
                self._waiting.append((text, age_s))

    @property
    def shares(self) -> dict[str, float]:
        """Share of sentences by delay: "0 s", "1 s", ..., "missed"; those that still wait are left out."""
        total = max(1, sum(self.counts))
        names = [*(f"{delay} s" for delay in range(LATEST_S + 1)), "missed"]
        return {name: round(count / total, 4) for name, count in zip(names, self.counts, strict=True)}

    @property
    def rates(self) -> dict[str, dict[str, Any]]:
        """The same as rates of a report: each with the number of sentences behind it."""
        shares = zip(self.shares.items(), self.counts, strict=True)
        return {name: {"mean": share, "low": None, "high": None, "n": n} for (name, share), n in shares}


def recorded_delays(truths: Sequence[Truth], heard: Sequence[Heard]) -> Delays:
    """The same of a recording: from the beginning of a truth to that of the chunk which tells it.

    Args:
        truths: in the order of their beginnings; those about silence are passed over.
        heard: chunks that do not overlap, oldest first; of any length.
    """
    delays = Delays()
    coming = deque(truth for truth in truths if truth.sentence)
    waiting: list[Truth] = []
    for chunk in heard:
        said, still = chunk.text, []
        while coming and coming[0].start_ns < chunk.end_ns:
            waiting.append(coming.popleft())
        for truth in waiting:
            if truth.sentence == said and chunk.start_ns - truth.start_ns < (LATEST_S + 1) * NS_PER_S:
                delays.counts[max(0, chunk.start_ns - truth.start_ns) // NS_PER_S] += 1
                said = ""
            elif chunk.end_ns - truth.start_ns >= (LATEST_S + 1) * NS_PER_S:
                delays.counts[-1] += 1
            else:
                still.append(truth)
        waiting = still
    return delays
