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

"""What the streaming session and the training code ask of a vision-language model, whatever its family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from svlm_core.errors import ModelError
from svlm_core.model.attention import choose_attention
from svlm_core.model.decoder import Decoder
from svlm_core.model.dialect import Dialect
from svlm_core.model.product import product
from svlm_core.model.rope import Rope
from svlm_core.model.vision import Grid, VisionInput
import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["StreamModel", "VisionInput"]


class StreamModel(ABC):
    """One loaded checkpoint: transformers' own model behind the few operations that streaming needs.

    Nothing here opens or closes autograd: the session runs under `torch.inference_mode()`, training does not.

    Attributes:
        name: what the user asked for: "tiny", a folder or a hub id.
        hf: transformers' own model, in eval mode.
        tokenizer: the checkpoint's tokenizer.
        stream_defaults: the checkpoint's `stream.yaml`: StreamConfig fields it wants set, or {}.
        layers: decoder layers.
        kv_heads: key/value heads of each layer.
        head_dim: width of one key.
        hidden_size: width of an embedding.
        vocab_size: width of the logits.
        max_positions: positions the model was trained for.
        video_token_id: the placeholder that stands for one visual token.
        frames_per_step: frames in one temporal step of the vision tower.
        feature_size: width of one visual token of `encode_vision`: hidden_size, or a multiple of it where the
            family adds vision behind several layers.
        eos_token_ids: any of them ends the model's turn.
        dialect: the special tokens of the family's turns and pictures.
        rope: the decoder's rotary positions.
        decoder: the language model over packed, cached streams.
    """

    name: str
    hf: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stream_defaults: dict[str, Any]
    layers: int
    kv_heads: int
    head_dim: int
    hidden_size: int
    vocab_size: int
    max_positions: int
    video_token_id: int
    frames_per_step: int
    feature_size: int
    eos_token_ids: frozenset[int]
    dialect: Dialect
    rope: Rope
    decoder: Decoder

    def __init__(
        self,
        name: str,
        hf: PreTrainedModel,
        text_model: Any,
        tokenizer: PreTrainedTokenizerBase,
        dialect: Dialect,
        stream_defaults: dict[str, Any],
    ) -> None:
        """Set what all families share.

        Args:
            name: what the user asked for, used in messages.
            hf: the whole model, with its lm_head.
            text_model: its language model: embed_tokens, layers, norm, rotary_emb.
            tokenizer: its tokenizer.
            dialect: the family's special tokens.
            stream_defaults: StreamConfig fields the checkpoint wants set.

        Raises:
            ModelError: the tokenizer is not this model's.
        """
        text = text_model.config
        self.name, self.hf, self.tokenizer = name, hf.eval(), tokenizer
        self.dialect, self.stream_defaults = dialect, stream_defaults
        self.layers = text.num_hidden_layers
        self.kv_heads = text.num_key_value_heads
        self.head_dim = text_model.layers[0].self_attn.head_dim
        self.hidden_size = self.feature_size = text.hidden_size
        self.vocab_size = text.vocab_size
        self.max_positions = text.max_position_embeddings
        self.video_token_id = tokenizer.get_vocab().get(dialect.visual_token, -1)
        self.eos_token_ids = _eos_token_ids(hf, tokenizer)
        self._text_model, self._lm_head = text_model, hf.get_output_embeddings()
        self.rope = Rope(text_model.rotary_emb)
        self.decoder = Decoder(text_model, self.rope, choose_attention(self.device, self.dtype))
        if len(tokenizer) > self.vocab_size:
            raise ModelError(
                f"{name}: the tokenizer has {len(tokenizer)} tokens, the model only {self.vocab_size}; "
                "tokenizer and weights are of different checkpoints"
            )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, and so of embeddings, keys and values."""
        return self._text_model.embed_tokens.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._text_model.embed_tokens.weight.device

    @abstractmethod
    def target_size(self, height: int, width: int, min_tokens: int, max_tokens: int) -> tuple[int, int]:
        """The (height, width) in pixels that `preprocess` scales a frame to.

        Raises:
            SourceError: the frame is too elongated for the family.
        """

    @abstractmethod
    def preprocess(self, rgb: np.ndarray, min_tokens: int, max_tokens: int) -> VisionInput:
        """Make frames ready for the vision tower, on the CPU.

        Args:
            rgb: uint8 [T, H, W, 3], oldest frame first.
            min_tokens: fewest visual tokens of one temporal patch.
            max_tokens: most visual tokens of one temporal patch.

        Raises:
            SourceError: the frames are too elongated for the family.
        """

    @abstractmethod
    def encode_vision(self, vision: VisionInput) -> Tensor:
        """Run the vision tower.

        Frames do not look at each other beyond their own temporal patch, so several chunks of one size are
        encoded at once by joining their patches and adding up their t (VisionInput.join).

        Returns:
            [vision.tokens, feature_size] in the model's dtype, in reading order: embeddings like any others,
            then what the family adds behind its first layers.
        """

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings of token ids: int64 [L] -> [L, hidden_size] in the model's dtype (any leading shape)."""
        embeds: Tensor = self._text_model.embed_tokens(ids)
        return embeds

    def understand(self, ids: Tensor, features: Tensor | None, positions: Tensor) -> Tensor:
        """Run transformers' own decoder over whole sequences, for training.

        Args:
            ids: int64 [B, L].
            features: what encode_vision gave for the visual tokens among them, in order; None without any.
            positions: float [3, B, L], or [4, B, L] with the places in packed sequences first.

        Returns:
            As `hidden`.
        """
        embeds = self.embed(ids)  # [B, L, hidden]
        if features is None:
            return self.hidden(embeds, positions)
        visual = ids == self.video_token_id  # [B, L]
        first, *deep = features.split(self.hidden_size, dim=-1)
        embeds = embeds.masked_scatter(visual[..., None].expand_as(embeds), first.to(embeds.dtype))
        return self.hidden(embeds, positions, **self._behind_layers(visual, deep))

    def _behind_layers(self, visual: Tensor, deep: list[Tensor]) -> dict[str, Any]:
        """The decoder's arguments for what is added behind its first layers; most families have none."""
        return {}

    def hidden(
        self,
        embeds: Tensor,
        positions: Tensor,
        cache: Cache | None = None,
        attention_mask: Any = None,
        **behind_layers: Any,
    ) -> Tensor:
        """Run transformers' own decoder, for training: every position's final hidden state.

        Streaming runs `decoder`.

        Args:
            embeds: [B, L, hidden_size].
            positions: int or float [3, B, L]: the t, h, w position of each token; [4, B, L] as `understand`.
            cache: holds the keys before these and takes theirs; None keeps none.
            attention_mask: None for plain causal attention; [B, keys] with 0 at padding; or the whole mask,
                bool [B, 1, L, keys].
            **behind_layers: see `understand`.

        Returns:
            [B, L, hidden_size] in the model's dtype, after the final norm.
        """
        states: Tensor = self._text_model(
            inputs_embeds=embeds,
            position_ids=positions,
            past_key_values=cache,
            attention_mask=attention_mask,
            use_cache=cache is not None,
            **behind_layers,
        ).last_hidden_state
        return states

    def head(self, hidden: Tensor) -> Tensor:
        """Logits of hidden states: [..., hidden_size] -> float32 [..., vocab_size]."""
        lm_head = self._lm_head
        if lm_head.bias is not None or hidden.ndim != 2:
            logits: Tensor = lm_head(hidden)
        else:
            logits = product(hidden, lm_head.weight)
        return logits.float()

    @abstractmethod
    def vision_positions(self, grid: Grid, base: float, seconds_per_grid_step: float) -> Tensor:
        """Positions of the visual tokens of one block.

        Args:
            grid: (t, h, w) in patches, before merging.
            base: the position at which the block begins.
            seconds_per_grid_step: time between two temporal patches.

        Returns:
            float32 [3, tokens] on the CPU.
        """

    @abstractmethod
    def vision_extent(self, grid: Grid, seconds_per_grid_step: float) -> float:
        """How far a visual block advances positions: text behind one at `base` goes on at base + extent."""

    def rotate(self, keys: Tensor, positions: Tensor, inverse: bool = False) -> Tensor:
        """Apply the decoder's rotary embedding to keys, or take it off; see Rope.rotate."""
        return self.rope.rotate(keys, positions, inverse)


def _eos_token_ids(hf: Any, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    configured = hf.generation_config.eos_token_id
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)
