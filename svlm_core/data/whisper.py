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

"""Transcripts in JSON as Whisper, WhisperX and faster-whisper write them, and words as JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
import json
from typing import Any

from svlm_core.data.problems import Problems
from svlm_core.data.words import is_timed, spread, Word

NOT_JSON = "a line that is not JSON"
NOT_A_WORD = "an entry that is not a word with a start and an end"
NO_SEGMENT_TIME = "a segment without times"
BORROWED_TIME = "a word without a time of its own, which took its neighbours'"


def whisper_words(data: Any, where: str, problems: Problems) -> list[Word]:
    """The words of {"segments": [{"start", "end", "text", "words": [{"word", "start", "end"}]}]}.

    WhisperX leaves numbers and signs without times: such a word lies between its neighbours. A segment
    without words is spread over its time.

    Raises:
        ValueError: there are no segments.
    """
    segments = data.get("segments") if isinstance(data, dict) else data
    if not isinstance(segments, list):
        raise ValueError("no list of segments in it")
    words: list[Word] = []
    for number, segment in enumerate(segments):
        place = f"{where}: segment {number}"
        if not isinstance(segment, dict):
            problems.add(NO_SEGMENT_TIME, place)
            continue
        start_s: Any = segment.get("start")
        end_s: Any = segment.get("end")
        entries = segment.get("words")
        if isinstance(entries, list) and entries:
            words += _borrow(entries, start_s, end_s, place, problems)
        elif is_timed(start_s, end_s):
            words += spread(start_s, end_s, str(segment.get("text", "")))
        else:
            problems.add(NO_SEGMENT_TIME, place)
    return words


def line_words(lines: Sequence[str], where: str, problems: Problems) -> list[Word]:
    """The words of a file with a word or a phrase a line: {"start", "end", "word"} or [start, end, word]."""
    words: list[Word] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{where}:{number}"
        try:
            entry = json.loads(line)
        except ValueError:
            problems.add(NOT_JSON, place)
            continue
        word = _word(entry)
        if word is None or not is_timed(word.start_s, word.end_s):
            problems.add(NOT_A_WORD, place)
        else:
            words += spread(*word)
    return words


def _word(entry: Any) -> Word | None:
    if isinstance(entry, dict):
        entry = [entry.get("start"), entry.get("end"), entry.get("word", entry.get("text"))]
    if not isinstance(entry, list) or len(entry) != 3 or not isinstance(entry[2], str):
        return None
    start_s, end_s, text = entry
    return Word(float(start_s), float(end_s), text.strip()) if is_timed(start_s, end_s) else None


def _borrow(entries: list[Any], start_s: Any, end_s: Any, place: str, problems: Problems) -> list[Word]:
    """Words of one segment; runs of words without times are spread from one neighbour to the next."""
    bounded = is_timed(start_s, end_s)
    words: list[Word] = []
    waiting: list[str] = []  # texts of the run that has no times
    for entry in entries:
        text = str(entry.get("word", entry.get("text", ""))).strip() if isinstance(entry, dict) else ""
        word = _word(entry)
        if word is None:
            waiting += [text] if text else []
            if not text:
                problems.add(NOT_A_WORD, place)
            continue
        words += _between(waiting, words, word.start_s, start_s if bounded else None, place, problems)
        waiting = []
        words.append(word)
    last_s = end_s if bounded else None
    return words + _between(waiting, words, last_s, start_s if bounded else None, place, problems)


def _between(
    waiting: list[str], before: list[Word], end_s: Any, first_s: Any, place: str, problems: Problems
) -> list[Word]:
    """The waiting texts between the end of the words before (or the segment's start) and `end_s`."""
    if not waiting:
        return []
    start_s = before[-1].end_s if before else first_s
    if start_s is None and end_s is None:
        problems.add(NOT_A_WORD, place, len(waiting))
        return []
    begin_s = float(end_s if start_s is None else start_s)
    stop_s = max(begin_s, float(begin_s if end_s is None else end_s))
    problems.add(BORROWED_TIME, place, len(waiting))
    return spread(begin_s, stop_s, " ".join(waiting))
