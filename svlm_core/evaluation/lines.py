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

"""Several streams' figures over time, or over a setting, as lines in SVG text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from itertools import groupby
from typing import NamedTuple

import numpy as np
from svlm_core.evaluation.svg import across, axis_across, axis_up, BELOW_PX, clock, PLOT_PX, svg, TICKS, up

_COLOURS = 6  # of report.css
_DASHES = ("", "7 4", "2 3")  # so that many lines can be told apart
_DOT_PX = 2.5
_CROSS_PX = 5
_ROOM = 1.2  # above and below what is drawn on a logarithmic axis


class Line(NamedTuple):
    """One line.

    Attributes:
        name: in the legend.
        xs: rising.
        ys: as many; None leaves a gap.
        broke: whether what it shows ended before its time: a cross marks where.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    broke: bool = False


def share_lines(lines: Sequence[Line], what: str, label: Callable[[float], str] = clock) -> str:
    """Shares, from 0 to 100 %.

    Args:
        lines: at least one with a point.
        what: they show, for those who cannot see the picture.
        label: of a place across; by default it is seconds.
    """
    percents = [f"{100 * tick // TICKS} %" for tick in range(TICKS + 1)]
    return _draw(lines, what, label, percents, lambda y: y)


def log_lines(lines: Sequence[Line], what: str, label: Callable[[float], str] = clock) -> str:
    """Positive numbers of any size, on a logarithmic axis; arguments as share_lines'."""
    values = [y for line in lines for y in line.ys if y is not None]
    low, high = np.log(min(values) / _ROOM), np.log(max(values) * _ROOM)
    ticks = [f"{np.exp(low + (high - low) * tick / TICKS):.3g}" for tick in range(TICKS + 1)]
    return _draw(lines, what, label, ticks, lambda y: float((np.log(y) - low) / (high - low)))


def _draw(
    lines: Sequence[Line],
    what: str,
    label: Callable[[float], str],
    ticks: list[str],
    height: Callable[[float], float],
) -> str:
    first = min(line.xs[0] for line in lines if line.xs)
    last = max(line.xs[-1] for line in lines if line.xs)
    width = last - first or 1.0
    places = [label(first + width * tick / TICKS) for tick in range(TICKS + 1)]
    parts = [svg(PLOT_PX + BELOW_PX, what), *axis_up(ticks), *axis_across(places)]
    for number, line in enumerate(lines):
        points = [
            None if y is None else (across((x - first) / width), up(height(y)))
            for x, y in zip(line.xs, line.ys, strict=True)
        ]
        parts.append(f"<g><title>{escape(line.name)}</title>")
        for there, run in groupby(points, lambda point: point is not None):
            if there:
                parts += _run([point for point in run if point], number)
        known = [point for point in points if point]
        if line.broke and known:
            parts.append(_cross(*known[-1], number))
        parts.append("</g>")
    names = "".join(f"<span>{_swatch(number)}{escape(line.name)}</span>" for number, line in enumerate(lines))
    legend = f'<div class="legend">{names}</div>' if len(lines) > 1 else ""
    return f"{legend}{''.join(parts)}</svg>"


def _run(points: Sequence[tuple[float, float]], number: int) -> list[str]:
    """Points without a gap between them: a line, or one dot."""
    if len(points) == 1:
        (x, y), colour = points[0], _colour(number)
        return [f'<circle style="fill: {colour}" cx="{x:.1f}" cy="{y:.1f}" r="{_DOT_PX}"/>']
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return [f'<polyline class="series" style="{_pen(number)}" points="{path}"/>']


def _cross(x: float, y: float, number: int) -> str:
    d = _CROSS_PX
    path = f"M{x - d:.1f} {y - d:.1f}l{2 * d} {2 * d}m0 {-2 * d}l{-2 * d} {2 * d}"
    return f'<path class="end-of-stream" style="stroke: {_colour(number)}" d="{path}"/>'


def _swatch(number: int) -> str:
    line = f'<path class="series" style="{_pen(number)}" d="M0 5H26"/>'
    return f'<svg class="swatch" viewBox="0 0 26 10" aria-hidden="true">{line}</svg>'


def _pen(number: int) -> str:
    dash = _DASHES[number // _COLOURS % len(_DASHES)]
    return f"stroke: {_colour(number)}" + (f"; stroke-dasharray: {dash}" if dash else "")


def _colour(number: int) -> str:
    return f"var(--series-{number % _COLOURS + 1})"
