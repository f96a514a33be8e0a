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

import numpy as np
import pytest
from svlm_core.world.features import CELLS, MOTIONS, SymbolDictionary
from svlm_core.world.scene import COLOURS, DIGITS, Disc, seconds, WorldSecond

DIM = 128


@pytest.fixture(scope="module")
def symbols() -> SymbolDictionary:
    return SymbolDictionary(DIM)


def second(*discs: Disc, panel: str | None = None) -> WorldSecond:
    return WorldSecond(0, discs, panel, "silence", None, None)


def share(features: np.ndarray, symbol: np.ndarray) -> np.ndarray:
    """How much of a symbol each cell holds [CELLS**2]."""
    return features @ symbol / (symbol @ symbol)


def test_all_symbols_are_orthogonal(symbols: SymbolDictionary) -> None:
    pairs = symbols.pair.reshape(-1, DIM)
    everything = [symbols.colour, symbols.motion, symbols.cell, symbols.digit, symbols.lit[None], pairs]
    vectors = np.concatenate(everything)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(len(vectors)), atol=1e-5)


def test_equal_sizes_give_equal_dictionaries(symbols: SymbolDictionary) -> None:
    np.testing.assert_array_equal(SymbolDictionary(DIM).pair, symbols.pair)


def test_too_few_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\d+ symbols do not fit 32 dimensions"):
        SymbolDictionary(32)


def test_what_happens_can_be_read_off_by_dot_products(symbols: SymbolDictionary) -> None:
    for now in itertools.islice(seconds(11), 300):
        features = symbols.features(now)
        assert (features.shape, features.dtype) == ((CELLS**2, DIM), np.float32)
        here = {disc.colour: disc.motion for disc in now.discs}
        for i, colour in enumerate(COLOURS):
            assert share(features, symbols.colour[i]).sum() == pytest.approx(float(colour in here), abs=1e-4)
            for k, motion in enumerate(MOTIONS):
                does = float(here.get(colour) == motion)
                assert share(features, symbols.pair[i, k]).sum() == pytest.approx(does, abs=1e-4)
        lit = share(features, symbols.lit)
        digits = np.array([share(features, digit).max() for digit in symbols.digit])
        if now.panel is None:
            np.testing.assert_allclose(lit, 0, atol=1e-4)
            np.testing.assert_allclose(digits, 0, atol=1e-4)
        else:
            assert lit[0] == pytest.approx(1, abs=1e-4)  # the panel is in the first cell
            np.testing.assert_allclose(digits, [digit == now.panel for digit in DIGITS], atol=1e-4)


def test_a_disc_is_told_by_the_cells_that_it_covers(symbols: SymbolDictionary) -> None:
    centre = Disc("red", (42.0, 42.0), (42.0, 42.0), "still")
    across = Disc("blue", (56.0, 14.0), (56.0, 14.0), "still")  # half in the middle, half in the right column
    features = symbols.features(second(centre, across))
    in_cells = share(features, symbols.colour[COLOURS.index("red")]).reshape(CELLS, CELLS)
    np.testing.assert_allclose(in_cells, [[0, 0, 0], [0, 1, 0], [0, 0, 0]], atol=1e-4)
    in_cells = share(features, symbols.colour[COLOURS.index("blue")]).reshape(CELLS, CELLS)
    np.testing.assert_allclose(in_cells, [[0, 0.5, 0.5], [0, 0, 0], [0, 0, 0]], atol=1e-4)


def test_each_token_knows_its_cell(symbols: SymbolDictionary) -> None:
    features = symbols.features(second(panel="3"))
    np.testing.assert_allclose([share(features, cell) for cell in symbols.cell], np.eye(CELLS**2), atol=1e-4)
