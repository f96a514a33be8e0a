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

"""The Qwen3-VL adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import write_random_model
from svlm_core.model.adapter import StreamModel
from svlm_core.model.decoder import Piece, Visual
from svlm_core.model.load import load_model
import torch


class Store:
    """A cache for one pass."""

    def __init__(self, model: StreamModel) -> None:
        self.kv = torch.zeros(2, model.layers, model.kv_heads, 16, model.head_dim)
        self.length = 0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StreamModel:
    """As many layers as what is added behind the second can be seen from later tokens; large weights."""
    text = {"initializer_range": 0.2, "num_hidden_layers": 3}
    return load_model(str(write_random_model(tmp_path_factory.mktemp("model"), "qwen3_vl", **text)))


@torch.inference_mode()
def test_features_are_the_embeddings_and_then_deepstacks_layer_by_layer(model: StreamModel) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    vision = model.preprocess(rgb, 1, 6)
    features = model.encode_vision(vision)
    assert model.feature_size == 3 * model.hidden_size  # two layers of the tower are passed on
    hf: Any = model.hf
    seen = hf.model.visual(vision.patches, grid_thw=torch.tensor([vision.grid]))
    embeds, first, second = features.split(model.hidden_size, dim=1)
    torch.testing.assert_close(embeds, seen.pooler_output, rtol=0, atol=1e-6)
    torch.testing.assert_close(first, seen.deepstack_features[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(second, seen.deepstack_features[1], rtol=0, atol=1e-6)


@torch.inference_mode()
def test_control_what_deepstack_adds_is_seen_in_the_logits(model: StreamModel) -> None:
    def last(features: torch.Tensor) -> torch.Tensor:
        ids = torch.tensor([1, 2, *[model.video_token_id] * len(features), 3])
        positions = torch.arange(len(ids)).float().expand(3, -1)
        piece = Piece(ids, positions, Store(model), (Visual(2, features),))
        return model.head(model.decoder([piece]))

    features = torch.randn(4, model.feature_size, generator=torch.Generator().manual_seed(0))
    whole = last(features)
    for layer in (1, 2):
        without = features.clone()
        without[:, layer * model.hidden_size : (layer + 1) * model.hidden_size] = 0
        assert (last(without) - whole).abs().max() > 0.1


def test_frames_are_centred_and_cut_into_larger_patches(tmp_path: Path, model: StreamModel) -> None:
    white = np.full((2, 64, 64, 3), 255, np.uint8)
    vision = model.preprocess(white, 1, 4)
    assert vision.patches.shape == (16, 3 * 2 * 16 * 16)
    torch.testing.assert_close(vision.patches, torch.ones_like(vision.patches), rtol=0, atol=1e-6)


def test_a_step_is_placed_by_rows_and_columns_only(model: StreamModel) -> None:
    block = model.vision_positions((1, 4, 6), 5.0, 7.0)
    assert block.tolist() == [[5] * 6, [5, 5, 5, 6, 6, 6], [5, 6, 7, 5, 6, 7]]
    assert model.vision_extent((1, 4, 6), 7.0) == 3
