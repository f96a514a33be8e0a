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

"""Inf-Streams-Eval: commentary on whole games.

Format: JSON lines, each with video, title and content, a list of [start, end, text] in seconds. A line is a
whole video, which is cut into segments here, or one clip of it; several clips of one video make one stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from svlm_core.evaluation.benchmarks.reading import distinct, field, MalformedError, read_items, seconds
from svlm_core.evaluation.benchmarks.segment import Segment, Stretch
from svlm_core.evaluation.runs.exclusions import EMPTY_REFERENCE, Excluded, MALFORMED, OUTSIDE

NAME = "inf-streams"

_LONGEST_GAP_S = 24 * 3600.0  # between two lines of one commentary; a longer one is another unit
_WHOLE = 1.5  # a line up to so many segments long is one segment


@dataclass(frozen=True)
class _Line:
    """What the human said, seconds."""

    start_s: float
    end_s: float
    text: str


def read(path: Path, segment_s: float, start_s: float) -> tuple[list[Stretch], list[Segment], list[Excluded]]:
    """Read a metadata or clips file.

    Args:
        path: the file.
        segment_s: into what lengths a whole video is cut; cuts lie between two lines of the commentary.
        start_s: where the streams begin; what was said before is the true previous text.

    Returns:
        Stretches, one for each video; segments; and what cannot be compared.
    """
    excluded: list[Excluded] = []
    spoken: dict[str, list[_Line]] = {}
    videos: dict[str, tuple[str, str]] = {}
    cut: list[tuple[str, Segment]] = []
    for number, item in enumerate(read_items(path)):
        try:
            video = field(item, "video")
            lines = _lines(field(item, "content", list))
        except MalformedError as error:
            reason = OUTSIDE if "unit" in str(error) else MALFORMED
            excluded.append(Excluded(f"line {number + 1}", reason, str(error)))
            continue
        name = PurePath(video).name
        videos.setdefault(name, (video, str(item.get("title") or "")))
        spoken.setdefault(name, []).extend(lines)
        for segment in _segments(name, lines, segment_s, start_s):
            cut.append((segment.id, segment))
    segments = []
    for found in distinct(cut):
        if isinstance(found, Excluded):
            excluded.append(found)
        elif not found.reference:
            excluded.append(Excluded(found.id, EMPTY_REFERENCE, "the human said nothing"))
        else:
            segments.append(found)
    ends: dict[str, float] = {}
    for segment in segments:
        ends[segment.stretch] = max(ends.get(segment.stretch, 0.0), segment.end_s)
    stretches = []
    for name, end_s in ends.items():
        before = " ".join(dict.fromkeys(line.text for line in spoken[name] if line.end_s <= start_s))
        video, title = videos[name]
        stretches.append(Stretch(name, video, start_s, end_s, before, title))
    return stretches, segments, excluded


def _lines(content: list[Any]) -> list[_Line]:
    lines: list[_Line] = []
    for entry in content:
        if not isinstance(entry, list) or len(entry) < 3 or not isinstance(entry[2], str):
            raise MalformedError(f"not [start, end, text]: {entry!r}"[:120])
        line = _Line(seconds(entry[0], "start"), seconds(entry[1], "end"), " ".join(entry[2].split()))
        if line.end_s < line.start_s:
            raise MalformedError(f"a line ends before it begins: {entry[:2]}")
        if lines and line.start_s - lines[-1].end_s > _LONGEST_GAP_S:
            raise MalformedError(f"mixed time units: {lines[-1].end_s:g} is followed by {line.start_s:g}")
        if lines and line.start_s < lines[-1].start_s:
            raise MalformedError(
                f"time runs backwards: {lines[-1].start_s:g} is followed by {line.start_s:g}"
            )
        lines.append(line)
    if not lines:
        raise MalformedError('"content" is empty')
    return lines


def _segments(video: str, lines: list[_Line], segment_s: float, start_s: float) -> Iterator[Segment]:
    lines = [line for line in lines if line.start_s >= start_s]
    if not lines:
        return
    whole = lines[-1].end_s - lines[0].start_s <= _WHOLE * segment_s
    groups: dict[int, list[_Line]] = {}
    for line in lines:
        number = 0 if whole else int((line.start_s - start_s) // segment_s)
        groups.setdefault(number, []).append(line)
    for group in groups.values():
        begin_s, end_s = group[0].start_s, max(line.end_s for line in group)
        reference = " ".join(line.text for line in group if line.text)
        yield Segment(f"{video} {begin_s:g}-{end_s:g} s", video, begin_s, end_s, reference)
