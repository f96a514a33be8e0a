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

"""The vision tower of the Qwen-VL families, against transformers' own, untouched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import FAMILIES
from safetensors.torch import load_file
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model
from svlm_core.model.tower import PatchProduct
import torch
from torch import nn
from transformers import AutoModelForImageTextToText

QWEN = [family for family in FAMILIES if family.startswith("qwen")]


@pytest.fixture(params=QWEN)
def pair(request: pytest.FixtureRequest, random_checkpoints: dict[str, Path]) -> tuple[StreamModel, Any]:
    """Our model, and transformers' as it loads it."""
    folder = random_checkpoints[request.param]
    return load_model(str(folder)), AutoModelForImageTextToText.from_pretrained(folder).eval()


def test_a_patch_embedding_is_a_matrix_product() -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(3, 8, kernel_size=(2, 4, 4), stride=(2, 4, 4))
    patches = torch.randn(5, 3 * 2 * 4 * 4)
    expected = conv(patches.view(5, 3, 2, 4, 4)).view(5, 8)
    torch.testing.assert_close(PatchProduct(conv)(patches), expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_features_are_transformers_own_for_any_order_of_sizes(pair: tuple[StreamModel, Any]) -> None:
    model, own = pair
    rng = np.random.default_rng(0)
    for frames, height, width in [(2, 56, 84), (4, 84, 84), (2, 56, 84), (1, 112, 56), (4, 84, 84)]:
        vision = model.preprocess(rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8), 1, 12)
        expected = own.model.visual(vision.patches, grid_thw=torch.tensor([vision.grid]))
        features = torch.cat([expected.pooler_output, *getattr(expected, "deepstack_features", [])], dim=1)
        torch.testing.assert_close(model.encode_vision(vision), features, rtol=0, atol=1e-5)


def test_weights_keep_their_names_and_shapes(pair: tuple[StreamModel, Any], tmp_path: Path) -> None:
    model, own = pair
    model.hf.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    stored = load_file(Path(model.name) / "model.safetensors")
    assert saved.keys() == stored.keys()
    assert all(torch.equal(saved[name], stored[name]) for name in stored)
    (kernel,) = [tensor for name, tensor in saved.items() if name.endswith("visual.patch_embed.proj.weight")]
    assert kernel.ndim == 5
    assert model.hf.state_dict().keys() == own.state_dict().keys()


def test_gradients_of_the_patch_embedding_are_the_convolutions(pair: tuple[StreamModel, Any]) -> None:
    model, own = pair
    vision = model.preprocess(np.random.default_rng(1).integers(0, 256, (2, 56, 56, 3), dtype=np.uint8), 1, 4)
    model.encode_vision(vision).square().sum().backward()
    expected = own.model.visual(vision.patches, grid_thw=torch.tensor([vision.grid]))
    loss = expected.pooler_output.square().sum()
    for more in getattr(expected, "deepstack_features", []):
        loss = loss + more.square().sum()
    loss.backward()
    gradients = [hf.model.visual.patch_embed.proj.weight.grad for hf in (model.hf, own)]
    assert gradients[1].abs().max() > 1e-3
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)
