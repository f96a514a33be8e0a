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

"""Frames to squares, against a slow computation and transformers' own processor."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from svlm_core.errors import ModelError
from svlm_core.model.squarer import load_squarer, Squarer

SMALL = Squarer(side=56, patch=14, merge=2, edge=112)
CONFIG = SimpleNamespace(vision_config=SimpleNamespace(image_size=56, patch_size=14), scale_factor=2)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def colours(squarer: Squarer, rgb: np.ndarray) -> np.ndarray:
    """What the tower sees, as frames again: [T, side, side, 3], 0..255."""
    pictures = squarer(rgb).patches.permute(0, 2, 3, 1).double().numpy()
    return (pictures * np.array(squarer.std) + np.array(squarer.mean)) * 255


def cubic(x: float) -> float:
    """Keys' kernel with a = -1/2 (IEEE TASSP 29, 1981)."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def weights(size: int, new: int) -> np.ndarray:
    """[new, size]: the kernel around each new pixel's middle, as wide as the pixels that it stands for."""
    scale = size / new
    wide = max(scale, 1.0)
    rows = np.array([[cubic((x + 0.5 - (y + 0.5) * scale) / wide) for x in range(size)] for y in range(new)])
    return rows / rows.sum(1, keepdims=True)


def slowly_scaled(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    if frame.shape[:2] == (height, width):
        return frame
    """Each axis to whole values, as Pillow and torch do with uint8."""
    rows, columns = weights(frame.shape[0], height), weights(frame.shape[1], width)
    narrowed = np.clip(np.round(np.einsum("jw,hwc->hjc", columns, frame)), 0, 255)
    return np.clip(np.round(np.einsum("ih,hjc->ijc", rows, narrowed)), 0, 255)


@pytest.mark.parametrize(
    ("frame", "first"),
    [
        ((48, 64), (84, 112)),
        ((64, 48), (112, 84)),
        ((240, 320), (84, 112)),
        ((70, 94), (84, 112)),  # 83.4: 83 is odd
        ((94, 70), (112, 84)),
        ((200, 200), (112, 112)),
        ((2, 500), (1, 112)),  # int(0.448) is even
        ((56, 56), (112, 112)),
    ],
)
def test_scaled_by_its_longer_side_and_then_squeezed(frame: tuple[int, int], first: tuple[int, int]) -> None:
    rgb = noise(2, *frame, 3)
    vision = SMALL(rgb)
    assert vision.patches.shape == (2, 3, 56, 56)
    assert (vision.grid, vision.merge, vision.tokens) == ((2, 4, 4), 2, 8)
    expected = np.stack([slowly_scaled(slowly_scaled(f, *first), 56, 56) for f in rgb.astype(float)])
    difference = np.abs(colours(SMALL, rgb) - expected)
    assert difference.max() < 2.01 and difference.mean() < 0.25  # four roundings, with weights of few bits


def test_a_square_of_the_right_size_passes_unchanged() -> None:
    squarer = Squarer(56, 14, 2, 56, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    rgb = noise(3, 56, 56, 3)
    np.testing.assert_allclose(colours(squarer, rgb), rgb, rtol=0, atol=0.01)


def test_equals_transformers_processor() -> None:
    pytest.importorskip("PIL")
    from transformers.image_utils import PILImageResampling
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    processor = SmolVLMImageProcessorPil(
        size={"longest_edge": SMALL.edge},
        max_image_size={"longest_edge": SMALL.side},
        do_image_splitting=False,
        resample=PILImageResampling.BICUBIC,
    )
    for rgb in (noise(2, 48, 64, 3) // 4 + 90, noise(1, 111, 70, 3) // 4 + 90):
        expected = processor(list(rgb), return_tensors="pt")["pixel_values"][0]
        ours = SMALL(rgb).patches
        assert ours.shape == expected.shape
        levels = (ours - expected).abs() * 255 / 2
        assert levels.max() < 3 and levels.mean() < 0.5  # PIL rounds after each axis, not after both


def test_geometry_comes_from_the_config_and_the_rest_from_the_processor(tmp_path: Path) -> None:
    assert load_squarer(tmp_path, CONFIG) == Squarer(56, 14, 2, 56)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"size": {"longest_edge": 2048}, "image_mean": [0.1, 0.2, 0.3]})
    )
    assert load_squarer(tmp_path, CONFIG) == Squarer(56, 14, 2, 2048, mean=(0.1, 0.2, 0.3))
    video = {
        "video_sampling": {"video_size": {"longest_edge": 512}, "fps": 1},
        "size": {"longest_edge": 2048},
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(video))
    assert load_squarer(tmp_path, CONFIG).edge == 512
    (tmp_path / "video_preprocessor_config.json").write_text(json.dumps({"size": {"longest_edge": 384}}))
    assert load_squarer(tmp_path, CONFIG).edge == 384


@pytest.mark.parametrize(
    "size", [7, {"height": 3, "width": 3}, {"longest_edge": "wide"}, {"longest_edge": None}]
)
def test_a_size_without_a_longest_edge_is_named(tmp_path: Path, size: object) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    with pytest.raises(
        ModelError, match="preprocessor_config.json: size must be an object with .* longest_edge"
    ):
        load_squarer(tmp_path, CONFIG)
