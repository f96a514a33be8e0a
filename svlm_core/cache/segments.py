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

"""What a stream is made of: typed runs of tokens. Nothing is ever found again by scanning token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
import enum

from torch import Tensor

HEAD = -1  # the chunk number of segments that belong to no chunk


class Role(enum.Enum):
    """What a segment is."""

    SYSTEM = "system"
    PREVIOUS_OPEN = "previous open"
    PREVIOUS = "previous text"
    PREVIOUS_CLOSE = "previous close"
    QUERY = "query"
    USER = "user"
    ANSWER_OPEN = "answer open"
    SPEECH = "speech"  # the words, without silence mark and end of turn
    ANSWER_CLOSE = "answer close"


@dataclass(frozen=True)
class VisionSpan:
    """Where the visual tokens stand in a segment.

    Attributes:
        start: offset of the first one.
        tokens: how many.
        grid: (t, h, w) in patches, before merging.
    """

    start: int
    tokens: int
    grid: tuple[int, int, int]


@dataclass
class Segment:
    """A run of tokens with one role.

    Attributes:
        role: what it is.
        chunk: which chunk it belongs to, HEAD for none.
        ids: its token ids; each visual token is one video pad.
        vision: the visual tokens among them, None without.
        features: what the vision tower made of them, [vision.tokens, feature_size], while a forward pass over
            this segment may still come; else None.
    """

    role: Role
    chunk: int
    ids: list[int]
    vision: VisionSpan | None = None
    features: Tensor | None = None


def tail(segments: Sequence[Segment], tokens: int) -> list[Segment]:
    """The last `tokens` tokens of the segments; the first segment may be cut, behind its vision only."""
    kept: list[Segment] = []
    for segment in reversed(segments):
        if tokens == 0:
            break
        whole = tokens >= len(segment.ids)
        kept.append(
            segment if whole else replace(segment, ids=segment.ids[-tokens:], vision=None, features=None)
        )
        tokens -= min(tokens, len(segment.ids))
    return kept[::-1]
