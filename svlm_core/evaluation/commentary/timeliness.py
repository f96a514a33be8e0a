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

"""Quality weighted by timeliness: the right words, late, are worth less."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from svlm_core.evaluation.commentary.timed_text import TimedLine

GRACE_S = 2.0  # so long after its beginning, words about something are in time
HALF_LIFE_S = 5.0  # then, and before it, their worth halves each time
_REACH = 5 * HALF_LIFE_S  # beyond it the worth is below a thirtieth: no match


class Match(NamedTuple):
    """An event that tells of a line of the reference.

    Attributes:
        said: number of the event.
        reference: number of the line.
        quality: of the words alone, 0 to 1.
        delay_s: from the line's beginning to the words; negative before it.
    """

    said: int
    reference: int
    quality: float
    delay_s: float

    @property
    def worth(self) -> float:
        """Quality times timeliness."""
        return self.quality * timeliness(self.delay_s)


def timeliness(delay_s: float) -> float:
    """1 in time, halving with every HALF_LIFE_S too late or too early."""
    away_s = -delay_s if delay_s < 0 else max(0.0, delay_s - GRACE_S)
    return float(0.5 ** (away_s / HALF_LIFE_S))


def match(
    said: Sequence[TimedLine], reference: Sequence[TimedLine], quality: Callable[[str, str], float]
) -> list[Match]:
    """Pairs, each event and each line in one at most, the best first.

    Args:
        said: in the order of start_s.
        reference: in the order of start_s.
        quality: (said, reference) -> 0 to 1.
    """
    starts = [line.start_s for line in reference]
    found = []
    for number, event in enumerate(said):
        near = range(
            bisect_left(starts, event.said_s - _REACH - GRACE_S), bisect_right(starts, event.said_s + _REACH)
        )
        for other in near:
            words = quality(event.text, reference[other].text)
            if words > 0:
                found.append(Match(number, other, words, event.said_s - starts[other]))
    found.sort(key=lambda pair: (-pair.worth, pair.said, pair.reference))
    events, lines, kept = set(), set(), []
    for pair in found:
        if pair.said not in events and pair.reference not in lines:
            events.add(pair.said)
            lines.add(pair.reference)
            kept.append(pair)
    return kept
