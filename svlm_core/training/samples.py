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

"""Training samples: token ids and a weight for each that is learned, rendered by the stream's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import itertools

import numpy as np
from svlm_core.cache.segments import Segment
from svlm_core.cache.window import Limits, trim
from svlm_core.config import StreamConfig
from svlm_core.stream.positions import place, PlaceVision
from svlm_core.stream.protocol import Protocol
from svlm_core.training.recipe import Weights
from svlm_core.world.features import CELLS
from svlm_core.world.scene import seconds, WorldConfig, WorldSecond
import torch
from torch import Tensor

# What a token is, for the accuracies shown during training.
NOT_LEARNED, WORD, MEMORY_DIGIT, NEW_DIGIT, QUIET = range(5)
TAGS = {WORD: "words", MEMORY_DIGIT: "memory", NEW_DIGIT: "new", QUIET: "silence"}
GRID = (1, 2 * CELLS, 2 * CELLS)  # one second of the world in patches: one temporal step
VISUAL_TOKENS = CELLS * CELLS


@dataclass
class Sample:
    """One sequence; `weights` and `tags` belong to the token at the same place, as a target.

    Attributes:
        ids: token ids [L].
        weights: loss weight of each token, 0 where it is given [L].
        tags: NOT_LEARNED, WORD, ... [L].
        positions: M-RoPE positions, float32 [3, L].
        seed: the world's seed, None for text-only samples.
        chunks: the world's seconds whose frames the sample holds.
    """

    ids: list[int]
    weights: list[float]
    tags: list[int]
    positions: Tensor
    seed: int | None = None
    chunks: Sequence[WorldSecond] = ()


def text_positions(length: int) -> Tensor:
    """Positions of plain text, float32 [3, length]."""
    return torch.arange(length, dtype=torch.float32).expand(3, -1)


def answer_weights(
    weigh: Weights, second: WorldSecond, words: Sequence[int]
) -> tuple[list[float], list[int]]:
    """Weights and tags of one true answer's tokens: words, silence mark, end of turn."""
    if not words:
        return [weigh.quiet, weigh.end_of_turn], [QUIET, NOT_LEARNED]
    last = {"back": weigh.memory_digit, "new": weigh.new_digit, "stops": weigh.word}.get(
        second.kind, weigh.argument
    )
    tag = {"back": MEMORY_DIGIT, "new": NEW_DIGIT}.get(second.kind, WORD)
    body = len(words) - 1
    weights = [*([weigh.word] * body), last, weigh.closing, weigh.end_of_turn]
    return weights, [*([WORD] * body), tag, NOT_LEARNED, NOT_LEARNED]


class StreamSampler:
    """StreamingVLM's training chunks (arXiv 2510.09608, section 3.2) from the world.

    A sample is the head with the previous text, trimmed as streaming trims it, and then `chunk_s` seconds of
    rounds under full attention; chunks of one stream overlap by `overlap_s`.
    """

    def __init__(
        self,
        protocol: Protocol,
        config: StreamConfig,
        place_vision: PlaceVision,
        world: WorldConfig,
        weights: Weights,
        chunk_s: int,
        overlap_s: int,
        forget: float,
        previous_text: bool = True,
    ) -> None:
        """Set up.

        Args:
            protocol: renders.
            config: settings of the stream that samples are made for.
            place_vision: the model's rule for visual positions.
            world: what is sampled from.
            weights: of the kinds of tokens in the loss.
            chunk_s: seconds of a sample.
            overlap_s: by which the samples of one stream overlap.
            forget: share of sentences left out, so that the model learns to live with gaps.
            previous_text: begin with what was said before.
        """
        self._protocol, self._config, self._place_vision = protocol, config, place_vision
        self._world, self._weights = world, weights
        self._chunk_s, self._stride_s, self._forget = chunk_s, chunk_s - overlap_s, forget
        self._previous_text = previous_text
        self._words: dict[str, list[int]] = {}

    def sample(self, rng: np.random.Generator, seed: int) -> Sample:
        """One chunk of the world `seed`; most often one in which something happens."""
        world = WorldConfig(
            cast=int(rng.integers(self._world.cast - 1, self._world.cast + 2)), renewal=self._world.renewal
        )
        starts = max(1, 320 // self._stride_s)
        first = 0 if rng.random() < 0.08 else int(rng.integers(starts))
        quiet_too = rng.random() < 0.05
        stream = seconds(seed, world)
        begin = first * self._stride_s
        past = list(itertools.islice(stream, begin))
        chunk = list(itertools.islice(stream, self._chunk_s))
        while not quiet_too and all(second.sentence is None for second in chunk):
            past += chunk[: self._stride_s]
            chunk = chunk[self._stride_s :] + list(itertools.islice(stream, self._stride_s))
        sink, window = self._config.text_sink_tokens, self._config.text_window_tokens
        if rng.random() < 0.25:
            sink, window = int(rng.integers(0, 24)), int(rng.integers(60, 160))
        return self._render(rng, seed, past, chunk, sink, window)

    def _render(
        self,
        rng: np.random.Generator,
        seed: int,
        past: Sequence[WorldSecond],
        chunk: Sequence[WorldSecond],
        sink: int,
        window: int,
    ) -> Sample:
        heard = [
            s for s in past if s.sentence and (s.kind in ("new", "back") or rng.random() >= self._forget)
        ]
        previous = [i for second in heard for i in self._sentence(second.sentence or "")]
        if not self._previous_text:
            previous = []
        start, stop = trim(len(previous), Limits(self._chunk_s, sink, window))
        segments = self._protocol.head(self._config, previous[:start] + previous[stop:])
        ids = [i for segment in segments for i in segment.ids]
        weights, tags = [0.0] * len(ids), [NOT_LEARNED] * len(ids)
        closing = self._protocol.take_apart([]).close  # end of turn, newline
        parts: list[Segment] = list(segments)
        for index, second in enumerate(chunk):
            user = self._protocol.user(index, self._config.chunk_s, GRID, VISUAL_TOKENS)
            opened = self._protocol.answer_open(index)
            forgotten = second.sentence is not None and rng.random() < self._forget
            spoken = None if forgotten else second.sentence
            words = self._sentence(spoken) if spoken else []
            opened.ids = [*opened.ids, *words, *self._protocol.silence, *closing]
            turns = [*user, opened]
            said = len(words) + len(closing) + len(self._protocol.silence)
            given = sum(len(segment.ids) for segment in turns) - said
            ids += [i for segment in turns for i in segment.ids]
            # The mark said in place of a forgotten sentence is not what should be learned.
            w, t = (
                ([0.0] * 2, [NOT_LEARNED] * 2) if forgotten else answer_weights(self._weights, second, words)
            )
            newline = len(closing) - 1
            weights += [0.0] * given + w + [0.0] * newline
            tags += [NOT_LEARNED] * given + t + [NOT_LEARNED] * newline
            parts += turns
        positions, _ = place(parts, 0.0, self._place_vision)
        return Sample(ids, weights, tags, positions, seed, chunk)

    def _sentence(self, sentence: str) -> list[int]:
        if sentence not in self._words:
            self._words[sentence] = self._protocol.words(f" {sentence}")
        return self._words[sentence]
