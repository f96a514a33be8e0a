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

"""What every family's adapter does, against transformers itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_models import DIALECTS, write_random_model
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model
from svlm_core.model.vision import Grid, VisionInput
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


def sequence(model: StreamModel, grid: Grid, step_s: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Three text tokens, a visual block and two text tokens: ids [L] and positions [3, L]."""
    vision = model.vision_positions(grid, 3.0, step_s)
    behind = 3 + model.vision_extent(grid, step_s) + torch.arange(2)
    positions = torch.cat([torch.arange(3.0).expand(3, 3), vision, behind.expand(3, 2)], dim=1)
    ids = torch.tensor([1, 2, 3, *[model.video_token_id] * vision.shape[1], 4, 5])
    return ids, positions


def test_chunks_of_one_size_can_be_encoded_together(random_model: StreamModel) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (4, 112, 84, 3), dtype=np.uint8)
    visions = [random_model.preprocess(rgb[i : i + 2], 1, 12) for i in (0, 2)]
    joined = VisionInput.join(visions)
    whole = random_model.preprocess(rgb, 1, 12)
    assert joined.grid == whole.grid and torch.equal(joined.patches, whole.patches)
    with torch.inference_mode():
        together = random_model.encode_vision(joined)
        single = [random_model.encode_vision(vision) for vision in visions]
    assert together.shape == (whole.tokens, random_model.feature_size)
    torch.testing.assert_close(together, torch.cat(single), rtol=0, atol=1e-6)


def test_preprocessing_gives_the_size_that_was_announced(random_model: StreamModel) -> None:
    rgb = np.zeros((2, 100, 180, 3), np.uint8)
    height, width = random_model.target_size(100, 180, 4, 12)
    vision = random_model.preprocess(rgb, 4, 12)
    patch = random_model.hf.config.vision_config.patch_size
    assert vision.grid == (2 // random_model.frames_per_step, height // patch, width // patch)
    assert vision.tokens // vision.grid[0] <= 12


def test_a_cache_changes_nothing(random_model: StreamModel) -> None:
    ids, positions = sequence(random_model, (1, 6, 6))
    cache = DynamicCache(config=random_model.hf.config)
    with torch.inference_mode():
        embeds = random_model.embed(ids)[None]
        whole = random_model.head(random_model.hidden(embeds, positions[:, None]))
        random_model.hidden(embeds[:, :-2], positions[:, None, :-2], cache)
        last = random_model.head(random_model.hidden(embeds[:, -2:], positions[:, None, -2:], cache))
    assert last.shape == (1, 2, random_model.vocab_size)
    assert cache.get_seq_length() == len(ids)
    torch.testing.assert_close(last, whole[:, -2:], rtol=0, atol=1e-5)


def test_text_goes_on_behind_a_block(random_model: StreamModel) -> None:
    for grid in [(1, 4, 6), (1, 6, 4), (1, 2, 2)]:
        block = random_model.vision_positions(grid, 7.0, 0.5)
        assert block.shape == (3, grid[1] * grid[2] // 4) and block.min() == 7
        assert block.max() + 1 == 7 + random_model.vision_extent(grid, 0.5)


def cached_keys(model: StreamModel, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Layer 0's keys as transformers caches them: [kv_heads, L, head_dim]."""
    cache = DynamicCache(config=model.hf.config)
    with torch.inference_mode():
        model.hidden(model.embed(ids)[None], positions[:, None], cache)
    layer = cache.layers[0]
    assert isinstance(layer, DynamicLayer)
    assert layer.keys is not None
    return layer.keys[0]


def assert_rotates_like_attention(model: StreamModel) -> None:
    ids, positions = sequence(model, (1, 4, 6), 0.7)
    generator = torch.Generator().manual_seed(0)
    # where positions are one-dimensional, the axes of a token are one
    axes = 1 if torch.equal(positions[0], positions[2]) else 3
    moved = positions * 3 + torch.randint(0, 500, (axes, positions.shape[1]), generator=generator)
    keys = cached_keys(model, ids, positions)
    bare = model.rotate(keys, positions, inverse=True)
    torch.testing.assert_close(model.rotate(bare, positions), keys, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.rotate(bare, moved), cached_keys(model, ids, moved), rtol=0, atol=2e-5)
    assert (keys - cached_keys(model, ids, moved)).abs().max() > 0.01  # the two places do differ


def test_rotate_is_what_attention_does_to_keys(random_model: StreamModel) -> None:
    assert_rotates_like_attention(random_model)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "smolvlm"])
def test_rotate_undoes_a_rope_type_that_also_scales(family: str, tmp_path: Path) -> None:
    rope = {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "original_max_position_embeddings": 512,
    }
    rope |= {"mrope_section": [2, 3, 3]} if family == "qwen2_5_vl" else {}
    assert_rotates_like_attention(load_model(str(write_random_model(tmp_path, family, rope_parameters=rope))))


def test_rotating_bfloat16_keys_leaves_the_rounding_to_the_caller(random_model: StreamModel) -> None:
    keys = torch.randn(1, 5, random_model.head_dim, generator=torch.Generator().manual_seed(0)).bfloat16()
    positions = torch.arange(5).expand(3, 5)
    rotated = random_model.rotate(keys, positions)
    assert rotated.dtype == torch.float32
    torch.testing.assert_close(
        random_model.rotate(rotated, positions, inverse=True), keys.float(), rtol=0, atol=1e-6
    )


def test_gradients_reach_the_vision_tower_after_streaming(random_model: StreamModel) -> None:
    vision = random_model.preprocess(np.full((2, 56, 56, 3), 99, np.uint8), 1, 4)
    with torch.inference_mode():
        random_model.encode_vision(vision)
    features = random_model.encode_vision(vision)
    embeds = features[None, :, : random_model.hidden_size]
    states = random_model.hidden(embeds, torch.zeros(3, 1, len(features)))
    (random_model.head(states).sum() + features.sum()).backward()
    eyes = {
        name: parameter.grad
        for name, parameter in random_model.hf.named_parameters()
        if ".visual." in name or ".vision_model." in name or ".connector." in name
    }
    assert len(eyes) > 10
    assert not [name for name, gradient in eyes.items() if gradient is None]


def test_says_what_a_session_must_know(random_model: StreamModel) -> None:
    dialect = DIALECTS[random_model.hf.config.model_type]
    ids = random_model.tokenizer.get_vocab()
    assert random_model.dialect == dialect
    assert (random_model.layers, random_model.kv_heads, random_model.head_dim) == (2, 1, 16)
    assert (random_model.max_positions, random_model.vocab_size, random_model.hidden_size) == (4096, 272, 32)
    assert random_model.video_token_id == ids[dialect.visual_token]
    assert random_model.eos_token_ids == {ids[dialect.end_of_turn]}
    assert (random_model.dtype, random_model.device.type) == (torch.float32, "cpu")
    assert not random_model.hf.training
