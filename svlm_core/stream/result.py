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

"""What understanding a chunk gave."""

from __future__ import annotations

from dataclasses import dataclass, field

FINISH_END = "end"  # the model ended its turn
FINISH_LENGTH = "length"  # max_new_tokens
FINISH_DEADLINE = "deadline"  # the chunk's time was spent; the phrase goes on in the next chunk
FINISH_CANCELLED = "cancelled"


@dataclass(frozen=True)
class ChunkResult:
    """What one chunk gave.

    Attributes:
        text: the words, "" for silence.
        token_ids: all ids generated, silence mark and end of turn included.
        prefill_tokens: tokens of the chunk's prefill.
        cache_tokens: tokens in the KV cache after the chunk.
        finish: why the words end: one of the FINISH_ constants.
        stage_ms: wall time of preprocess, vision, cache, prefill and decode, milliseconds; in a batch, other
            streams' work included; over a link also encode and link.
        forgot: why the stream had forgotten what it saw before this chunk; "" normally.
    """

    text: str
    token_ids: tuple[int, ...]
    prefill_tokens: int
    cache_tokens: int
    finish: str = FINISH_END
    stage_ms: dict[str, float] = field(default_factory=dict)
    forgot: str = ""
