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

"""A training sample of StreamingVLM's SFT: some seconds of a stream, rendered as streaming would have them.

ArXiv 2510.09608, section 3.2: the head with the previous text, cut as streaming cuts it, then one round for
each chunk of frames, under full attention. Only what the assistant says is learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from svlm_core.cache.segments import Role, Segment
from svlm_core.cache.window import Limits, trim
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.vision import VisionInput
from svlm_core.stream.positions import place
from svlm_core.stream.protocol import Protocol
import torch
from torch import Tensor


@dataclass(frozen=True)
class Round:
    """One chunk of a clip.

    Attributes:
        frames: uint8 [T, H, W, 3], oldest first; all rounds of a clip have one H and W.
        words: what is to be said about them, "" for silence.
        query: what the user asks in this round, "" for nothing.
    """

    frames: np.ndarray
    words: str
    query: str = ""


@dataclass(frozen=True)
class Clip:
    """Some seconds of one stream.

    Attributes:
        name: where it comes from, for messages: "match.mp4 at 120 s".
        rounds: one for each chunk, without a gap.
        previous_text: everything said before the first round.
        first_chunk: number of the first round's chunk since the stream began.
        prompt: what the user asks of the whole stream, "" for the settings' own.
    """

    name: str
    rounds: Sequence[Round]
    previous_text: str = ""
    first_chunk: int = 0
    prompt: str = ""


@dataclass(frozen=True)
class Rendered:
    """A clip as tokens.

    Attributes:
        ids: int64 [L].
        positions: M-RoPE positions, float32 [3, L].
        spoken: whether the token is one of the assistant's, to be learned, bool [L].
        silent: whether it belongs to an answer without words, bool [L].
        vision: the frames, one input for each round.
        segments: what the ids are made of, in order, as a stream has them.
    """

    ids: Tensor
    positions: Tensor
    spoken: Tensor
    silent: Tensor
    vision: tuple[VisionInput, ...]
    segments: tuple[Segment, ...]


class Renderer:
    """Turns clips into tokens, with the protocol and the cuts of a stream of these settings."""

    def __init__(self, model: StreamModel, config: StreamConfig) -> None:
        """Render for one model.

        Raises:
            ConfigError: the settings' protocol is not for this model.
        """
        self._model, self._config = model, config
        self._protocol = Protocol.from_config(config, model.tokenizer, model.dialect)

    def render(self, clip: Clip) -> Rendered:
        """Render a clip.

        Raises:
            ConfigError: it has no rounds.
            SourceError: its frames' shape is one no model can see.
        """
        if not clip.rounds:
            raise ConfigError(f"{clip.name}: a clip without rounds")
        config, protocol = self._config, self._protocol
        config = config.replace({"prompt": clip.prompt}, clip.name) if clip.prompt else config
        old = protocol.words(clip.previous_text)
        sink, window = config.text_sink_tokens, config.text_window_tokens
        start, stop = trim(len(old), Limits(config.window_chunks, sink, window))
        segments = protocol.head(config, old[:start] + old[stop:])
        spoken = [False] * _length(segments)
        silent = [False] * _length(segments)
        vision = []
        for number, turn in enumerate(clip.rounds):
            seen = self._model.preprocess(turn.frames, config.min_visual_tokens, config.max_visual_tokens)
            opened = self._open(clip, number, seen, config)
            answer = protocol.answer(turn.words)
            said = protocol.take_apart(answer)
            newline = len(said.speech) + len(said.close) - len(answer)  # the next prefill's, not learned
            given = _length(opened)
            chunk = clip.first_chunk + number
            segments += [
                *opened,
                Segment(Role.SPEECH, chunk, said.speech),
                Segment(Role.ANSWER_CLOSE, chunk, said.close),
            ]
            spoken += [False] * given + [True] * len(answer) + [False] * newline
            silent += [False] * given + [not turn.words] * len(answer) + [False] * newline
            vision.append(seen)
        seconds_per_step = self._model.frames_per_step / config.fps
        positions, _ = place(
            segments, 0.0, lambda grid, base: self._model.vision_positions(grid, base, seconds_per_step)
        )
        ids = torch.tensor([i for segment in segments for i in segment.ids])
        return Rendered(
            ids, positions, torch.tensor(spoken), torch.tensor(silent), tuple(vision), tuple(segments)
        )

    def _open(self, clip: Clip, number: int, seen: VisionInput, config: StreamConfig) -> list[Segment]:
        """The user's turn of a round and the opening of the assistant's."""
        protocol, chunk = self._protocol, clip.first_chunk + number
        first = chunk == 0 and not protocol.query_in_head
        queries = (config.prompt if first else "", clip.rounds[number].query)
        user = protocol.user(chunk, config.chunk_s, seen.grid, seen.tokens, *queries)
        return [*user, protocol.answer_open(chunk)]


def _length(segments: Sequence[Segment]) -> int:
    return sum(len(segment.ids) for segment in segments)
