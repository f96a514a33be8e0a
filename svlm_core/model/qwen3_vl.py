"""Qwen3-VL: each temporal step of a video is a block of its own; vision is added behind several layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from svlm_core.model.dialect import QWEN3
from svlm_core.model.qwen_vl import QwenVL
from svlm_core.model.vision import Patchifier, VisionInput


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
