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

"""Several streams of one world side by side: policies, or models that were trained in different ways."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from svlm_core.evaluation.plotting import COLOURS, dress, GREY, new_figure, save_figure
from svlm_core.evaluation.rates import PART_S

WIDTH_PX, HEIGHT_PX = 1200, 504  # as wide as a README shows
_MINUTE_S = 60
_COLUMNS = ("", "seconds", "events", "memory", "motion", "seen now", "silence", "p50 ms", "late/early")


def runs_table(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """A line for each named run of evaluate_world, and why those that broke did."""
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for name, run in runs.items():
        kinds = run["accuracy_by_kind"]
        shares = [run["event_accuracy"], *(kinds.get(kind) for kind in ("memory", "motion", "seen now"))]
        times = (run["chunk_ms_p50"], run["latency_ratio"])
        rows.append(
            (
                name,
                str(run["seconds"]),
                *(_number(value, 3) for value in (*shares, run["silence_recall"])),
                *(_number(value, 2) for value in times),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    broke = [f"{name} ended at {r['seconds']} s: {r['stopped']}" for name, r in runs.items() if r["stopped"]]
    return "\n".join([*lines, *broke])


def draw_runs(runs: Mapping[str, Mapping[str, Any]], title: str, path: Path) -> None:
    """Draw what evaluate_world returned for each name: accuracy and time of a chunk over the stream's age.

    Args:
        runs: at least one.
        title: what was measured, one line.
        path: .png (WIDTH_PX x HEIGHT_PX), .svg or .pdf; is overwritten.

    Raises:
        ConfigError: the file cannot be written.
    """
    figure = new_figure(WIDTH_PX, HEIGHT_PX)
    figure.suptitle(title, fontsize=10, color=GREY, x=0.01, horizontalalignment="left")
    right, took = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.045, right=0.985, top=0.83, bottom=0.12, wspace=0.15)
    dress(right, "share of events said right", "minutes")
    dress(took, "wall time of a chunk, ms (median)", "minutes")
    took.set_yscale("log")
    took.yaxis.set_major_formatter("{x:g}")
    took.yaxis.set_minor_formatter("{x:g}")
    right.set_ylim(-0.02, 1.02)
    for number, (name, run) in enumerate(runs.items()):
        minutes = (np.arange(len(run["curve"])) + 0.5) * PART_S / _MINUTE_S
        style = {"color": COLOURS[number % len(COLOURS)], "label": name, "linewidth": 1.6}
        shares = [np.nan if part["events"] is None else part["events"] for part in run["curve"]]
        for axes, values in ((right, shares), (took, [part["ms"] for part in run["curve"]])):
            axes.plot(minutes, values, **style)
            if run["stopped"]:
                axes.plot(minutes[-1:], values[-1:], "x", color=style["color"], markersize=9)
    right.legend(fontsize=8, frameon=False, loc="lower left")
    save_figure(figure, path)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
