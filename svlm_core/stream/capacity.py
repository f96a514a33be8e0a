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

"""How large a stream's KV cache can become, from the settings alone."""

from __future__ import annotations

from svlm_core.cache.window import POLICIES
from svlm_core.config import StreamConfig
from svlm_core.errors import CacheFullError
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.protocol import Protocol

_LONGEST_STREAM_S = 1e9  # thirty years: the widest time text a capacity is computed for


def most_tokens(
    config: StreamConfig,
    protocol: Protocol,
    model: StreamModel,
    visual_tokens: int,
    grid: tuple[int, int, int],
    text_tokens: int,
    spare_tokens: int = 0,
) -> int:
    """Most tokens that are ever cached at once, an upper bound.

    Args:
        config: the settings.
        protocol: how the stream writes its turns.
        model: what it runs on.
        visual_tokens: of a chunk.
        grid: (t, h, w) of its frames in patches.
        text_tokens: of the old text that the stream begins with.
        spare_tokens: room beside the stream's own; a policy without bounds gets of it what the model has.

    Raises:
        CacheFullError: more than the model has positions for.
    """
    if POLICIES[config.policy].bounded:
        head = sum(len(segment.ids) for segment in protocol.head(config, ()))
        if not protocol.query_in_head:  # then the first chunk has it, before a question
            head += len(protocol.words(config.prompt)) + len(protocol.words("\n"))
        text = max(text_tokens, config.text_sink_tokens + config.text_window_tokens)
        # each chunk of the window, and the one that comes in, at its widest
        chunks = (config.window_chunks + 1) * _widest_chunk(config, protocol, model, visual_tokens, grid)
        capacity = head + text + chunks + spare_tokens
    else:
        capacity = config.full_capacity_tokens
        capacity += max(0, min(spare_tokens, model.max_positions - capacity))
    if capacity > model.max_positions:
        spare = f", {spare_tokens} of them spare" if spare_tokens else ""
        raise CacheFullError(
            f"the settings need a KV cache of {capacity} tokens{spare}, {model.name} knows only "
            f"{model.max_positions} positions; shorten vision_window_s, text_window_tokens, prompt, "
            "max_new_tokens, max_query_tokens, max_visual_tokens or full_capacity_tokens"
        )
    return capacity


def _widest_chunk(
    config: StreamConfig,
    protocol: Protocol,
    model: StreamModel,
    visual_tokens: int,
    grid: tuple[int, int, int],
) -> int:
    """Most tokens of one chunk: all its frames, a question, an answer as long as may be."""
    far = round(_LONGEST_STREAM_S / config.chunk_s)
    steps = -(-round(config.chunk_s * config.fps) // model.frames_per_step)  # of a chunk without gaps
    turn = protocol.user(far, config.chunk_s, (steps, *grid[1:]), visual_tokens // grid[0] * steps)
    user = sum(len(segment.ids) for segment in turn) + config.max_query_tokens
    answer = len(protocol.answer_open(0).ids) + config.max_new_tokens
    return user + answer + len(protocol.silence) + len(protocol.take_apart([]).close)
