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

"""Words with their times, and how a stream of them is put in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
import math
from typing import NamedTuple

NO_TIME = "a word without a time"
BEYOND_END = "a word after the video's end"
OUT_OF_ORDER = "a word out of order"
OVERLAPPING = "a word that begins before the one before it ends"

_LATEST_S = 1e9  # thirty years: beyond any recording; keeps out infinity and numbers no float can hold


class Word(NamedTuple):
    """A word, or a few: seconds from the video's first frame to where it begins and ends, and its letters."""

    start_s: float
    end_s: float
    text: str


def spread(start_s: float, end_s: float, text: str) -> list[Word]:
    """A phrase of which only the whole's time is known: its words share the time by their length."""
    texts = text.split()
    letters = sum(len(word) for word in texts)
    words, at = [], 0
    for word in texts:
        begin, at = at, at + len(word)
        span_s = end_s - start_s
        words.append(Word(start_s + span_s * begin / letters, start_s + span_s * at / letters, word))
    return words


def is_timed(start_s: object, end_s: object) -> bool:
    """Whether these are times a word can have: finite numbers, not negative, in this order."""
    return (
        isinstance(start_s, (int, float))
        and isinstance(end_s, (int, float))
        and 0 <= start_s <= end_s <= _LATEST_S
    )


def in_order(words: Iterable[Word], length_s: float = math.inf) -> tuple[list[Word], Counter[str]]:
    """Words as a stream has them: by the time of their ends, none after the video's end.

    Words that come too early in the file are sorted in; words that overlap stay, and the later one ends no
    sooner than the earlier one. Words without a time, and words after the end, are left out.

    Returns:
        The words, and how many were odd in which way.
    """
    odd: Counter[str] = Counter()
    kept: list[Word] = []
    latest_s = 0.0
    for word in words:
        if not word.text.strip():
            continue
        if not is_timed(word.start_s, word.end_s):
            odd[NO_TIME] += 1
        elif word.end_s > length_s:
            odd[BEYOND_END] += 1
        else:
            odd[OUT_OF_ORDER] += word.start_s < latest_s
            latest_s = max(latest_s, word.start_s)
            kept.append(word)
    kept.sort(key=lambda word: word.start_s)
    ordered: list[Word] = []
    for word in kept:
        end_s = ordered[-1].end_s if ordered else 0.0
        odd[OVERLAPPING] += word.start_s < end_s
        ordered.append(Word(word.start_s, max(word.end_s, end_s), word.text.strip()))
    return ordered, +odd


def joined(words: Sequence[Word]) -> str:
    """The words as text."""
    return " ".join(word.text for word in words)
