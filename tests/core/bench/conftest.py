"""A model that the tests of benches share, and settings whose windows are full after a few chunks."""

from __future__ import annotations

import pytest

from svlm_core.bench.random_model import build
from svlm_core.bench.shapes import SHAPES, Shape
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
