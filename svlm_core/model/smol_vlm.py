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

"""SmolVLM2: a small SigLIP tower, pixel shuffle, and a Llama decoder with plain one-dimensional positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from svlm_core.errors import ConfigError, ModelError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.dialect import SMOL
from svlm_core.model.squarer import Squarer
from svlm_core.model.vision import Grid, VisionInput
import torch
from torch import Tensor
from transformers import Cache, PreTrainedTokenizerBase


class SmolVLM(StreamModel):
    """Every frame is one picture of a fixed number of visual tokens, which stand in a row like words."""

    frames_per_step = 1

    def __init__(
        self,
        name: str,
        hf: Any,
        tokenizer: PreTrainedTokenizerBase,
        squarer: Squarer,
        stream_defaults: dict[str, Any],
    ) -> None:
        """Wrap a loaded model.

        Args:
            name: what the user asked for, used in messages.
            hf: the model, transformers' SmolVLMForConditionalGeneration.
            tokenizer: its tokenizer.
            squarer: how it wants its frames.
            stream_defaults: StreamConfig fields the checkpoint wants set.

        Raises:
            ModelError: the tokenizer is not this model's.
        """
        super().__init__(name, hf, hf.model.text_model, tokenizer, SMOL, stream_defaults)
        if self.video_token_id != hf.config.image_token_id:
            raise ModelError(
                f"{name}: the tokenizer's {SMOL.visual_token} is {self.video_token_id}, config.json's "
                f"image_token_id is {hf.config.image_token_id}; tokenizer and weights are of different "
                "checkpoints"
            )
        self._squarer = squarer
        self._tower, self._connector = hf.model.vision_model, hf.model.connector

    def target_size(self, height: int, width: int, min_tokens: int, max_tokens: int) -> tuple[int, int]:
        """See StreamModel: a square of one size, whatever the frame; min_tokens gives way.

        Raises:
            ConfigError: a frame costs more than max_tokens.
        """
        if self._squarer.tokens > max_tokens:
            raise ConfigError(
                f"max_visual_tokens is {max_tokens}, but {self.name} makes {self._squarer.tokens} visual "
                f"tokens of every frame: set max_visual_tokens to at least {self._squarer.tokens}"
            )
        return self._squarer.side, self._squarer.side

    def preprocess(self, rgb: np.ndarray, min_tokens: int, max_tokens: int) -> VisionInput:
        """See StreamModel; raises as `target_size` does."""
        self.target_size(rgb.shape[1], rgb.shape[2], min_tokens, max_tokens)
        return self._squarer(rgb)

    def encode_vision(self, vision: VisionInput) -> Tensor:
        """See StreamModel."""
        pictures = vision.patches.to(self.device, self.dtype)
        # get_image_features would take a picture of zeros for padding and leave it out
        tokens: Tensor = self._connector(
            self._tower(pictures).last_hidden_state
        )  # [t, tokens of one, hidden]
        return tokens.flatten(0, 1)

    def hidden(
        self,
        embeds: Tensor,
        positions: Tensor,
        cache: Cache | None = None,
        attention_mask: Any = None,
        **behind_layers: Any,
    ) -> Tensor:
        """See StreamModel; the three axes are one, and so is the place in a packed sequence."""
        return super().hidden(embeds, positions[0], cache, attention_mask, **behind_layers)

    def vision_positions(self, grid: Grid, base: float, seconds_per_grid_step: float) -> Tensor:
        """See StreamModel."""
        return (torch.arange(self._tokens(grid), dtype=torch.float32) + base).expand(3, -1)

    def vision_extent(self, grid: Grid, seconds_per_grid_step: float) -> float:
        """See StreamModel."""
        return self._tokens(grid)

    def _tokens(self, grid: Grid) -> int:
        return grid[0] * grid[1] * grid[2] // self._squarer.merge**2
