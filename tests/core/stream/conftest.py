"""The model that the tests of sessions share."""

from __future__ import annotations

import pytest
from random_models import write_random_model

from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> StreamModel:
    """A very small random Qwen2.5-VL in float32; large weights, so that what it sees decides what it says."""
    folder = write_random_model(tmp_path_factory.mktemp("small") / "model", initializer_range=0.2)
    return load_model(str(folder))
