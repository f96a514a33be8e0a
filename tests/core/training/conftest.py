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

from typing import Any

import pytest
from svlm_core.config import StreamConfig
from svlm_core.model.qwen_vl import QwenVL
from svlm_core.model.vision import Patchifier
from svlm_core.training.recipe import ModelShape
from svlm_core.training.tiny_model import FRAMES_PER_PATCH, make_model, MERGE, PATCH_PX
from svlm_core.training.tokenizer import build_tokenizer

SHAPE = ModelShape(
    hidden_size=96,
    num_hidden_layers=2,
    intermediate_size=64,
    vision_hidden_size=32,
    vision_depth=1,
    vision_num_heads=2,
    vision_intermediate_size=32,
)
STREAM: dict[str, Any] = {
    "vision_window_s": 8.0,
    "text_sink_tokens": 10,
    "text_window_tokens": 30,
    "min_visual_tokens": 9,
    "max_visual_tokens": 9,
    "time_text": False,
    "system_prompt": "Say what happens.",
    "max_new_tokens": 8,
    "temperature": 0.0,
    "repetition_penalty": 1.0,
}


@pytest.fixture(scope="session")
def world_config() -> StreamConfig:
    """Streaming as the world's samples are made for, with a short memory so that text is trimmed soon."""
    return StreamConfig().replace(STREAM, "test")


@pytest.fixture(scope="session")
def world_model() -> QwenVL:
    """A model as training begins with, very small."""
    tokenizer = build_tokenizer(STREAM["system_prompt"])
    hf = make_model(SHAPE, tokenizer, 4096, seed=0)
    patchifier = Patchifier(PATCH_PX, FRAMES_PER_PATCH, MERGE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return QwenVL("tiny", hf, tokenizer, patchifier, STREAM)
