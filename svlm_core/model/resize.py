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

"""The size a frame is scaled to: whole merged patches, the aspect ratio kept, a budget of visual tokens."""

from __future__ import annotations

import math

from svlm_core.errors import SourceError

MAX_ASPECT = 200  # the Qwen-VL families refuse anything longer


def target_size(height: int, width: int, *, factor: int, min_tokens: int, max_tokens: int) -> tuple[int, int]:
    """The size at which a frame costs between min_tokens and max_tokens visual tokens.

    Qwen's `smart_resize`, with the budget given in merged tokens. One thing is stricter: max_tokens is never
    exceeded, because the KV cache's capacity is counted from it. Where no size between the limits has nearly
    the frame's shape, min_tokens gives way.

    Args:
        height: of the frame, pixels.
        width: of the frame, pixels.
        factor: side of one visual token, pixels (patch size x merge size).
        min_tokens: smallest budget, at least 1.
        max_tokens: largest budget, at least min_tokens.

    Returns:
        (height, width) in pixels, both multiples of factor.

    Raises:
        SourceError: one side is more than MAX_ASPECT times the other.
    """
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise SourceError(
            f"a {width}x{height} picture is too elongated: "
            f"one side may be at most {MAX_ASPECT} times the other"
        )
    rows, columns = max(1, round(height / factor)), max(1, round(width / factor))
    if rows * columns < min_tokens:
        rows, columns = _ceil_root(min_tokens * height, width), _ceil_root(min_tokens * width, height)
    if rows * columns > max_tokens:
        rows, columns = math.isqrt(max_tokens * height // width), math.isqrt(max_tokens * width // height)
        rows, columns = min(max(rows, 1), max_tokens), min(max(columns, 1), max_tokens)
    return rows * factor, columns * factor


def _ceil_root(numerator: int, denominator: int) -> int:
    """ceil(sqrt(numerator / denominator)) in whole numbers: a float root a hair too large would add a row."""
    return 1 + math.isqrt((numerator - 1) // denominator)
