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

"""Loading measured beside training, and memory over a pass."""

from __future__ import annotations

import itertools
from pathlib import Path
import time

import pytest
from svlm_core.config import StreamConfig
from svlm_core.data.problems import BROKEN_VIDEO
from svlm_core.data.sample import Sample
from svlm_core.data.words import Word
from svlm_core.errors import ConfigError
from svlm_core.model.qwen_vl import QwenVL
from svlm_core.model.vision import Patchifier
from svlm_core.training.disk_clips import DiskClips
from svlm_core.training.loading import measure_loading
from svlm_core.training.recipe import ModelShape
from svlm_core.training.tiny_model import FRAMES_PER_PATCH, make_model, MERGE, PATCH_PX
from svlm_core.world.clip import write_clip


@pytest.fixture
def own_model(world_model: QwenVL) -> QwenVL:
    """A model that may be trained: the one of all tests must stay as it is."""
    shape = ModelShape(
        hidden_size=96,
        num_hidden_layers=2,
        intermediate_size=32,
        vision_hidden_size=32,
        vision_depth=1,
        vision_num_heads=2,
        vision_intermediate_size=32,
    )
    patchifier = Patchifier(PATCH_PX, FRAMES_PER_PATCH, MERGE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    hf = make_model(shape, world_model.tokenizer, 4096, seed=1)
    return QwenVL("tiny", hf, world_model.tokenizer, patchifier, {})


def test_a_pass_is_measured_and_memory_stays_flat(
    own_model: QwenVL, world_config: StreamConfig, tmp_path: Path
) -> None:
    write_clip(4, 30, tmp_path / "a.mp4", lambda seconds: None)
    path = tmp_path / "a.jsonl"
    said = (Word(1.0, 2.0, "new"),)
    lines = [
        Sample("a.mp4", float(k % 20), k % 20 + 8.0, said if k % 20 < 1 else ()).to_line() for k in range(60)
    ]
    path.write_text("\n".join([*lines, Sample("b.mp4", 0.0, 8.0, ()).to_line()]) + "\n")
    clock = itertools.count()
    loaded: list[int] = []
    figures = measure_loading(
        DiskClips(path, world_config), own_model, world_config, 2, loaded.append, lambda: float(next(clock))
    )
    assert figures.clips == len(loaded) == 60
    assert figures.loaded_tokens_s == figures.tokens / 60  # the clock ticks once a look
    assert figures.trained_tokens_s == pytest.approx(figures.tokens / 60, rel=0.1)
    assert figures.growth_bytes is not None
    assert figures.growth_bytes < 16 << 20
    assert figures.problems.counts == {BROKEN_VIDEO: 1}


def test_nothing_to_load_is_an_error(own_model: QwenVL, world_config: StreamConfig, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(Sample("b.mp4", 0.0, 8.0, ()).to_line() + "\n")
    clips = DiskClips(path, world_config)
    with pytest.raises(ConfigError, match="not one of its 1 samples can be loaded"):
        measure_loading(clips, own_model, world_config, 2, lambda done: None, time.process_time)
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        measure_loading(clips, own_model, world_config, 0, lambda done: None, time.process_time)
