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

"""Learning to read the cache as it really is: answers learned on top of a running stream's keys and values.

A training chunk under full attention is not quite a stream: there, old text stands in the previous text
from the beginning, while a streaming cache holds keys that were computed when the words were said, in sight
of frames that have left since. A rehearsal closes the gap. A session streams a world with the true answers
forced on it; now and then its cache is taken as it stands, as a constant, and the answer is learned on top
of it. Gradients reach what the answer's own tokens compute: how the cache is read, not how it came about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.frames import Chunk, Frame, NS_PER_S
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.protocol import Protocol
from svlm_core.stream.runner import Answer, drive, Forward, Runner, Work
from svlm_core.stream.session import StreamSession
from svlm_core.training.recipe import Weights
from svlm_core.training.samples import answer_weights
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds, WORLD_FPS, WorldConfig
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

_WARM_UP_S = 120  # until old text fills its window
_TAKEN = {"back": 1.0, "new": 0.4, "stops": 0.15, "goes": 0.15, "gone": 0.15, "silence": 0.04}


@dataclass(frozen=True)
class Moment:
    """A stream's cache right before an answer, and the answer.

    Attributes:
        keys: rotated keys [layers, kv_heads, n, head_dim] of everything but the last token of the prompt.
        values: the same shape.
        ids: that last token, then the answer [1 + L].
        position: where the last token of the prompt stands.
        weights: loss weight of each token of the answer [L].
        tags: kind of each token of the answer [L].
    """

    keys: Tensor
    values: Tensor
    ids: Tensor
    position: float
    weights: Tensor
    tags: Tensor


class Rehearsal:
    """Streams one world and takes moments of it."""

    def __init__(
        self, model: StreamModel, config: StreamConfig, world: WorldConfig, weights: Weights, seed: int
    ) -> None:
        """Prepare to stream the world `seed` with the model as it is now."""
        self._protocol = Protocol.from_config(config, model.tokenizer, model.dialect)
        self._session = StreamSession(model, config, self._choose)
        self._runner = Runner(model)
        self._world, self._weights, self._seed = world, weights, seed
        self._answer: list[int] = []
        self._taken: tuple[Tensor, Tensor, int, float] | None = None
        self._take = False

    def moments(self, rng: np.random.Generator, count: int) -> list[Moment]:
        """Stream until `count` moments are taken."""
        renderer = Renderer(self._seed)
        moments: list[Moment] = []
        for second in seconds(self._seed, self._world):
            self._answer = answer = self._protocol.answer(second.sentence)
            self._take = second.index >= _WARM_UP_S and rng.random() < _TAKEN[second.kind]
            stamps = (second.index * NS_PER_S + k * NS_PER_S // WORLD_FPS for k in range(WORLD_FPS))
            frames = (Frame(ns, rgb) for ns, rgb in zip(stamps, renderer.frames(second), strict=True))
            drive(self._session.steps(Chunk(second.index, tuple(frames))), self._run)
            if self._taken is None:
                continue
            keys, values, opening, position = self._taken
            self._taken = None
            words = answer[: len(answer) - len(self._protocol.silence) - 1]
            weights, tags = answer_weights(self._weights, second, words)
            ids = torch.tensor([opening, *answer])
            moments.append(Moment(keys, values, ids, position, torch.tensor(weights), torch.tensor(tags)))
            if len(moments) == count:
                break
        return moments

    def _run(self, works: Sequence[Work]) -> list[Answer]:
        """Do what the session asks; after its prefill, take the cache if this second was chosen."""
        answers = self._runner.run(works)
        (work,) = works
        if self._take and isinstance(work, Forward) and work.choose is not None:
            self._take = False
            piece = work.piece
            before = piece.store.length + len(piece.ids) - 1  # tokens before the prompt's last one
            keys, values = piece.store.kv[:, :, :, :before].clone()
            self._taken = keys, values, int(piece.ids[-1]), float(piece.positions[0, -1])
        return answers

    def _choose(self, logits: Tensor, counts: Tensor) -> int:
        """Say the truth."""
        token, *self._answer = self._answer
        return token


def collate_moments(moments: list[Moment], padding: int) -> dict[str, Tensor]:
    """Moments as one batch.

    Returns:
        input_ids int64 [B, 1 + L]; positions float32 [3, B, 1 + L]; weights float32 and tags int64 [B, 1 + L]
        of each token as a target; past_keys and past_values [layers, B, kv_heads, N, head_dim]; past_tokens
        int64 [B], how many of the N are there.
    """

    def past(tensors: list[Tensor]) -> Tensor:
        rows = [tensor.permute(2, 0, 1, 3) for tensor in tensors]  # [n, layers, kv_heads, head_dim]
        return pad_sequence(rows, batch_first=True).permute(2, 0, 3, 1, 4).contiguous()

    def row(tensors: list[Tensor], value: float) -> Tensor:
        return pad_sequence(tensors, batch_first=True, padding_value=value)

    ids = row([moment.ids for moment in moments], padding)
    start = torch.tensor([moment.position for moment in moments])[:, None]
    positions = start + torch.arange(ids.shape[1])  # [B, 1 + L]
    opening_weight, opening_tag = torch.zeros(1), torch.zeros(1, dtype=torch.long)
    return {
        "input_ids": ids,
        "positions": positions.expand(3, -1, -1).contiguous(),
        "weights": row([torch.cat([opening_weight, moment.weights]) for moment in moments], 0.0),
        "tags": row([torch.cat([opening_tag, moment.tags]) for moment in moments], 0),
        "past_keys": past([moment.keys for moment in moments]),
        "past_values": past([moment.values for moment in moments]),
        "past_tokens": torch.tensor([moment.keys.shape[2] for moment in moments]),
    }


def past_cache(keys: Tensor, values: Tensor, past_tokens: Tensor, length: int) -> tuple[DynamicCache, Tensor]:
    """A transformers cache of the constant past, and the attention mask for `length` tokens behind it.

    Args:
        keys: [layers, B, kv_heads, N, head_dim].
        values: the same shape.
        past_tokens: int64 [B].
        length: new tokens of each row.

    Returns:
        The cache, and bool [B, 1, length, N + length].
    """
    cache = DynamicCache()
    for layer in range(len(keys)):
        cache.update(keys[layer], values[layer], layer)
    there = torch.arange(keys.shape[3], device=keys.device) < past_tokens[:, None]  # [B, N]
    causal = torch.ones(length, length, dtype=torch.bool, device=keys.device).tril()
    rows = len(past_tokens)
    mask = torch.cat([there[:, None].expand(rows, length, -1), causal.expand(rows, length, length)], dim=-1)
    return cache, mask[:, None]
