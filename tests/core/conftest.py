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

"""Checkpoints that many tests share; each is made once a session, in a temporary folder."""

from __future__ import annotations

from pathlib import Path

from golden import load_trace, Trace, write_checkpoint
import pytest
from random_models import FAMILIES, write_random_model
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model


@pytest.fixture(scope="session")
def golden_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the random Qwen2.5-VL that the golden traces were recorded with."""
    folder = tmp_path_factory.mktemp("golden_checkpoint")
    write_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def golden_model(golden_checkpoint: Path) -> StreamModel:
    """That model, in float32."""
    return load_model(str(golden_checkpoint))


@pytest.fixture(scope="session")
def golden_t3() -> Trace:
    """The run with four chunks of vision and a short text window."""
    return load_trace("T3")


@pytest.fixture(scope="session")
def random_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Family -> folder of a very small random checkpoint. Copy it before damaging it."""
    folder = tmp_path_factory.mktemp("random_checkpoints")
    return {family: write_random_model(folder / family, family) for family in FAMILIES}


@pytest.fixture(params=FAMILIES)
def random_model(request: pytest.FixtureRequest, random_checkpoints: dict[str, Path]) -> StreamModel:
    """A very small random model of each family in turn, in float32."""
    return load_model(str(random_checkpoints[request.param]))
