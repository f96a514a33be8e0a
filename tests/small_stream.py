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

"""Settings, pictures and words for streams through a very small model."""

from __future__ import annotations

from typing import Any

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.frames import Chunk, Frame, NS_PER_S
from svlm_core.stream.protocol import Protocol
from torch import Tensor

FPS = 2
SIDE_PX = 56  # four visual tokens


def small_config(**changes: Any) -> StreamConfig:
    """Four visual tokens, a window of four chunks, short texts; greedy."""
    base = {
        "vision_window_s": 4.0,
        "text_sink_tokens": 6,
        "text_window_tokens": 20,
        "min_visual_tokens": 4,
        "max_visual_tokens": 4,
        "system_prompt": "sys",
        "prompt": "say",
        "previous_text": "once",
        "max_new_tokens": 8,
        "temperature": 0.0,
        "full_capacity_tokens": 512,
    }
    return StreamConfig().replace({**base, **changes}, "test")


def frame_at(number: int, fps: float = FPS, side_px: int = SIDE_PX) -> Frame:
    """Frame `number` of a camera of noise."""
    rgb = np.random.default_rng(number).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
    return Frame(round(number * NS_PER_S / fps), rgb, "noise")


def chunk_at(index: int) -> Chunk:
    """Chunk `index` of that camera, one second long."""
    return Chunk(index, tuple(frame_at(index * FPS + k) for k in range(FPS)))


class Script:
    """Says the given words, one entry each chunk ("" is silence); silent when they run out."""

    def __init__(self, protocol: Protocol, *words: str) -> None:
        self._end = protocol.end_of_turn
        self._ids = [i for said in words for i in [*protocol.words(said), self._end]]

    def __call__(self, logits: Tensor, context: Tensor) -> int:
        return self._ids.pop(0) if self._ids else self._end
