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

"""What an ideal vision tower would say about the world: a fixed dictionary of symbols, summed per cell.

Training uses it twice: the vision tower learns to produce these vectors from pixels, and the language model
learns to speak from them before the two are joined. Streaming never sees them.
"""

from __future__ import annotations

import numpy as np
from svlm_core.world.scene import COLOURS, DIGITS, DIRECTIONS, Disc, RADIUS_PX, SIZE_PX, WorldSecond

CELLS = 3  # merged visual tokens per side
MOTIONS = ("still", *DIRECTIONS, "in", "out left", "out right", "out top", "out bottom")
_EDGES = np.arange(CELLS + 1) * (SIZE_PX / CELLS)


class SymbolDictionary:
    """Orthogonal vectors of `dim` numbers for colours, motions, their pairs, cells, digits, and a lit panel.

    A lit panel and its digit are said by all cells, since the digit belongs to whatever disc comes in, and a
    language model finds it at once beside that disc; said by the panel's own cell alone it was not looked up
    in 3,000 steps.
    """

    def __init__(self, dim: int, seed: int = 7) -> None:
        basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
        sizes = [len(COLOURS), len(MOTIONS), len(COLOURS) * len(MOTIONS), CELLS**2, len(DIGITS), 1]
        if sum(sizes) > dim:
            raise ValueError(f"{sum(sizes)} symbols do not fit {dim} dimensions")
        parts = np.split(basis[: sum(sizes)].astype(np.float32), np.cumsum(sizes)[:-1])
        self.colour, self.motion, self.cell = 0.8 * parts[0], 0.8 * parts[1], 0.5 * parts[3]
        self.digit, self.lit = 0.8 * parts[4], 0.6 * parts[5][0]
        self.pair = 0.6 * parts[2].reshape(len(COLOURS), len(MOTIONS), dim)

    def features(self, second: WorldSecond) -> np.ndarray:
        """The second's ideal visual tokens, float32 [CELLS**2, dim], in reading order."""
        tokens = self.cell.copy()
        for disc in second.discs:
            colour, motion = COLOURS.index(disc.colour), MOTIONS.index(disc.motion)
            symbol = self.colour[colour] + self.motion[motion] + self.pair[colour, motion]
            tokens += _coverage(disc)[:, None] * symbol
        if second.panel is not None:
            tokens += self.lit + self.digit[DIGITS.index(second.panel)]
        return tokens


def _coverage(disc: Disc) -> np.ndarray:
    """Share of the disc's visible box that lies in each cell, both frames together, float32 [CELLS**2]."""
    share = np.zeros((CELLS, CELLS), np.float32)
    for x, y in (disc.first, disc.second):
        across = np.clip(
            np.minimum(x + RADIUS_PX, _EDGES[1:]) - np.maximum(x - RADIUS_PX, _EDGES[:-1]), 0, None
        )
        down = np.clip(
            np.minimum(y + RADIUS_PX, _EDGES[1:]) - np.maximum(y - RADIUS_PX, _EDGES[:-1]), 0, None
        )
        share += np.outer(down, across).astype(np.float32)
    return (share / max(1e-6, float(share.sum()))).reshape(-1)
