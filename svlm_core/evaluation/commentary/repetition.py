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

"""How often a commentary repeats itself, and how often it contradicts itself: what users notice first.

A contradiction here is two lines about the same moment that are word for word alike but for a number, a
direction or a "not". That misses most contradictions, and what it finds nearly always is one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
import re
from typing import NamedTuple

from svlm_core.evaluation.commentary.timed_text import TimedLine

MEMORY_S = 60.0  # a sentence said again after longer is no repetition
MOMENT_S = 2.0  # lines so near are about one moment
GRAM = 4  # words

_DIRECTIONS = frozenset(["left", "right", "up", "down", "forward", "backward", "in", "out"])
_NUMBERS = frozenset(
    [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ]
)
_NEGATIONS = frozenset(
    [
        "no",
        "not",
        "never",
        "without",
        "isn't",
        "aren't",
        "doesn't",
        "don't",
        "didn't",
        "wasn't",
        "can't",
        "won't",
    ]
)
_SLOT = {**dict.fromkeys(_DIRECTIONS, "<direction>"), **dict.fromkeys(_NUMBERS, "<number>")}


class Repetition(NamedTuple):
    """Shares.

    Attributes:
        lines: of lines that were said before, word for word, within MEMORY_S; None without a line.
        grams: of runs of GRAM words that were said before within MEMORY_S; None without one.
    """

    lines: float | None
    grams: float | None


def repetition(said: Sequence[TimedLine]) -> Repetition:
    """How often lines, and runs of words in them, come again; lines in the order of start_s."""
    recent: deque[tuple[float, str, list[tuple[str, ...]]]] = deque()
    again, gram_again, gram_count = 0, 0, 0
    for line in said:
        while recent and line.start_s - recent[0][0] > MEMORY_S:
            recent.popleft()
        words = _words(line.text)
        grams = [tuple(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1)]
        known = {gram for _, _, earlier in recent for gram in earlier}
        again += any(" ".join(words) == earlier for _, earlier, _ in recent)
        for gram in grams:
            gram_again += gram in known
            known.add(gram)
        gram_count += len(grams)
        recent.append((line.start_s, " ".join(words), grams))
    return Repetition(again / len(said) if said else None, gram_again / gram_count if gram_count else None)


def contradictions(said: Sequence[TimedLine], other: Sequence[TimedLine]) -> list[tuple[int, int]]:
    """Which lines contradict which.

    Args:
        said: in the order of start_s.
        other: the same lines, or a reference's, in the order of start_s.

    Returns:
        Numbers of said and of other; each of said once at most.
    """
    frames = [_frame(line.text) for line in other]
    found, begin = [], 0
    for number, line in enumerate(said):
        while begin < len(other) and other[begin].start_s < line.start_s - MOMENT_S:
            begin += 1
        skeleton, slots = _frame(line.text)
        for against in range(begin, len(other)):
            if other[against].start_s > line.start_s + MOMENT_S:
                break
            itself = other is said and against >= number
            if not itself and frames[against][0] == skeleton and frames[against][1] != slots:
                found.append((number, against))
                break
    return found


def _frame(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A line's words with its slots emptied, and what was in them, "not" included."""
    skeleton, slots = [], []
    for word in _words(text):
        slot = "<number>" if word.isdigit() else _SLOT.get(word)
        if word in _NEGATIONS:
            slots.append("not")
        elif slot:
            skeleton.append(slot)
            slots.append(word)
        else:
            skeleton.append(word)
    return tuple(skeleton), tuple(slots)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)?", text.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
