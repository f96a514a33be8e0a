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

"""Random single seconds of the world, without a plot, for the vision tower alone."""

from __future__ import annotations

import numpy as np
from svlm_core.world.scene import (
    COLOURS,
    DIGITS,
    DIRECTIONS,
    Disc,
    ENTERS_HEADING,
    LEAVES_AT,
    RADIUS_PX,
    SIZE_PX,
    WorldSecond,
)

_CROWD = (0, 1, 2, 3)
_CROWD_CHANCE = (0.05, 0.35, 0.5, 0.1)
_PANEL_LIT = 0.3
_ENTERING, _LEAVING = 0.18, 0.22  # shares of discs; the rest is somewhere inside
_WITHIN = ("still", *DIRECTIONS)
_HEADING = {side: heading for heading, side in LEAVES_AT.items()}


def random_second(rng: np.random.Generator, index: int) -> WorldSecond:
    """A second with 0 to 3 discs that do not touch, each with any motion, and now and then a digit."""
    panel = DIGITS[rng.integers(len(DIGITS))] if rng.random() < _PANEL_LIT else None
    discs: list[Disc] = []
    for colour in rng.choice(len(COLOURS), rng.choice(_CROWD, p=_CROWD_CHANCE), replace=False):
        disc = _random_disc(rng, COLOURS[colour])
        apart = 2 * RADIUS_PX + 2
        inside = all(0 < c < SIZE_PX for c in disc.first + disc.second) or disc.motion not in _WITHIN
        if inside and all(
            max(abs(disc.first[0] - o.first[0]), abs(disc.first[1] - o.first[1])) >= apart for o in discs
        ):
            discs.append(disc)
    return WorldSecond(index, tuple(discs), panel, "silence", None, None)


def _random_disc(rng: np.random.Generator, colour: str) -> Disc:
    step = rng.uniform(4.8, 11) if rng.random() < 0.3 else rng.uniform(6, 9)
    lane = rng.uniform(RADIUS_PX + 2, SIZE_PX - RADIUS_PX - 2)
    near, far = -RADIUS_PX, SIZE_PX + RADIUS_PX
    edge = {"left": (near, lane), "right": (far, lane), "top": (lane, near), "bottom": (lane, far)}
    choice = rng.random()
    if choice < _ENTERING:
        side = list(ENTERS_HEADING)[rng.integers(4)]
        motion, (dx, dy), (x, y) = "in", DIRECTIONS[ENTERS_HEADING[side]], edge[side]
        first = (x + dx * step, y + dy * step)
        return Disc(colour, first, (first[0] + dx * step, first[1] + dy * step), motion)
    if choice < _ENTERING + _LEAVING:
        side = list(_HEADING)[rng.integers(4)]
        (dx, dy), second = DIRECTIONS[_HEADING[side]], edge[side]
        return Disc(colour, (second[0] - dx * step, second[1] - dy * step), second, f"out {side}")
    motion = _WITHIN[rng.integers(len(_WITHIN))]
    dx, dy = DIRECTIONS.get(motion, (0, 0))
    x, y = rng.uniform(4, SIZE_PX - 4, 2)
    return Disc(colour, (x - dx * step, y - dy * step), (x, y), motion)
