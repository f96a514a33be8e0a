"""What the streaming session and the training code ask of a vision-language model, whatever its family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

from svlm_core.model.vision import Grid, VisionInput

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
        eos_token_ids: any of them ends the model's turn.
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
    eos_token_ids: frozenset[int]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, and so of embeddings, keys and values."""
        return self.hf.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.hf.device

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

        Frames do not look at each other beyond their own temporal patch, so several chunks of one size can be
        encoded at once by joining their patches and adding up their t.

        Returns:
            [vision.tokens, hidden_size] in the model's dtype, in reading order: embeddings like any others.
        """

    @abstractmethod
    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings of token ids: int64 [L] -> [L, hidden_size] in the model's dtype (any leading shape)."""

    @abstractmethod
    def hidden(
        self, embeds: Tensor, positions: Tensor, cache: Cache | None = None, attention_mask: Any = None
    ) -> Tensor:
        """Run the decoder and return every position's final hidden state.

        Args:
            embeds: [B, L, hidden_size].
            positions: int or float [3, B, L]: the t, h, w position of each token.
            cache: holds the keys before these and takes theirs; None keeps none.
            attention_mask: None for plain causal attention; [B, keys] with 0 at padding (in training); or
                {"full_attention": bool [B, 1, L, keys]} to give the whole mask and save its construction.

        Returns:
            [B, L, hidden_size] in the model's dtype, after the final norm.
        """

    @abstractmethod
    def head(self, hidden: Tensor) -> Tensor:
        """Logits of hidden states: [..., hidden_size] -> float32 [..., vocab_size]."""

    def forward(
        self, embeds: Tensor, positions: Tensor, cache: Cache | None = None, attention_mask: Any = None
    ) -> Tensor:
        """Run the decoder and return the logits of the last position only: float32 [B, vocab_size].

        A prefill has hundreds of positions and the vocabulary 150 thousand entries: the other logits are
        never made. Arguments are those of `hidden`.
        """
        return self.head(self.hidden(embeds, positions, cache, attention_mask)[:, -1])

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

    @abstractmethod
    def rotate(self, keys: Tensor, positions: Tensor, inverse: bool = False) -> Tensor:
        """Apply the decoder's rotary embedding to keys, or take it off.

        Args:
            keys: [..., L, head_dim].
            positions: int or float [3, L], on the device of the keys.
            inverse: take the rotation at these positions off instead.

        Returns:
            float32 [..., L, head_dim], so that whoever stores it rounds once.
        """
