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

"""Qwen2-VL and Qwen2.5-VL: transformers' own classes, called directly."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from svlm_core.errors import ModelError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.dialect import Dialect, QWEN
from svlm_core.model.tower import GRIDS, QwenTower
from svlm_core.model.vision import Grid, Patchifier, VisionInput
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase


class QwenVL(StreamModel):
    """Both families: they differ in the vision tower, which transformers hides, and the time axis's step."""

    def __init__(
        self,
        name: str,
        hf: Any,
        tokenizer: PreTrainedTokenizerBase,
        patchifier: Patchifier,
        stream_defaults: dict[str, Any],
        dialect: Dialect = QWEN,
    ) -> None:
        """Wrap a loaded model.

        Args:
            name: what the user asked for, used in messages.
            hf: the model, transformers' ...ForConditionalGeneration.
            tokenizer: its tokenizer.
            patchifier: how it wants its frames.
            stream_defaults: StreamConfig fields the checkpoint wants set.
            dialect: the family's special tokens.

        Raises:
            ModelError: the tokenizer is not this model's.
        """
        super().__init__(name, hf, hf.model.language_model, tokenizer, dialect, stream_defaults)
        if self.video_token_id != hf.config.video_token_id:
            raise ModelError(
                f"{name}: the tokenizer's {dialect.visual_token} is {self.video_token_id}, config.json's "
                f"video_token_id is {hf.config.video_token_id}; tokenizer and weights are of different "
                "checkpoints"
            )
        self._patchifier = patchifier
        self.frames_per_step = patchifier.temporal_patch
        self._tower = QwenTower(hf.model.visual)
        self._block = lru_cache(GRIDS)(self._block_at_zero)
        # Qwen2.5-VL, whose config has the rate, counts time; the others count temporal patches.
        self._tokens_per_second: float | None = getattr(hf.config.vision_config, "tokens_per_second", None)

    def target_size(self, height: int, width: int, min_tokens: int, max_tokens: int) -> tuple[int, int]:
        """See StreamModel."""
        return self._patchifier.target_size(height, width, min_tokens, max_tokens)

    def preprocess(self, rgb: np.ndarray, min_tokens: int, max_tokens: int) -> VisionInput:
        """See StreamModel."""
        return self._patchifier(rgb, min_tokens, max_tokens)

    def encode_vision(self, vision: VisionInput) -> Tensor:
        """See StreamModel."""
        tokens: Tensor = self._tower(vision.patches.to(self.device, self.dtype), vision.grid).pooler_output
        return tokens

    def vision_positions(self, grid: Grid, base: float, seconds_per_grid_step: float) -> Tensor:
        """See StreamModel."""
        return self._block(grid, seconds_per_grid_step) + base

    def vision_extent(self, grid: Grid, seconds_per_grid_step: float) -> float:
        """See StreamModel."""
        steps, rows, columns = self._merged(grid)
        return max((steps - 1) * self._time_step(seconds_per_grid_step), rows - 1, columns - 1) + 1

    def _block_at_zero(self, grid: Grid, seconds_per_grid_step: float) -> Tensor:
        """Positions of a block that begins at position 0, float32 [3, tokens]."""
        steps, rows, columns = self._merged(grid)
        times = torch.arange(steps) * self._time_step(seconds_per_grid_step)
        axes = torch.meshgrid(times, torch.arange(rows).float(), torch.arange(columns).float(), indexing="ij")
        return torch.stack(axes).reshape(3, -1)

    def _merged(self, grid: Grid) -> Grid:
        merge = self._patchifier.merge
        return grid[0], grid[1] // merge, grid[2] // merge

    def _time_step(self, seconds_per_grid_step: float) -> float:
        return 1.0 if self._tokens_per_second is None else seconds_per_grid_step * self._tokens_per_second
