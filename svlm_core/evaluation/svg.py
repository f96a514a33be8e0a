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

"""What the report's drawings have in common: sizes, axes and shapes, as SVG text."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

WIDTH_PX = 1120
LEFT_PX, RIGHT_PX = 58, 8  # for the labels of an axis
PLOT_PX, TOP_PX = 190, 8  # of a chart: its height, and what lies above
BELOW_PX = 36  # for the labels across
TICKS = 4  # parts of an axis


def clock(seconds: float) -> str:
    """1:02:03, or 02:03 below an hour."""
    whole = int(seconds)
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return f"{hours}{whole // 60 % 60:02d}:{whole % 60:02d}"


def nice(value: float) -> float:
    """The next of 1, 2, 4, 8 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(power * step for step in (1, 2, 4, 8, 10) if power * step >= value))


def svg(height_px: float, what: str) -> str:
    """The opening tag; `what` is for those who cannot see the picture."""
    return f'<svg viewBox="0 0 {WIDTH_PX} {height_px:g}" role="img" aria-label="{escape(what)}">'


def text(x: float, y: float, words: str, style: str) -> str:
    """Words at a place."""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def line_across(share: float, style: str) -> str:
    """A level, from the left edge of the plot to its right."""
    return f'<path class="{style}" d="M{LEFT_PX} {up(share):.1f}H{WIDTH_PX - RIGHT_PX}"/>'


def up(share: float) -> float:
    """Where a share of the plot's height lies, 0 at the bottom."""
    return TOP_PX + PLOT_PX * (1 - share)


def across(share: float) -> float:
    """Where a share of the plot's width lies, 0 at the left."""
    return LEFT_PX + (WIDTH_PX - LEFT_PX - RIGHT_PX) * share


def axis_up(labels: list[str]) -> Iterator[str]:
    """Levels at equal distances, with these labels from the bottom to the top."""
    for number, label in enumerate(labels):
        share = number / (len(labels) - 1)
        yield line_across(share, "tick")
        yield text(LEFT_PX - 8, up(share) + 4, label, "axis end")


def axis_across(labels: list[str]) -> Iterator[str]:
    """Labels at equal distances from the left edge to the right."""
    last = len(labels) - 1
    for number, label in enumerate(labels):
        style = "axis" if not number else "axis end" if number == last else "axis middle"
        yield text(across(number / last), TOP_PX + PLOT_PX + 20, label, style)
