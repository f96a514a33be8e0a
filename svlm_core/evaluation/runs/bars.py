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

"""Bars with intervals, as SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from svlm_core.evaluation.charts import WIDTH_PX
from svlm_core.evaluation.runs.figures import Row

_PLOT_PX, _TOP_PX, _LEFT_PX = 150, 10, 40
_GRID = 4


def bars(table: Sequence[Row], what: str) -> str:
    """A bar from 0 to 1 for each row, with a whisker for its interval.

    Args:
        table: shares; those without a value are left empty.
        what: they are, for those who cannot see the picture.
    """
    step = (WIDTH_PX - _LEFT_PX) / len(table)
    parts = [f'<svg viewBox="0 0 {WIDTH_PX} {_PLOT_PX + 40}" role="img" aria-label="{escape(what)}">']
    for line in range(_GRID + 1):
        y = _y(line / _GRID)
        parts.append(f'<path class="tick" d="M{_LEFT_PX} {y:.1f}H{WIDTH_PX}"/>')
        parts.append(
            f'<text class="axis end" x="{_LEFT_PX - 6}" y="{y + 4:.1f}">{100 * line // _GRID} %</text>'
        )
    for number, row in enumerate(table):
        left, middle = _LEFT_PX + step * (number + 0.2), _LEFT_PX + step * (number + 0.5)
        parts.append(
            f'<text class="axis middle" x="{middle:.1f}" y="{_PLOT_PX + 28}">{escape(row.name)}</text>'
        )
        if row.value is None:
            continue
        top = _y(row.value)
        parts.append(f"<g><title>{escape(f'{row.name}: {row.label}')}</title>")
        parts.append(
            f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" width="{0.6 * step:.1f}" '
            f'height="{max(0.0, _y(0) - top):.1f}"/>'
        )
        if row.low is not None and row.high is not None:
            parts.append(f'<path class="whisker" d="M{middle:.1f} {_y(row.low):.1f}V{_y(row.high):.1f}"/>')
        parts.append("</g>")
    return "".join(parts) + "</svg>"


def _y(share: float) -> float:
    return _TOP_PX + _PLOT_PX * (1 - share)
