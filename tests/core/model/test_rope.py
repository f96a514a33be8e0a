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

"""Rotary angles against transformers' own, for every family and layout of axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from random_models import FAMILIES, write_random_model
from svlm_core.model.load import load_model
from svlm_core.model.rope import Rope, turn
import torch

YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0, "original_max_position_embeddings": 512}


def transformers_own(rotary: Any, positions: torch.Tensor, axes: int) -> tuple[torch.Tensor, torch.Tensor]:
    cos, sin = rotary(torch.empty(0), positions[:, None] if axes == 3 else positions[:1])
    return cos[0], sin[0]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_angles_are_those_of_transformers(family: str, scaled: bool, tmp_path: Path) -> None:
    options: dict[str, Any] = {}
    if scaled:
        sections = {} if family == "smolvlm" else {"mrope_section": [2, 3, 3]}
        options["rope_parameters"] = {**YARN, **sections}
    model = load_model(str(write_random_model(tmp_path, family, **options)))
    rotary: Any = model._text_model.rotary_emb
    rope, axes = Rope(rotary), 1 if family == "smolvlm" else 3
    generator = torch.Generator().manual_seed(0)
    positions = torch.randint(-900, 900, (3, 40), generator=generator) + 0.25
    cos, sin = rope(positions)
    their_cos, their_sin = transformers_own(rotary, positions, axes)
    half = model.head_dim // 2
    assert torch.equal(cos, their_cos)
    assert torch.equal(sin[:, half:], their_sin[:, half:]) and torch.equal(
        sin[:, :half], -their_sin[:, :half]
    )
    assert scaled == (rotary.attention_scaling != 1.0)


def test_turning_is_a_rotation_of_pairs() -> None:
    torch.manual_seed(0)
    x, angles = torch.randn(5, 3, 8), torch.randn(5, 1, 4)
    cos, sin = torch.cat([angles.cos()] * 2, -1), torch.cat([-angles.sin(), angles.sin()], -1)
    pairs = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones_like(angles), angles)
    expected = torch.cat([pairs.real, pairs.imag], -1)
    torch.testing.assert_close(turn(x, cos, sin), expected)
    part = x[:, :2]  # of longer rows, in place
    rest = x[:, 2].clone()
    assert turn(part, cos, sin, out=part) is part
    torch.testing.assert_close(x[:, :2], expected[:, :2])
    assert torch.equal(x[:, 2], rest)
