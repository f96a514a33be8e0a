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

"""What all pictures of figures have in common."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from svlm_core.errors import ConfigError

DPI = 120
# Okabe and Ito's palette, which the colour-blind tell apart (https://jfly.uni-koeln.de/color/)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#555555"


def check_plotting(path: Path) -> None:
    """Before the work: can the picture be drawn?

    Raises:
        ConfigError: matplotlib is missing, or the name's ending is not one that is drawn.
    """
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"--plot {path}: must end in .png, .svg or .pdf")
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("--plot needs matplotlib: pip install 'svlm_ros[plot]'")


def new_figure(width_px: int, height_px: int) -> Any:
    """An empty matplotlib Figure that draws without a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width_px / DPI, height_px / DPI), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """Write a picture: .png, .svg or .pdf; is overwritten.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=DPI)
    except OSError as error:
        raise ConfigError(f"--plot {path}: cannot be written ({error.strerror})") from error


def dress(axes: Any, title: str, across: str) -> None:
    """A panel's title, what lies across, and nothing that distracts."""
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(across, color=GREY, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", which="both", color="#e8e8e8", linewidth=0.5)
    axes.tick_params(colors=GREY, labelsize=8)
