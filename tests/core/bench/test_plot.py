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

from __future__ import annotations

from pathlib import Path
import re
import struct
import sys
from typing import Any

import cv2
import numpy as np
import pytest
from svlm_core.bench.plot import draw_efficiency, HEIGHT_PX, WIDTH_PX
from svlm_core.errors import ConfigError
from svlm_core.evaluation.plotting import check_plotting


def policy(chunks: int, stopped: str | None = None, untrained_at: int | None = None) -> dict[str, Any]:
    return {
        "chunk_ms": list(np.linspace(5, 50, chunks)),
        "cache_bytes": [1 << 20] * chunks,
        "stopped": stopped,
        "untrained_at": untrained_at,
    }


@pytest.mark.parametrize("chunks", [1, 12, 2500])
def test_the_picture_is_a_png_of_its_size_with_every_policy_in_its_colour(
    chunks: int, tmp_path: Path
) -> None:
    figures = {
        "policies": {
            "streaming": policy(chunks),
            "full": policy(max(1, chunks // 2), "the KV cache is full: 256 of 256 tokens", None),
            "native-positions": policy(chunks, untrained_at=chunks - 1),
            "never ran": policy(0, "did not fit"),
        }
    }
    draw_efficiency(figures, "what was measured", tmp_path / "out.png")
    data = (tmp_path / "out.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (WIDTH_PX, HEIGHT_PX)
    pixels = cv2.imread(str(tmp_path / "out.png"))[:, :, ::-1].reshape(-1, 3)  # RGB
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x00, 0x9E, 0x73)):
        assert (pixels == colour).all(axis=1).sum() > 10
    assert not (pixels == (0xCC, 0x79, 0xA7)).all(axis=1).any(), "a policy that never ran has no line"


def test_all_labels_stay_inside_and_none_lies_over_another(tmp_path: Path) -> None:
    """Where each name stands in the SVG, when all lines end in one place."""
    names = ("streaming", "full", "window", "window-recompute", "native-positions", "last-frames")
    draw_efficiency({"policies": {name: policy(9) for name in names}}, "all alike", tmp_path / "out.svg")
    svg = (tmp_path / "out.svg").read_text()
    height = float(re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', svg)[1])  # type: ignore[index]
    places = {
        name: re.findall(rf"<!-- {name} -->\s*<g [^>]*translate\(([\d.]+) ([\d.]+)\)", svg) for name in names
    }
    for panel in (0, 1):
        heights = sorted(float(places[name][panel][1]) for name in names)
        assert min(np.diff(heights)) > 10, "points; the letters are 8"
        assert 0 < heights[0] < heights[-1] < height


@pytest.mark.parametrize("name", ["out.jpeg", "out"])
def test_only_endings_that_can_be_drawn_are_taken(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"--plot {name}: must end in \.png, \.svg or \.pdf"):
        check_plotting(Path(name))


def test_a_missing_matplotlib_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    check_plotting(Path("out.png"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"^--plot needs matplotlib: pip install 'svlm_ros\[plot\]'$"):
        check_plotting(Path("out.png"))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/out\.png: cannot be written \(No such file"):
        draw_efficiency({"policies": {}}, "", tmp_path / "nowhere" / "out.png")
