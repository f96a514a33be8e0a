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

"""A model that the tests of benches share, and settings whose windows are full after a few chunks."""

from __future__ import annotations

import pytest
from svlm_core.bench.random_model import build
from svlm_core.bench.shapes import Shape, SHAPES
from svlm_core.config import StreamConfig
from svlm_core.model.adapter import StreamModel


@pytest.fixture(scope="session")
def tiny() -> Shape:
    """The embedded model's geometry."""
    return SHAPES["tiny"]


@pytest.fixture(scope="session")
def tiny_model(tiny: Shape) -> StreamModel:
    """That geometry with random weights."""
    return build(tiny)


@pytest.fixture
def config() -> StreamConfig:
    """Four chunks of vision, 16 tokens of old text, four words a chunk."""
    return StreamConfig(
        time_text=False,
        vision_window_s=4.0,
        text_sink_tokens=6,
        text_window_tokens=10,
        max_new_tokens=4,
        min_visual_tokens=1,
        max_visual_tokens=16,
        full_capacity_tokens=256,
        max_query_tokens=0,  # nobody asks
    )
