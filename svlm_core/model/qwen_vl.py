"""Qwen2-VL and Qwen2.5-VL: transformers' own classes, called directly and left as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    Cache,
    PreTrainedTokenizerBase,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLForConditionalGeneration,
)

from svlm_core.errors import ModelError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.vision import Grid, Patchifier, VisionInput

VIDEO_TOKEN = "<|video_pad|>"


class QwenVL(StreamModel):
    """Both families: they differ in the vision tower, which transformers hides, and the time axis's step."""

    def __init__(
        self,
        name: str,
        hf: Qwen2VLForConditionalGeneration | Qwen2_5_VLForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        patchifier: Patchifier,
        stream_defaults: dict[str, Any],
    ) -> None:
        """Wrap a loaded model.

        Args:
            name: what the user asked for, used in messages.
            hf: the model.
            tokenizer: its tokenizer.
            patchifier: how it wants its frames.
            stream_defaults: StreamConfig fields the checkpoint wants set.

        Raises:
            ModelError: the tokenizer is not this model's, or the model attends through a sliding window.
        """
        text = hf.config.get_text_config()
        if "sliding_attention" in text.layer_types:
            raise ModelError(
                f"{name}: some layers attend through a sliding window, which svlm's cache cannot do exactly; "
                "set use_sliding_window to false in config.json if the checkpoint was trained without it"
            )
        self.name = name
        self.hf = hf.eval()
        self.tokenizer = tokenizer
        self.stream_defaults = stream_defaults
        self.layers = text.num_hidden_layers
        self.kv_heads = text.num_key_value_heads
        self.head_dim = text.hidden_size // text.num_attention_heads
        self.hidden_size = text.hidden_size
        self.vocab_size = text.vocab_size
        self.max_positions = text.max_position_embeddings
        self.video_token_id = hf.config.video_token_id
        self.eos_token_ids = _eos_token_ids(hf, tokenizer)
        self._check_tokenizer()
        self._patchifier = patchifier
        self._visual = hf.model.visual
        self._decoder = hf.model.language_model
        # Qwen2-VL counts temporal patches; Qwen2.5-VL, whose config has the rate, counts time.
        self._tokens_per_second: float | None = getattr(hf.config.vision_config, "tokens_per_second", None)

    def target_size(self, height: int, width: int, min_tokens: int, max_tokens: int) -> tuple[int, int]:
        """See StreamModel."""
        return self._patchifier.target_size(height, width, min_tokens, max_tokens)

    def preprocess(self, rgb: np.ndarray, min_tokens: int, max_tokens: int) -> VisionInput:
        """See StreamModel."""
        return self._patchifier(rgb, min_tokens, max_tokens)

    def encode_vision(self, vision: VisionInput) -> Tensor:
        """See StreamModel."""
        patches = vision.patches.to(self.device, self.dtype)
        grid = torch.tensor([vision.grid], device=self.device)
        tokens: Tensor = self._visual(patches, grid_thw=grid).pooler_output
        return tokens

    def embed(self, ids: Tensor) -> Tensor:
        """See StreamModel."""
        embeds: Tensor = self._decoder.embed_tokens(ids)
        return embeds

    def hidden(
        self, embeds: Tensor, positions: Tensor, cache: Cache | None = None, attention_mask: Any = None
    ) -> Tensor:
        """See StreamModel."""
        states: Tensor = self._decoder(
            inputs_embeds=embeds,
            position_ids=positions,
            past_key_values=cache,
            attention_mask=attention_mask,
            use_cache=cache is not None,
        ).last_hidden_state
        return states

    def head(self, hidden: Tensor) -> Tensor:
        """See StreamModel."""
        logits: Tensor = self.hf.lm_head(hidden).float()
        return logits

    def vision_positions(self, grid: Grid, base: float, seconds_per_grid_step: float) -> Tensor:
        """See StreamModel."""
        steps, rows, columns = self._merged(grid)
        times = torch.arange(steps) * self._time_step(seconds_per_grid_step)
        axes = torch.meshgrid(times, torch.arange(rows).float(), torch.arange(columns).float(), indexing="ij")
        return torch.stack(axes).reshape(3, -1) + base

    def vision_extent(self, grid: Grid, seconds_per_grid_step: float) -> float:
        """See StreamModel."""
        steps, rows, columns = self._merged(grid)
        return max((steps - 1) * self._time_step(seconds_per_grid_step), rows - 1, columns - 1) + 1

    def rotate(self, keys: Tensor, positions: Tensor, inverse: bool = False) -> Tensor:
        """See StreamModel."""
        keys = keys.float()
        cos: Tensor
        sin: Tensor
        cos, sin = (axis[0] for axis in self._decoder.rotary_emb(keys, positions[:, None]))
        if inverse:  # some RoPE types also scale, so the transpose alone would not undo it
            scale = self._decoder.rotary_emb.attention_scaling
            cos, sin = cos / scale**2, -sin / scale**2
        first, second = keys.chunk(2, dim=-1)
        return keys * cos + torch.cat((-second, first), dim=-1) * sin

    def _merged(self, grid: Grid) -> Grid:
        merge = self._patchifier.merge
        return grid[0], grid[1] // merge, grid[2] // merge

    def _time_step(self, seconds_per_grid_step: float) -> float:
        return 1.0 if self._tokens_per_second is None else seconds_per_grid_step * self._tokens_per_second

    def _check_tokenizer(self) -> None:
        found = self.tokenizer.convert_tokens_to_ids(VIDEO_TOKEN)
        if found != self.video_token_id:
            raise ModelError(
                f"{self.name}: the tokenizer's {VIDEO_TOKEN} is {found}, config.json's video_token_id is "
                f"{self.video_token_id}; tokenizer and weights are of different checkpoints"
            )
        if len(self.tokenizer) > self.vocab_size:
            raise ModelError(
                f"{self.name}: the tokenizer has {len(self.tokenizer)} tokens, the model only "
                f"{self.vocab_size}; tokenizer and weights are of different checkpoints"
            )


def _eos_token_ids(hf: Any, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    configured = hf.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)
