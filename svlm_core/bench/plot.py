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

"""The efficiency figure: what a chunk costs over the age of the stream, and where each policy breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import itertools
from pathlib import Path
import re
from typing import Any, NamedTuple

import numpy as np
from svlm_core.evaluation.plotting import COLOURS, dress, GREY, new_figure, save_figure

WIDTH_PX, HEIGHT_PX = 1200, 504  # as wide as a README shows
_POINTS = 150  # of a line, each of a stretch of chunks
_LONG_CHUNKS = 1000  # from here on the age is drawn logarithmically
_LABEL_GAP = 0.075  # least distance of two labels, in heights of a panel
_MIB = 2**20


class _End(NamedTuple):
    """Where a line ends, in data coordinates, and what is written there."""

    x: float
    y: float
    label: str
    colour: str


def draw_efficiency(figures: dict[str, Any], title: str, path: Path) -> None:
    """Draw what `measure_efficiency` returned.

    Args:
        figures: its result; policies without a chunk are left out.
        title: what was measured, one line.
        path: .png (WIDTH_PX x HEIGHT_PX), .svg or .pdf; is overwritten.

    Raises:
        ConfigError: the file cannot be written.
    """
    drawn = {name: policy for name, policy in figures["policies"].items() if policy["chunk_ms"]}
    figure = new_figure(WIDTH_PX, HEIGHT_PX)
    figure.suptitle(title, fontsize=10, color=GREY, x=0.01, horizontalalignment="left")
    panels = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.045, right=0.855, top=0.83, bottom=0.12, wspace=0.5)
    ends = [
        _lines(panels[0], "wall time of a chunk, ms", drawn, lambda p: np.array(p["chunk_ms"]), np.median),
        _lines(panels[1], "KV cache in use, MiB", drawn, lambda p: np.array(p["cache_bytes"]) / _MIB, np.max),
    ]
    figure.canvas.draw()  # settles the axes, from which the labels' places follow
    for axes, labels in zip(panels, ends, strict=True):
        _label(axes, labels)
    save_figure(figure, path)


def _lines(
    axes: Any,
    title: str,
    policies: dict[str, Any],
    values_of: Callable[[Any], np.ndarray],
    summary: Callable[[np.ndarray], Any],
) -> list[_End]:
    """Draw one line for each policy; `summary` makes one value of a stretch of chunks. Returns their ends."""
    from matplotlib.ticker import LogLocator, NullFormatter

    longest = max((len(policy["chunk_ms"]) for policy in policies.values()), default=1)
    dress(axes, title, "chunk")
    axes.set_yscale("log")
    if longest > _LONG_CHUNKS:
        axes.set_xscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    ends = []
    for number, (name, policy) in enumerate(policies.items()):
        colour, values = COLOURS[number % len(COLOURS)], values_of(policy)
        x, y = _thin(values, longest > _LONG_CHUNKS, summary)
        above = len(policies) - number  # the first named is drawn over the others
        axes.plot(x, y, color=colour, linewidth=1.6, zorder=2 + above)
        label = name
        if policy["stopped"]:
            axes.plot(x[-1:], y[-1:], "x", color=colour, markersize=9, markeredgewidth=2.2, zorder=20)
            label += f" breaks at {len(values)}:\n{re.split('[:;,]', policy['stopped'])[0]}"
        if (beyond := policy["untrained_at"]) is not None:
            place = {"color": colour, "markerfacecolor": "white", "markersize": 6, "zorder": 20}
            axes.plot([beyond + 1], [np.interp(beyond + 1, x, y)], "o", **place)
            label += "\no: untrained positions"
        ends.append(_End(float(x[-1]), float(y[-1]), label, colour))
    return ends


def _label(axes: Any, ends: Sequence[_End]) -> None:
    """Write each line's name to the right of the panel, near the height of its end, none over another."""
    heights = [axes.transAxes.inverted().transform(axes.transData.transform((e.x, e.y)))[1] for e in ends]
    sizes = [_LABEL_GAP * (1 + end.label.count("\n")) for end in ends]
    order = sorted(range(len(ends)), key=lambda i: heights[i])
    at = dict(enumerate(heights))
    floor = 0.0
    for i in order:  # up, where the one below needs the place
        at[i] = max(at[i], floor)
        floor = at[i] + sizes[i]
    ceiling = 1.05
    for i in reversed(order):  # and down again, where there is no more
        at[i] = min(at[i], ceiling - sizes[i])
        ceiling = at[i]
    for i, end in enumerate(ends):
        axes.annotate(
            end.label,
            (end.x, end.y),
            (1.06, at[i]),
            textcoords="axes fraction",
            color=end.colour,
            fontsize=8,
            verticalalignment="bottom",
            arrowprops={"arrowstyle": "-", "color": end.colour, "linewidth": 0.5, "relpos": (0, 0.2)},
        )


def _thin(
    values: np.ndarray, logarithmic: bool, summary: Callable[[np.ndarray], Any]
) -> tuple[np.ndarray, np.ndarray]:
    """At most _POINTS stretches of a line: (chunk numbers from 1 on, values), each float64 [points]."""
    space = np.geomspace if logarithmic else np.linspace
    edges = np.unique(space(1, len(values) + 1, min(len(values), _POINTS) + 1).round().astype(int))
    stretches = [values[begin - 1 : end - 1] for begin, end in itertools.pairwise(edges.tolist())]
    return (edges[:-1] + edges[1:] - 1) / 2, np.array([float(summary(stretch)) for stretch in stretches])
