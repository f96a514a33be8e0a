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

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds, WorldSecond

SIZE, PANEL = 84, 14
PAINT = {
    "red": (225, 25, 25),
    "green": (25, 170, 25),
    "blue": (30, 30, 225),
    "yellow": (235, 225, 20),
    "pink": (235, 40, 220),
    "white": (250, 250, 250),
}
NOISE = 30  # five standard deviations of the pictures' noise


def empty(index: int, panel: str | None = None) -> WorldSecond:
    return WorldSecond(index, (), panel, "silence", None, None)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 2**40))
def test_a_disc_has_its_colour_where_the_truth_says_it_is(seed: int) -> None:
    renderer, seen = Renderer(seed), 0
    for second in itertools.islice(seconds(seed), 60):
        frames = renderer.frames(second)
        assert (frames.dtype, frames.shape) == (np.uint8, (2, SIZE, SIZE, 3))
        for disc in second.discs:
            for picture, (x, y) in zip(frames, (disc.first, disc.second), strict=True):
                column, row = round(x), round(y)
                if 2 <= column < SIZE - 2 and 2 <= row < SIZE - 2 and (row > PANEL + 2 or column > PANEL + 2):
                    patch = picture[row - 2 : row + 3, column - 2 : column + 3].reshape(-1, 3).astype(int)
                    assert np.abs(np.median(patch, axis=0) - PAINT[disc.colour]).max() < NOISE
                    seen += 1
    assert seen or not any(second.discs for second in itertools.islice(seconds(seed), 60))


def test_the_pictures_of_a_second_depend_on_seed_and_second_alone() -> None:
    stream = list(itertools.islice(seconds(5), 40))
    in_order = [Renderer(5).frames(second) for second in stream]
    renderer = Renderer(5)
    for second in reversed(stream):
        np.testing.assert_array_equal(renderer.frames(second), in_order[second.index])
    assert not np.array_equal(Renderer(6).frames(stream[0]), in_order[0])


def test_noise_does_not_repeat_within_minutes() -> None:
    renderer = Renderer(0)
    pictures = {renderer.frames(empty(index))[k].tobytes() for index in range(150) for k in (0, 1)}
    assert len(pictures) == 300


def test_every_digit_lights_the_panel_differently_and_nothing_else() -> None:
    renderer = Renderer(3)
    dark = renderer.frames(empty(0))
    panels = []
    for digit in "123456":
        lit = renderer.frames(empty(0, digit))
        np.testing.assert_array_equal(lit[:, PANEL:], dark[:, PANEL:])
        np.testing.assert_array_equal(lit[:, :, PANEL:], dark[:, :, PANEL:])
        panels.append(lit[0, :PANEL, :PANEL].astype(int))
        assert panels[-1].max() > 180 > 100 > dark[:, :PANEL, :PANEL].max(), "lit is bright, dark is dark"
    for one, other in itertools.combinations(panels, 2):
        assert (np.abs(one - other).max(axis=-1) > 100).sum() >= 8, "two digits look alike"
