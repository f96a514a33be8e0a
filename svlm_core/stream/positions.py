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

"""Where tokens stand: M-RoPE positions of a run of segments, the same in training and in streaming.

Text advances all three axes (t, h, w) by one. A vision block is placed by the model family; the text behind
it continues at its largest position plus one (Qwen2-VL, arXiv 2409.12191, section 2.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from svlm_core.cache.segments import Segment
import torch
from torch import Tensor

PlaceVision = Callable[[tuple[int, int, int], float], Tensor]  # (grid t h w in patches, base) -> [3, tokens]


def place(segments: Sequence[Segment], base: float, place_vision: PlaceVision) -> tuple[Tensor, float]:
    """Positions of the segments' tokens, laid out one behind the other.

    Args:
        segments: in stream order.
        base: position of the first token.
        place_vision: the family's rule for a vision block.

    Returns:
        float32 [3, L], and the position at which the next token continues.
    """
    parts: list[Tensor] = []

    def text(tokens: int) -> None:
        nonlocal base
        parts.append(torch.arange(tokens, dtype=torch.float32).add_(base).expand(3, -1))
        base += tokens

    for segment in segments:
        if segment.vision is None:
            text(len(segment.ids))
            continue
        text(segment.vision.start)
        block = place_vision(segment.vision.grid, base)  # [3, tokens]
        parts.append(block)
        base = float(block.max()) + 1
        text(len(segment.ids) - segment.vision.start - segment.vision.tokens)
    if not parts:
        return torch.empty(3, 0), base
    return torch.cat(parts, dim=1), base
