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

"""Pictures of the world: uint8 RGB, SIZE_PX square, WORLD_FPS a second."""

from __future__ import annotations

import numpy as np
from svlm_core.world.scene import Disc, RADIUS_PX, SIZE_PX, WORLD_FPS, WorldSecond

PANEL_PX = 14
RGB = {
    "red": (225, 25, 25),
    "green": (25, 170, 25),
    "blue": (30, 30, 225),
    "yellow": (235, 225, 20),
    "pink": (235, 40, 220),
    "white": (250, 250, 250),
}
_LIT, _DARK, _GLYPH = 20, 60, (255, 200, 60)
_GLYPHS = {  # 5 x 7 dots
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "11110 00001 00001 01110 00001 00001 11110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "01110 10000 11110 10001 10001 10001 01110",
}
_NOISE_PATTERNS, _NOISE_SIGMA = 64, 6.0
_Y, _X = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32)


class Renderer:
    """Draws the seconds of one stream; light and noise are the stream's own, given by its seed."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 1])  # a stream of its own, so that pictures do not change the plot
        light = rng.uniform(110, 140) + rng.uniform(-6, 6, 3)  # [3]
        self._room = _room() + light.astype(np.float32)  # [S, S, 3]
        self._noise = rng.normal(0, _NOISE_SIGMA, (_NOISE_PATTERNS, SIZE_PX, SIZE_PX, 1)).astype(np.float32)

    def frames(self, second: WorldSecond) -> np.ndarray:
        """The second's pictures, uint8 [WORLD_FPS, SIZE_PX, SIZE_PX, 3]."""
        pictures = np.empty((WORLD_FPS, SIZE_PX, SIZE_PX, 3), np.uint8)
        for i in range(WORLD_FPS):
            picture = self._room.copy()
            for disc in second.discs:
                _draw(picture, disc, disc.first if i == 0 else disc.second)
            picture[:PANEL_PX, :PANEL_PX] = _panel(second.panel)
            pattern = WORLD_FPS * second.index + i
            # 64 patterns, each shifted differently every time round: no picture repeats for 90 minutes
            picture += np.roll(self._noise[pattern % _NOISE_PATTERNS], pattern // _NOISE_PATTERNS, axis=1)
            pictures[i] = np.clip(picture, 0, 255)
        return pictures


def _room() -> np.ndarray:
    """Walls and shading of the empty room, float32 [S, S, 3], to be added to the light."""
    across, down = _X / SIZE_PX - 0.5, _Y / SIZE_PX - 0.5
    room = np.stack([-40 * across, 0 * across, 40 * across], axis=-1) - 50 * down[..., None]
    room[:, :3] += (40, 15, -30)
    room[:, -3:] += (-30, 15, 40)
    room[:3] += 45
    room[-3:] -= 45
    return room


def _panel(digit: str | None) -> np.ndarray:
    """The corner panel, float32 [PANEL_PX, PANEL_PX, 3]."""
    if digit is None:
        return np.full((PANEL_PX, PANEL_PX, 3), _DARK, np.float32)
    panel = np.full((PANEL_PX, PANEL_PX, 3), _LIT, np.float32)
    dots = np.array([[dot == "1" for dot in row] for row in _GLYPHS[digit].split()]).repeat(2, 0).repeat(2, 1)
    panel[:, 2:12][dots] = _GLYPH
    return panel


def _draw(picture: np.ndarray, disc: Disc, centre: tuple[float, float]) -> None:
    """Paint one disc (an octagon, as a cheap and sharp circle) into the picture."""
    x, y = centre
    left, right = max(0, int(x - RADIUS_PX - 1)), min(SIZE_PX, int(x + RADIUS_PX + 2))
    top, bottom = max(0, int(y - RADIUS_PX - 1)), min(SIZE_PX, int(y + RADIUS_PX + 2))
    if left >= right or top >= bottom:
        return
    dx, dy = np.abs(_X[top:bottom, left:right] - x), np.abs(_Y[top:bottom, left:right] - y)
    inside = np.maximum(dx, dy) + 0.35 * np.minimum(dx, dy) <= RADIUS_PX
    picture[top:bottom, left:right][inside] = RGB[disc.colour]
