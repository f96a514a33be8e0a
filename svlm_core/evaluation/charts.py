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

"""A recording over time, as SVG text: what was said, and how long it took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from svlm_core.evaluation.marks import Mark, MISSED, WRONG
from svlm_core.evaluation.svg import (
    across,
    axis_across,
    axis_up,
    BELOW_PX,
    clock,
    LEFT_PX,
    line_across,
    nice,
    PLOT_PX,
    RIGHT_PX,
    svg,
    text,
    TICKS,
    TOP_PX,
    up,
    WIDTH_PX,
)
from svlm_core.evaluation.truth import Heard
from svlm_core.frames import NS_PER_S

_LANE_PX, _ROW_GAP_PX, _EDGE_PX = 19, 14, 3
_LETTER_PX = 6.0  # width of a letter at the size of the labels: too much rather than too little
_SHORTEST_LABEL, _LABELLED_PX = 4, 16  # letters; width of a box that may have a label
_ROW_S = (10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_MAX_ROWS = 20
_MAX_DOTS = 600  # more chunks than these are drawn as the median and the extremes of groups


def timeline(shown: Sequence[Mark], heard: Sequence[Heard], origin_ns: int, with_truth: bool) -> str:
    """Rows of time; in each a lane of truth, if there is one, above a lane of what was said."""
    rows = _Rows((heard[-1].end_ns - origin_ns) / NS_PER_S, lanes=2 if with_truth else 1)
    parts = [svg(rows.count * rows.height_px, "what is true and what was said, over time"), *rows.draw()]
    for box in sorted(_boxes(shown, heard, with_truth), key=_mistake):  # mistakes last, so on top
        edges_s = [(ns - origin_ns) / NS_PER_S for ns in (box.start_ns, box.end_ns, box.room_ns)]
        for x, y, box_px, room_px in rows.places(edges_s, box.lane):
            parts.append(f'<a href="#m{box.mark}"><title>{escape(box.tip)}</title>')
            parts.append(_rect(box.style, x, y, box_px))
            if box.label:
                parts.append(_rect(f"edge {box.style}", x, y, _EDGE_PX))
            letters = int((room_px - 2 * _EDGE_PX) / _LETTER_PX)
            if letters >= _SHORTEST_LABEL and box_px >= _LABELLED_PX:
                label = box.label if len(box.label) <= letters else box.label[: letters - 1] + "…"
                parts.append(text(x + _EDGE_PX + 4, y + 13, label, "label"))
            parts.append("</a>")
    return "".join(parts) + "</svg>"


def latency(moments_s: Sequence[float], chunk_ms: Sequence[float], chunk_s: float) -> str:
    """Wall time of each chunk over the recording, with its median and 99th percentile."""
    times, values = np.asarray(moments_s), np.asarray(chunk_ms)
    p50, p99 = np.percentile(values, (50, 99))
    top_ms = nice(max(1.4 * p99, 1.0))
    above = int((values > top_ms).sum())
    length_s = float(times[-1]) + chunk_s
    x_of = across(0) + (across(1) - across(0)) * times / length_s
    y_of = PLOT_PX * (1 - np.minimum(values, top_ms) / top_ms) + TOP_PX
    parts = [svg(PLOT_PX + BELOW_PX, "time of a chunk over the recording")]
    parts += axis_up([f"{top_ms * tick / TICKS:g}" for tick in range(TICKS + 1)])
    parts += axis_across([clock(length_s * tick / TICKS) for tick in range(TICKS + 1)])
    if len(values) <= _MAX_DOTS:
        parts += [
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>'
            for x, y in zip(x_of, y_of, strict=True)
        ]
    else:
        groups = list(zip(np.array_split(x_of, _MAX_DOTS), np.array_split(y_of, _MAX_DOTS), strict=True))
        line = " ".join(f"{x.mean():.1f},{np.median(y):.1f}" for x, y in groups)
        parts += [f'<path class="range" d="M{x.mean():.1f} {y.min():.1f}V{y.max():.1f}"/>' for x, y in groups]
        parts.append(f'<polyline class="median" points="{line}"/>')
    for name, ms, below_px in (("median", p50, 14), ("p99", p99, -5)):
        parts.append(line_across(ms / top_ms, "level"))
        words = f"{name} {ms:.1f} ms"
        parts.append(text(WIDTH_PX - RIGHT_PX - 4, up(ms / top_ms) + below_px, words, "level-name end"))
    if above:
        words = f"{above} above {top_ms:g} ms, up to {values.max():.0f} ms"
        parts.append(text(LEFT_PX + 6, 20, words, "axis"))
    return "".join(parts) + "</svg>"


class _Rows:
    """Time, broken into rows like the lines of a text.

    Attributes:
        count: how many rows there are, at most _MAX_ROWS.
        height_px: from the top of one row to that of the next.
    """

    def __init__(self, length_s: float, lanes: int) -> None:
        longest_s = -(-length_s // _MAX_ROWS)
        self._length_s, self._lanes = length_s, lanes
        self._row_s = next((row_s for row_s in _ROW_S if row_s >= longest_s), longest_s)
        self._px_per_s = (WIDTH_PX - LEFT_PX - RIGHT_PX) / self._row_s
        self.count = max(1, -int(-length_s // self._row_s))
        self.height_px = lanes * _LANE_PX + _ROW_GAP_PX

    def draw(self) -> Iterator[str]:
        """The empty rows."""
        for row in range(self.count):
            top, start_s = row * self.height_px, row * self._row_s
            yield text(LEFT_PX - 8, top + 13, clock(start_s), "axis end")
            for lane in range(self._lanes):
                width = min(self._length_s - start_s, self._row_s) * self._px_per_s
                yield _rect("lane", LEFT_PX, top + lane * _LANE_PX, width)
            for tick in range(TICKS + 1):
                x = LEFT_PX + tick * self._row_s / TICKS * self._px_per_s
                yield f'<path class="tick" d="M{x:.1f} {top}v{self.height_px - _ROW_GAP_PX + 3}"/>'

    def places(self, edges_s: Sequence[float], lane: int) -> Iterator[tuple[float, float, float, float]]:
        """Where a box lies, row by row.

        Args:
            edges_s: where it begins, where it ends, and where the next one begins.
            lane: number of its lane.

        Yields:
            Its left, its top, its width, and the width up to the next box, pixels.
        """
        row_s = self._row_s
        for row in range(max(0, int(edges_s[0] // row_s)), min(self.count, -int(-edges_s[1] // row_s))):
            begin, end, room = (min(max(edge_s - row * row_s, 0), row_s) for edge_s in edges_s)
            x, y = LEFT_PX + begin * self._px_per_s, row * self.height_px + lane * _LANE_PX
            yield x, y, max(2.0, (end - begin) * self._px_per_s - 1), (room - begin) * self._px_per_s


class _Box(NamedTuple):
    """What a mark looks like in one lane.

    Attributes:
        start_ns: where it begins.
        end_ns: where it ends.
        lane: number of the lane, from the top.
        label: the words in it.
        style: CSS class.
        tip: shown when the pointer rests on it.
        mark: number of the mark.
        room_ns: where the next box of the lane begins: a label may go on until there.
    """

    start_ns: int
    end_ns: int
    lane: int
    label: str
    style: str
    tip: str
    mark: int
    room_ns: int = 0


def _boxes(shown: Sequence[Mark], heard: Sequence[Heard], with_truth: bool) -> Iterator[_Box]:
    """The boxes of all lanes, lane by lane."""
    truths, words = [], []
    for number, mark in enumerate(shown):
        tip = f"said: {mark.said or '(nothing)'}\ntrue: {mark.truth or '(nothing, or not known)'}"
        if mark.truth:
            truths.append(_Box(mark.start_ns, mark.end_ns, 0, mark.truth, "truth", tip, number))
        if mark.status == MISSED:
            words.append(_Box(mark.start_ns, mark.end_ns, int(with_truth), "", MISSED, tip, number))
        else:
            chunk = heard[mark.chunk]
            lane, style = int(with_truth), mark.status
            words.append(_Box(chunk.start_ns, chunk.end_ns, lane, mark.said, style, tip, number))
    for boxes in (truths, words):
        boxes.sort()
        followers = [box.start_ns for box in boxes[1:]] + [heard[-1].end_ns]
        for box, next_ns in zip(boxes, followers, strict=bool(boxes)):
            yield box._replace(room_ns=max(box.end_ns, next_ns))


def _mistake(box: _Box) -> bool:
    return box.style in (WRONG, MISSED)


def _rect(style: str, x: float, y: float, width: float) -> str:
    height = _LANE_PX - 1
    return f'<rect class="{style}" x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{height}" rx="2"/>'
