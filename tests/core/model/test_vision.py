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

"""Frames to patches."""

import json
from pathlib import Path
from types import SimpleNamespace

import golden
import numpy as np
import pytest
from svlm_core.errors import ModelError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.vision import CENTRED, CLIP_MEAN, CLIP_STD, load_patchifier, Patchifier
import torch

QWEN = Patchifier(patch=14, temporal_patch=2, merge=2)
GEOMETRY = SimpleNamespace(patch_size=14, temporal_patch_size=2, spatial_merge_size=2)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def unpatchify(patches: torch.Tensor, grid: tuple[int, int, int]) -> np.ndarray:
    """The frames again, 0..255: the inverse, written from the order that the README of the traces gives."""
    t, h, w = grid
    x = patches.view(t, h // 2, w // 2, 2, 2, 3, 2, 14, 14).permute(0, 6, 1, 3, 7, 2, 4, 8, 5)
    frames = x.reshape(t * 2, h * 14, w * 14, 3) * torch.tensor(CLIP_STD) + torch.tensor(CLIP_MEAN)
    return (frames * 255).numpy()


def assert_same_colours(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=0.01)


def test_patches_are_the_reference_processors(golden_model: StreamModel, golden_t3: golden.Trace) -> None:
    vision = golden_model.preprocess(golden.frames(0), 100, 768)
    assert vision.grid == (1, 20, 20)
    assert vision.tokens == 100
    np.testing.assert_allclose(vision.patches[::20].numpy(), golden_t3.pixels0, atol=1e-6)


def test_a_frame_of_the_right_size_passes_unchanged() -> None:
    rgb = noise(4, 56, 84, 3)
    vision = QWEN(rgb, 1, 6)
    assert vision.grid == (2, 4, 6)
    assert vision.tokens == 12
    assert_same_colours(unpatchify(vision.patches, vision.grid), rgb)


def test_an_odd_frame_count_repeats_the_last_frame() -> None:
    rgb = noise(3, 56, 56, 3)
    padded = np.concatenate([rgb, rgb[-1:]])
    torch.testing.assert_close(QWEN(rgb, 1, 4).patches, QWEN(padded, 1, 4).patches, rtol=0, atol=0)


def test_scaling_is_bicubic_with_antialiasing_on_whole_uint8_values() -> None:
    pixels = np.kron(noise(2, 14, 21, 3), np.ones((1, 8, 8, 1), np.uint8)) // 128 * 255  # edges overshoot
    vision = QWEN(pixels, 1, 6)
    assert vision.grid == (1, 4, 6)
    frames = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    scaled = torch.nn.functional.interpolate(frames, (56, 84), mode="bicubic", antialias=True)
    assert scaled.min() < 0 or scaled.max() > 255  # so clamping is tested
    expected = scaled.round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    difference = np.abs(unpatchify(vision.patches, vision.grid) - expected)
    assert difference.mean() < 0.5  # rounded and clamped after each axis, not after both


@pytest.mark.parametrize("patch", [14, 16])
@pytest.mark.parametrize("size", [(84, 140), (201, 333), (64, 64), (60, 190)])
def test_patches_are_transformers_processors(patch: int, size: tuple[int, int]) -> None:
    pytest.importorskip("PIL")
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    ours = Patchifier(patch, 2, 2, CENTRED, CENTRED)
    processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 4 * ours.factor**2, "longest_edge": 12 * ours.factor**2},
        image_mean=CENTRED,
        image_std=CENTRED,
        patch_size=patch,
    )
    rgb = noise(1, *size, 3) // 4 + 90
    expected = processor(rgb[0], return_tensors="pt")
    vision = ours(rgb, 4, 12)
    assert [list(vision.grid)] == expected["image_grid_thw"].tolist()
    levels = (vision.patches - expected["pixel_values"]).abs() * 255 / 2
    assert levels.max() < 1.01 and (levels > 0.01).float().mean() < 0.01  # its weights have more bits


def test_frames_that_numpy_views_backwards_are_read_right() -> None:
    bgr = noise(2, 56, 56, 3)
    assert_same_colours(unpatchify(QWEN(bgr[..., ::-1], 1, 4).patches, (1, 4, 4)), bgr[..., ::-1])


def test_colours_come_from_the_processor_file_old_or_new(tmp_path: Path) -> None:
    assert load_patchifier(tmp_path, GEOMETRY).mean == CLIP_MEAN
    (tmp_path / "processor_config.json").write_text(
        json.dumps({"video_processor": {"image_mean": [0.1, 0.2, 0.3]}})
    )
    assert load_patchifier(tmp_path, GEOMETRY).mean == (0.1, 0.2, 0.3)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_std": [1, 2, 3]}))
    assert load_patchifier(tmp_path, GEOMETRY).std == (1, 2, 3)
    (tmp_path / "video_preprocessor_config.json").write_text(json.dumps({"image_std": [4, 5, 6]}))
    assert load_patchifier(tmp_path, GEOMETRY).std == (4, 5, 6)


def test_a_family_has_its_own_colours_where_no_file_says_them(tmp_path: Path) -> None:
    assert load_patchifier(tmp_path, GEOMETRY, CENTRED, CENTRED) == Patchifier(14, 2, 2, CENTRED, CENTRED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"image_mean": [0.5, 0.5]}', "image_mean must be three numbers"),
        ('{"image_mean": 0.5}', "image_mean must be three numbers"),
        ('{"image_mean": null}', "image_mean must be three numbers"),
        ('{"image_std": [1, 0, 1]}', "image_std must be positive"),
        ('{"image_mean": ', "not valid JSON"),
        ("[]", "must hold a JSON object"),
        ('{"video_processor": "fast"}', "the processor must be a JSON object"),
    ],
)
def test_a_damaged_processor_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(ModelError, match=f"preprocessor_config.json: {message}"):
        load_patchifier(tmp_path, GEOMETRY)
