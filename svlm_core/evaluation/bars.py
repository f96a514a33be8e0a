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

from svlm_core.evaluation.runs.figures import Row
from svlm_core.evaluation.svg import across, axis_up, BELOW_PX, PLOT_PX, svg, text, TICKS, TOP_PX, up

_FILLED = 0.6  # of the room that a bar has


def bars(table: Sequence[Row], what: str) -> str:
    """A bar from 0 to 1 for each row, with a whisker for its interval.

    Args:
        table: shares; those without a value are left empty.
        what: they are, for those who cannot see the picture.
    """
    parts = [svg(PLOT_PX + BELOW_PX, what), *axis_up([f"{100 * n // TICKS} %" for n in range(TICKS + 1)])]
    for number, row in enumerate(table):
        middle = across((number + 0.5) / len(table))
        parts.append(text(middle, TOP_PX + PLOT_PX + 20, row.name, "axis middle"))
        if row.value is None:
            continue
        width, top = _FILLED * (across(1) - across(0)) / len(table), up(row.value)
        count = "" if row.n is None else f", {row.n}"
        parts.append(f"<g><title>{escape(f'{row.name}: {row.label}{count}')}</title>")
        parts.append(
            f'<rect class="bar" x="{middle - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{max(0.0, up(0) - top):.1f}"/>'
        )
        if row.low is not None and row.high is not None:
            parts.append(f'<path class="whisker" d="M{middle:.1f} {up(row.low):.1f}V{up(row.high):.1f}"/>')
        parts.append("</g>")
    return "".join(parts) + "</svg>"
