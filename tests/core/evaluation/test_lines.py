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

"""Lines: every point where it belongs, gaps left open."""

from __future__ import annotations

import re

from html_page import Page
import pytest
from svlm_core.evaluation.lines import Line, log_lines, share_lines
from svlm_core.evaluation.svg import LEFT_PX, PLOT_PX, RIGHT_PX, TOP_PX, WIDTH_PX


def points(drawn: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'points="([^"]*)"', drawn)
    return [[(float(x), float(y)) for x, y in (p.split(",") for p in text.split())] for text in found]


def test_shares_lie_between_the_bottom_and_the_top() -> None:
    ((first, last),) = points(share_lines([Line("a", [0, 60], [0.0, 1.0])], "what"))
    assert first == (LEFT_PX, TOP_PX + PLOT_PX)
    assert last == (WIDTH_PX - RIGHT_PX, TOP_PX)


def test_a_gap_is_left_open_and_a_lone_point_is_a_dot() -> None:
    drawn = share_lines([Line("a", [0, 1, 2, 3, 4, 5], [0.5, 0.5, None, 1.0, None, None])], "what")
    assert [len(run) for run in points(drawn)] == [2]
    assert drawn.count("<circle") == 1


def test_a_stream_that_broke_is_crossed_where_it_ended() -> None:
    lines = [Line("a", [0, 10], [1.0, 1.0]), Line("<b>", [0, 5], [1.0, 0.0], broke=True)]
    drawn = share_lines(lines, "what")
    assert drawn.count("end-of-stream") == 1
    page = Page(f"<div>{drawn}</div>")
    assert "<b>" in page.words, "in the legend, as text"
    assert "legend" not in share_lines(lines[:1], "what"), "one line needs no legend"


def test_times_are_drawn_by_their_ratio() -> None:
    ((a, b, c),) = points(log_lines([Line("a", [0, 1, 2], [1.0, 10.0, 100.0])], "what"))
    assert a[1] - b[1] == pytest.approx(b[1] - c[1], abs=0.2)
    assert TOP_PX < c[1] < b[1] < a[1] < TOP_PX + PLOT_PX


@pytest.mark.parametrize("number", [1, 30])
def test_many_lines_and_one_moment(number: int) -> None:
    drawn = log_lines([Line(str(n), [7], [5.0]) for n in range(number)], "what")
    assert drawn.count("<circle") == number
