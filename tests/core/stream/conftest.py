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
