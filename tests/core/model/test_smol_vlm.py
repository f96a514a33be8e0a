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

"""The SmolVLM adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import write_random_model
from svlm_core.errors import ConfigError, ModelError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model
import torch


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StreamModel:
    return load_model(str(write_random_model(tmp_path_factory.mktemp("smol") / "model", "smolvlm")))


@torch.inference_mode()
def test_features_are_transformers_own(model: StreamModel) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (3, 40, 70, 3), dtype=np.uint8)
    vision = model.preprocess(rgb, 1, 4)
    assert (vision.grid, vision.tokens) == ((3, 4, 4), 12)
    hf: Any = model.hf
    expected = torch.cat(hf.model.get_image_features(vision.patches[None]).pooler_output)
    torch.testing.assert_close(model.encode_vision(vision), expected, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_a_picture_of_zeros_is_not_taken_for_padding(model: StreamModel) -> None:
    vision = model.preprocess(np.zeros((2, 56, 56, 3), np.uint8), 1, 4)
    vision.patches.zero_()
    assert model.encode_vision(vision).shape == (8, model.hidden_size)


def test_every_frame_becomes_the_same_square(model: StreamModel) -> None:
    for height, width in [(56, 56), (20, 900), (1080, 1920)]:
        assert model.target_size(height, width, 1, 768) == (56, 56)
    assert model.target_size(480, 640, 100, 768) == (56, 56), "min_visual_tokens does not give way"


def test_a_budget_smaller_than_a_frame_names_the_setting(model: StreamModel) -> None:
    message = r"max_visual_tokens is 3, but .* makes 4 visual tokens of every frame: set max_visual_tokens to"
    with pytest.raises(ConfigError, match=message):
        model.target_size(56, 56, 1, 3)
    with pytest.raises(ConfigError, match=message):
        model.preprocess(np.zeros((2, 56, 56, 3), np.uint8), 1, 3)


def test_visual_tokens_stand_in_a_row_like_words(model: StreamModel) -> None:
    assert model.vision_positions((1, 4, 4), 9.5, 1.0).tolist() == [[9.5, 10.5, 11.5, 12.5]] * 3
    assert model.vision_extent((1, 4, 4), 1.0) == 4


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = write_random_model(tmp_path / "model", "smolvlm")
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"image_token_id": 261', '"image_token_id": 7'))
    with pytest.raises(ModelError, match="the tokenizer's <image> is 261, config.json's image_token_id is 7"):
        load_model(str(folder))
