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

"""The same work for everyone: a camera of noise, and words of a fixed number in every chunk."""

from __future__ import annotations

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.frames import Chunk, Frame, NS_PER_S
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.sampling import Sampler
import torch
from torch import Tensor

_PICTURES = 32  # made once; the camera shows them in turn
_WORDS = "say what happens"


class NoiseCamera:
    """Chunks of a camera whose pictures are made before anything is timed."""

    def __init__(self, config: StreamConfig, frame_px: tuple[int, int]) -> None:
        """Make the pictures: uint8 noise of (height, width) `frame_px`."""
        rng = np.random.default_rng(0)
        self._pictures = rng.integers(0, 256, (_PICTURES, *frame_px, 3), dtype=np.uint8)
        self._frames = round(config.chunk_s * config.fps)
        self._fps = config.fps

    def chunk(self, index: int) -> Chunk:
        """Chunk `index`; its cost does not depend on the index."""
        numbers = range(index * self._frames, (index + 1) * self._frames)
        return Chunk(
            index,
            tuple(
                Frame(round(n * NS_PER_S / self._fps), self._pictures[n % _PICTURES], "noise")
                for n in numbers
            ),
        )


class Talker:
    """Chooses the next token: the settings' own sampling is carried out and paid for, then overruled.

    What random weights would say ends anywhere. Said instead are words in a fixed order, never the end of the
    turn, so every chunk says `max_new_tokens` tokens and all policies do the same work.
    """

    def __init__(self, model: StreamModel, config: StreamConfig) -> None:
        """Begin anew."""
        ids = model.tokenizer.encode(_WORDS, add_special_tokens=False)
        self._words = torch.tensor(ids, device=model.device)
        self._sampler = Sampler(config, model.device)
        self._said = 0

    def __call__(self, logits: Tensor, counts: Tensor) -> Tensor:
        """The next word: int64 scalar on the device of the logits. See Sampler for the arguments."""
        self._sampler(logits, counts)
        self._said += 1
        return self._words[self._said % len(self._words)]


def settle(device: torch.device) -> None:
    """Wait until the device has done what was asked of it, so that nothing is charged to what comes next."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def filled(config: StreamConfig, model: StreamModel) -> StreamConfig:
    """Settings of a stream whose text window is full from the first chunk on."""
    tokens = config.text_sink_tokens + config.text_window_tokens
    words = " ".join([_WORDS] * tokens)
    ids = model.tokenizer.encode(words, add_special_tokens=False)[:tokens]
    return config.replace({"previous_text": model.tokenizer.decode(ids)}, "bench")
