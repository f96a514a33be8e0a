"""The model that the tests of sessions share."""

from __future__ import annotations

from pathlib import Path

import pytest

from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model


@pytest.fixture(scope="session")
def small_model(random_checkpoints: dict[str, Path]) -> StreamModel:
    """A very small random Qwen2.5-VL, in float32."""
    return load_model(str(random_checkpoints["qwen2_5_vl"]))
