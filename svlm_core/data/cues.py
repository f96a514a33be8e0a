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

"""Subtitles: SubRip (.srt) and WebVTT (.vtt)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import html
from itertools import pairwise
import re

from svlm_core.data.problems import Problems
from svlm_core.data.words import spread, Word

BAD_TIMES = "a cue whose times cannot be read"
NO_CUE = "a line that belongs to no cue"
OUT_OF_ORDER = "a cue out of order"
OVERLAPPING = "a cue that begins before the one before it ends"

_CLOCK = r"(?:(\d{1,4}):)?([0-5]?\d):([0-5]?\d)[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?$")
_WORD_TIME = re.compile(rf"<{_CLOCK}>")  # WebVTT may say when each word begins
_MARKUP = re.compile(r"</?[a-zA-Z][^>]*>|\{\\[^}]*\}")  # <i>, <c.colour>, <v Speaker>, {\an8}
_NOT_A_CUE = re.compile(r"WEBVTT\b|NOTE\b|STYLE\b|REGION\b|Kind:|Language:|X-TIMESTAMP-MAP=")
_ROLLING_S = 0.5  # a line said again this soon is the one above that a rolling display keeps


def cue_words(lines: Sequence[str], where: str, problems: Problems) -> list[Word]:
    """The words of a subtitle file in the order of its cues.

    A cue whose times cannot be read is passed over and named. Cues are sorted by their beginnings; one that
    begins before the last has ended waits for it, so that phrases stay whole. Where a display rolls, each cue
    repeats the line before; that line is taken once.

    Args:
        lines: of the file.
        where: the file's name, for messages.
        problems: collects what was wrong.
    """
    words: list[Word] = []
    last_line, last_end_s = "", 0.0
    cues = list(_cues(lines, where, problems))
    for (earlier_s, *_), (later_s, *_) in pairwise(cues):
        if later_s < earlier_s:
            problems.add(OUT_OF_ORDER, where)
    for start_s, end_s, said in sorted(cues, key=lambda cue: cue[0]):
        if start_s < last_end_s:
            problems.add(OVERLAPPING, where)
        begin_s = max(start_s, last_end_s)
        plain = [_plain(line) for line in said]
        repeated = bool(plain) and plain[0] == last_line and start_s <= last_end_s + _ROLLING_S
        fresh = said[1:] if repeated else said
        if plain:
            last_line = plain[-1]
        last_end_s = max(end_s, begin_s)
        words += _timed(begin_s, last_end_s, " ".join(fresh))
    return words


def _cues(lines: Sequence[str], where: str, problems: Problems) -> Iterator[tuple[float, float, list[str]]]:
    """Start, end and lines of each cue: blocks between empty lines, of which one line holds the times."""
    block: list[tuple[int, str]] = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip():
            block.append((number, line.strip()))
            continue
        if block:
            yield from _cue(block, where, problems)
        block = []


def _cue(
    block: list[tuple[int, str]], where: str, problems: Problems
) -> Iterator[tuple[float, float, list[str]]]:
    if _NOT_A_CUE.match(block[0][1].lstrip("\ufeff")):
        return
    arrows = [i for i, (_, line) in enumerate(block[:2]) if "-->" in line]
    if not arrows:
        problems.add(NO_CUE, f"{where}:{block[0][0]}")
        return
    number, line = block[arrows[0]]
    match = _TIMES.match(line)
    start_s, end_s = (_seconds(match.groups()[:4]), _seconds(match.groups()[4:])) if match else (0.0, -1.0)
    if end_s < start_s:
        problems.add(BAD_TIMES, f"{where}:{number}")
        return
    yield start_s, end_s, [text for _, text in block[arrows[0] + 1 :]]


def _timed(start_s: float, end_s: float, text: str) -> list[Word]:
    """Words of a cue; each part from one word's time to the next is spread by itself."""
    words: list[Word] = []
    at, begin_s = 0, start_s
    for mark in _WORD_TIME.finditer(text):
        mark_s = min(max(_seconds(mark.groups()), begin_s), end_s)
        words += spread(begin_s, mark_s, _plain(text[at : mark.start()]))
        at, begin_s = mark.end(), mark_s
    return words + spread(begin_s, end_s, _plain(text[at:]))


def _plain(text: str) -> str:
    return html.unescape(_MARKUP.sub("", _WORD_TIME.sub("", text))).strip()


def _seconds(clock: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = clock
    whole = 3600 * int(hours or 0) + 60 * int(minutes or 0) + int(seconds or 0)
    return whole + float(f"0.{fraction}")
