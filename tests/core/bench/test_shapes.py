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

import pytest
from svlm_core.bench.random_model import qwen_config
from svlm_core.bench.shapes import find_shape, Shape, SHAPES
from svlm_core.errors import ConfigError
from svlm_core.model.adapter import StreamModel
import torch
from transformers import Qwen2_5_VLForConditionalGeneration


@pytest.mark.parametrize("name", SHAPES)
def test_parameters_are_those_of_transformers_own_model(name: str, tiny_model: StreamModel) -> None:
    with torch.device("meta"):  # shapes without memory
        hf = Qwen2_5_VLForConditionalGeneration(qwen_config(SHAPES[name], tiny_model.tokenizer))
    assert SHAPES[name].parameters == hf.num_parameters()


def test_the_released_models_have_the_parameters_their_makers_name() -> None:
    assert round(SHAPES["3b"].parameters / 1e9, 2) == 3.75
    assert round(SHAPES["7b"].parameters / 1e9, 2) == 8.29
    assert round(SHAPES["s"].parameters / 1e6) == 39
    assert round(SHAPES["m"].parameters / 1e6) == 293


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_rotary_sections_fill_half_a_head(shape: Shape) -> None:
    assert 2 * sum(shape.mrope) == shape.head_dim


def test_names_are_found_in_any_case_and_by_their_releases() -> None:
    assert find_shape("M") is SHAPES["m"]
    assert find_shape("Qwen2.5-VL-7B") is SHAPES["7b"]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"--model 9b: no such shape; there are tiny, s, m, 3b, 7b and qwen"
    ):
        find_shape("9b")
