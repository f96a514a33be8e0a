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

"""Qwen3-VL: each temporal step of a video is a block of its own; vision is added behind several layers."""

from __future__ import annotations

from typing import Any

from svlm_core.model.dialect import QWEN3
from svlm_core.model.qwen_vl import QwenVL
from svlm_core.model.vision import Patchifier, VisionInput
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase


class Qwen3VL(QwenVL):
    """As its predecessors, and DeepStack (arXiv 2406.04334); transformers interleaves the M-RoPE axes."""

    def __init__(
        self,
        name: str,
        hf: Any,
        tokenizer: PreTrainedTokenizerBase,
        patchifier: Patchifier,
        stream_defaults: dict[str, Any],
    ) -> None:
        """Wrap a loaded Qwen3VLForConditionalGeneration; arguments and errors are those of QwenVL."""
        super().__init__(name, hf, tokenizer, patchifier, stream_defaults, QWEN3)
        self.feature_size = self.hidden_size * (1 + len(hf.config.vision_config.deepstack_visual_indexes))

    def encode_vision(self, vision: VisionInput) -> Tensor:
        """See StreamModel: the embeddings, then what DeepStack adds behind layer 0, 1, ..."""
        seen = self._tower(vision.patches.to(self.device, self.dtype), vision.grid)
        return torch.cat([seen.pooler_output, *seen.deepstack_features], dim=-1)  # [tokens, feature_size]

    def _behind_layers(self, visual: Tensor, deep: list[Tensor]) -> dict[str, Any]:
        return {"visual_pos_masks": visual, "deepstack_visual_embeds": deep}
