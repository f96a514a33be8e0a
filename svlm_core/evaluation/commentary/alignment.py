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

"""Second by second: who speaks when, and what is said about the same stretch of time."""

from __future__ import annotations

from collections.abc import Sequence
import math
from typing import NamedTuple

from svlm_core.evaluation.commentary.timed_text import TimedLine


class Aligned(NamedTuple):
    """One window of time.

    Attributes:
        said: words of the events that begin in it, in order.
        reference: words of the reference that lie in it: a line's words are spread evenly over its seconds.
    """

    said: str
    reference: str


def windows(said: Sequence[TimedLine], reference: Sequence[TimedLine], window_s: int) -> list[Aligned]:
    """Both sides cut into windows; those in which neither speaks are left out."""
    ours: dict[int, list[str]] = {}
    theirs: dict[int, list[str]] = {}
    for line in said:
        ours.setdefault(int(line.start_s // window_s), []).append(line.text)
    for second, words in _by_second(reference):
        theirs.setdefault(second // window_s, []).append(words)
    return [
        Aligned(" ".join(ours.get(number, ())), " ".join(theirs.get(number, ())))
        for number in sorted({*ours, *theirs})
    ]


def speaking(said: Sequence[TimedLine], reference: Sequence[TimedLine]) -> tuple[float | None, float | None]:
    """Precision and recall of speaking, over seconds.

    Returns:
        Share of the seconds with our words in which the reference speaks too, and share of the reference's
        seconds in which we speak; None over no seconds.
    """
    ours, theirs = _seconds(said), _seconds(reference)
    both = len(ours & theirs)
    return (both / len(ours) if ours else None), (both / len(theirs) if theirs else None)


def _seconds(lines: Sequence[TimedLine]) -> set[int]:
    return {second for line in lines for second in _span(line)}


def _span(line: TimedLine) -> range:
    """The seconds a line touches; at least one."""
    first = math.floor(line.start_s)
    return range(first, max(first + 1, math.ceil(line.end_s)))


def _by_second(lines: Sequence[TimedLine]) -> list[tuple[int, str]]:
    """Each line's words, spread evenly over its seconds."""
    parts = []
    for line in lines:
        words, span = line.text.split(), _span(line)
        for number, second in enumerate(span):
            begin, end = (round(len(words) * k / len(span)) for k in (number, number + 1))
            if end > begin:
                parts.append((second, " ".join(words[begin:end])))
    return parts
