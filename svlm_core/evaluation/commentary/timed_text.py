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

"""Lines of text with times: what was said, and what it is held against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import json
from pathlib import Path
import re
from typing import Any

from svlm_core.errors import ConfigError
from svlm_core.evaluation.benchmarks.reading import distinct, MalformedError, seconds
from svlm_core.evaluation.runs.exclusions import EMPTY_REFERENCE, Excluded, MALFORMED, OUTSIDE
from svlm_core.events import CommentaryEvent
from svlm_core.frames import NS_PER_S

_CLOCK_NS = 1_000_000_000 * NS_PER_S  # stamps above are dates, not seconds since a recording's beginning
_LONGEST_GAP_S = 24 * 3600.0
_CUE = re.compile(r"^\s*((?:\d+:)?\d+:\d+[.,]\d+)\s+-->\s+((?:\d+:)?\d+:\d+[.,]\d+)")


@dataclass(frozen=True)
class TimedLine:
    """One line.

    Attributes:
        id: unique in its file.
        start_s: where what it is about begins, seconds since the recording's beginning.
        end_s: where that ends.
        text: the words.
        said_s: when the words could be read; for a reference its start_s.
    """

    id: str
    start_s: float
    end_s: float
    text: str
    said_s: float


def read_events(path: Path, origin_ns: int | None) -> tuple[list[TimedLine], list[Excluded]]:
    """Read the words of an events file.

    Args:
        path: as `svlm stream --jsonl` and `svlm eval bag` write it.
        origin_ns: stamp of the recording's beginning; None for 0.

    Raises:
        ConfigError: it cannot be read, or its stamps are of a clock and origin_ns is not known.
    """

    def lines() -> Iterator[tuple[str, TimedLine | Excluded]]:
        for number, text in _lines(path):
            try:
                event = CommentaryEvent.from_json(text)
            except ConfigError as error:
                yield f"line {number}", Excluded(f"line {number}", MALFORMED, str(error))
                continue
            if origin_ns is None and event.stamp_oldest_ns > _CLOCK_NS:
                raise ConfigError(
                    f"{path}: its stamps are of a clock; --origin-ns must say when the recording begins "
                    "(start_ns in result.json of svlm eval bag)"
                )
            start_s = (event.stamp_oldest_ns - (origin_ns or 0)) / NS_PER_S
            end_s = (event.stamp_newest_ns - (origin_ns or 0)) / NS_PER_S
            name = f"event {event.seq}"
            yield name, TimedLine(name, start_s, end_s, event.words.strip(), end_s + event.latency_ms / 1e3)

    found = list(distinct(lines()))
    excluded = [item for item in found if isinstance(item, Excluded)]
    spoken = [item for item in found if isinstance(item, TimedLine) and item.text]
    return sorted(spoken, key=lambda line: line.start_s), excluded


def read_reference(path: Path, origin_ns: int | None) -> tuple[list[TimedLine], list[Excluded]]:
    """Read what is held against: .vtt, .srt, or JSON lines.

    JSON lines have "sentence" or "text", and "start_s" and "end_s", "start_ns" and "end_ns", or "second"; or
    they are commentary events.

    Raises:
        ConfigError: it cannot be read, or there is no line with words in it.
    """
    parse = _cues if path.suffix in (".vtt", ".srt") else _objects
    found = list(distinct(parse(path, origin_ns)))
    excluded = [item for item in found if isinstance(item, Excluded)]
    lines = sorted((item for item in found if isinstance(item, TimedLine)), key=lambda line: line.start_s)
    kept: list[TimedLine] = []
    for line in lines:
        if kept and line.start_s - kept[-1].end_s > _LONGEST_GAP_S:
            details = f"{kept[-1].end_s:g} s is followed by {line.start_s:g} s"
            excluded.append(Excluded(line.id, OUTSIDE, details))
        else:
            kept.append(line)
    if not kept:
        raise ConfigError(f"{path}: {EMPTY_REFERENCE}: there is no line with words and a time in it")
    return kept, excluded


def _objects(path: Path, origin_ns: int | None) -> Iterator[tuple[str, TimedLine | Excluded]]:
    for number, text in _lines(path):
        name = f"reference line {number}"
        try:
            line = json.loads(text)
            if not isinstance(line, dict):
                raise MalformedError("not an object")
            words = line.get("sentence", line.get("text"))
            if words is None or words == "":
                continue  # a stretch of silence
            if not isinstance(words, str):
                raise MalformedError(f"its words are {words!r}"[:80])
            start_s, end_s = _span(line, origin_ns or 0)
            yield name, TimedLine(name, start_s, end_s, words.strip(), start_s)
        except (ValueError, RecursionError) as error:
            yield name, Excluded(name, MALFORMED, str(error))


def _span(line: dict[str, Any], origin_ns: int) -> tuple[float, float]:
    if "second" in line:
        start_s = seconds(line["second"], "second")
        return start_s, start_s + 1
    for begin, end in (("start_ns", "end_ns"), ("stamp_oldest_ns", "stamp_newest_ns")):
        if begin in line and end in line:
            start_s, end_s = (
                seconds((int(line[name]) - origin_ns) / NS_PER_S, name) for name in (begin, end)
            )
            break
    else:
        start_s, end_s = seconds(line.get("start_s"), "start_s"), seconds(line.get("end_s"), "end_s")
    if end_s < start_s:
        raise MalformedError(f"it ends at {end_s:g} s and begins at {start_s:g} s")
    return start_s, end_s


def _cues(path: Path, origin_ns: int | None) -> Iterator[tuple[str, TimedLine | Excluded]]:
    """Cues of WebVTT or SubRip."""
    rows = _text(path).splitlines()
    for number, row in enumerate(rows):
        cue = _CUE.match(row)
        if not cue:
            continue
        name = f"cue at line {number + 1}"
        words = []
        for text in rows[number + 1 :]:
            if not text.strip():
                break
            words.append(re.sub(r"<[^>]*>", "", text).strip())
        try:
            start_s, end_s = (seconds(time.replace(",", "."), "cue") for time in cue.groups())
        except MalformedError as error:
            yield name, Excluded(name, MALFORMED, str(error))
            continue
        if any(words):
            yield name, TimedLine(name, start_s, end_s, " ".join(words), start_s)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    return ((number, text) for number, text in enumerate(_text(path).splitlines(), 1) if text.strip())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error.reason})") from error
