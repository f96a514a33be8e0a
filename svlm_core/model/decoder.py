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

"""The decoder of a vision-language model, run over a packed batch of cached streams.

transformers' own layers hold the weights; what is computed with them is written out here, because at one
token a step calls between the matrix products cost more than the products: layers of one input are one
product, rotary angles and masks are made once a pass, keys are written where they stay, grouped queries share
a key head's cache instead of copies of it. Streams of any length stand one behind the other in one row,
without padding, so a prefill and the decode steps of other cameras are one pass (Orca, OSDI 2022: selective
batching). Training runs transformers' own forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
import math
from typing import Any, NamedTuple, Protocol

from svlm_core.model.attention import Attention
from svlm_core.model.product import Joined
from svlm_core.model.rope import Rope, turn
import torch
from torch import Tensor
from torch.nn import functional

# (layer, q [T, heads, head_dim], keys and values [T, 2, kv_heads, head_dim]) -> [T, heads * head_dim]
Mix = Callable[[int, Tensor, Tensor], Tensor]


class KVStore(Protocol):
    """What the decoder needs of a stream's cache; `svlm_core.cache.arena.KVArena` is one.

    Attributes:
        kv: rotated keys, and values, [2, layers, kv_heads, capacity, head_dim]; live ones fill the slots
            [0, length).
        length: live tokens.
    """

    kv: Tensor
    length: int


@dataclass(frozen=True)
class Visual:
    """Visual tokens of a piece.

    Attributes:
        start: offset of the first one in the piece.
        features: [tokens, (1 + extra layers) x hidden]: embeddings, then what is added behind the first
            layers (Qwen3-VL's DeepStack, arXiv 2406.04334), layer by layer.
    """

    start: int
    features: Tensor


@dataclass(frozen=True)
class Piece:
    """One stream's part of a forward pass.

    Attributes:
        ids: int64 [L], on the model's device.
        positions: float32 [3, L], on the model's device: t, h, w of each token.
        store: the stream's cache: keys before these are read, keys of these written behind them.
        visual: where visual tokens stand among the L.
    """

    ids: Tensor
    positions: Tensor
    store: KVStore
    visual: tuple[Visual, ...] = ()


class Norm:
    """RMSNorm (arXiv 1910.07467)."""

    def __init__(self, module: Any) -> None:
        """Use the weight of one of transformers' norms."""
        self._weight: Tensor = module.weight.data  # [width]
        self._eps: float = module.variance_epsilon
        self._root_eps = self._weight.new_tensor([math.sqrt(self._eps)])
        self._to_rms = len(self._weight) ** -0.5
        self._fused = self._weight.dtype != torch.float32 or self._weight.is_cuda

    def __call__(self, x: Tensor) -> Tensor:
        """[..., width] -> the same shape."""
        if self._fused:
            return torch.rms_norm(x, self._weight.shape, self._weight, self._eps)
        # torch makes ten small steps of it on a CPU; sqrt(rms^2 + eps) is hypot(rms, sqrt(eps))
        rms = torch.linalg.vector_norm(x, 2, -1, True).mul_(self._to_rms)
        return (x / rms.hypot_(self._root_eps)).mul_(self._weight)


class Layer(NamedTuple):
    """What one layer computes with.

    Attributes:
        norm: before attention.
        qkv: queries, keys and values: hidden -> (heads + 2 kv_heads) * head_dim.
        head_norms: of each query and each key, where the family has them (Qwen3).
        out: heads * head_dim -> hidden.
        mlp_norm: before the MLP.
        gate_up: hidden -> 2 * MLP width.
        down: MLP width -> hidden.
    """

    norm: Norm
    qkv: Joined
    head_norms: tuple[Norm, Norm] | None
    out: Joined
    mlp_norm: Norm
    gate_up: Joined
    down: Joined

    @classmethod
    def of(cls, module: Any) -> Layer:
        """That of one of transformers' layers."""
        attention, mlp = module.self_attn, module.mlp
        with_norms = hasattr(attention, "q_norm")
        return cls(
            norm=Norm(module.input_layernorm),
            qkv=Joined(attention.q_proj, attention.k_proj, attention.v_proj),
            head_norms=(Norm(attention.q_norm), Norm(attention.k_norm)) if with_norms else None,
            out=Joined(attention.o_proj),
            mlp_norm=Norm(module.post_attention_layernorm),
            gate_up=Joined(mlp.gate_proj, mlp.up_proj),
            down=Joined(mlp.down_proj),
        )


class Decoder:
    """Layers of the Llama kind: RMSNorm, rotary grouped-query attention, gated MLP.

    Attributes:
        blocks: transformers' layers, which hold the weights.
        attention: how it attends.
        scale: factor of the attention scores.
    """

    def __init__(self, text_model: Any, rope: Rope, attention: Attention) -> None:
        """Use a transformers text model's weights.

        Args:
            text_model: has embed_tokens, layers and norm, as Qwen2-VL's, Qwen3-VL's and Llama's do.
            rope: its rotary positions.
            attention: how to attend.
        """
        self.blocks, self._text_model = text_model.layers, text_model
        self._rope, self.attention = rope, attention
        first = text_model.layers[0].self_attn
        self._head_dim: int = first.head_dim
        self._heads = text_model.config.num_attention_heads
        self._kv_heads = text_model.config.num_key_value_heads
        self.scale: float = first.scaling
        self._layers: list[Layer] = []

    @property
    def layers(self) -> list[Layer]:
        """The layers to compute with; joined at the first pass, and again when the model was moved since."""
        if not self._layers or not self._layers[0].qkv.current:
            self._layers = [Layer.of(block) for block in self.blocks]
            self._norm = Norm(self._text_model.norm)
        return self._layers

    def __call__(self, pieces: Sequence[Piece], least_rows: int = 1) -> Tensor:
        """Run a packed batch; the streams' stores are written behind `length`, which stays as it was.

        Args:
            pieces: one of each stream, none twice.
            least_rows: pad the matrix products to a multiple of this many rows. The kernel a BLAS chooses,
                and so the rounding, depends on the number of rows: padded, a stream's numbers do not depend
                on who else is in the batch.

        Returns:
            [pieces, hidden]: the hidden state of each piece's last token, after the final norm.
        """
        lengths = [len(piece.ids) for piece in pieces]
        total = sum(lengths)
        spans = [(sum(lengths[:i]), sum(lengths[: i + 1])) for i in range(len(lengths))]
        padding = -total % least_rows
        ids = _join([piece.ids for piece in pieces], padding, 0)
        x = functional.embedding(ids, self._text_model.embed_tokens.weight)  # [T, hidden]
        extra = self._place(x, pieces, spans)
        cos, sin = self.angles(_join([piece.positions for piece in pieces], padding, 1))
        groups = self._heads // self._kv_heads
        views = [
            _View(
                piece.store,
                len(piece.ids),
                self.attention.mask(len(piece.ids), piece.store.length, groups, x),
            )
            for piece in pieces
        ]
        x = self.run(x, cos, sin, partial(self._mix, views, spans), extra)
        last = x[[stop - 1 for _, stop in spans]] if total > 1 else x[:1]
        return self.norm(last)

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """What `run` turns queries and keys with.

        Args:
            positions: float32 [3, T].

        Returns:
            cos and sin as Rope gives them, [T, 1, head_dim] in the dtype of the weights.
        """
        dtype = self._text_model.embed_tokens.weight.dtype
        cos, sin = self._rope(positions)
        return cos.to(dtype)[:, None], sin.to(dtype)[:, None]

    def run(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        mix: Mix,
        extra: Sequence[tuple[int, Tensor]] = (),
    ) -> Tensor:
        """Run all layers, whoever keeps the keys.

        Args:
            x: embeddings [T, hidden].
            cos: see `angles`.
            sin: see `angles`.
            mix: keeps keys and values, and attends.
            extra: (row, features [layers, tokens, hidden]) to add behind the first layers from that row on.

        Returns:
            [T, hidden], before the final norm.
        """
        rows, turning = len(x), self._heads + self._kv_heads
        for index, layer in enumerate(self.layers):
            qkv = layer.qkv(layer.norm(x)).view(rows, -1, self._head_dim)  # [T, heads + 2 kv_heads, head_dim]
            if layer.head_norms:
                q, k, v = qkv.split((self._heads, self._kv_heads, self._kv_heads), 1)
                qkv = torch.cat([layer.head_norms[0](q), layer.head_norms[1](k), v], 1)
            turn(qk := qkv[:, :turning], cos, sin, out=qk)
            q, kv = qkv.split_with_sizes((self._heads, 2 * self._kv_heads), 1)
            x = layer.out(mix(index, q, kv.view(rows, 2, self._kv_heads, self._head_dim)), x)
            gate, up = layer.gate_up(layer.mlp_norm(x)).chunk(2, -1)  # [T, MLP width] each
            x = layer.down(functional.silu(gate).mul_(up), x)
            for start, features in extra:
                if index < len(features):
                    x[start : start + features.shape[1]] += features[index]
        return x

    def norm(self, x: Tensor) -> Tensor:
        """The final norm, behind `run`: [..., hidden]."""
        return self._norm(x)

    def _mix(
        self, views: Sequence[_View], spans: Sequence[tuple[int, int]], index: int, q: Tensor, kv: Tensor
    ) -> Tensor:
        """Mix of a packed batch, piece by piece."""
        rows = [(q, kv)]
        if len(views) > 1 or spans[-1][1] < len(q):
            rows = [(q[start:stop], kv[start:stop]) for start, stop in spans]
        mixed = []
        for view, (queries, new) in zip(views, rows, strict=True):
            view.new[index].copy_(new.permute(1, 2, 0, 3))  # [2, kv_heads, L, head_dim]
            seen = self.attention.attend(queries, view.keys[index], view.values[index], view.mask, self.scale)
            mixed.append(seen.flatten(1))
        if spans[-1][1] < len(q):
            mixed.append(mixed[0].new_zeros(len(q) - spans[-1][1], mixed[0].shape[1]))
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    @staticmethod
    def _place(
        x: Tensor, pieces: Sequence[Piece], spans: Sequence[tuple[int, int]]
    ) -> list[tuple[int, Tensor]]:
        """Put visual tokens into x [T, hidden]; returns (row, [layers, tokens, hidden]) for the rest."""
        extra: list[tuple[int, Tensor]] = []
        for piece, (start, _) in zip(pieces, spans, strict=True):
            for visual in piece.visual:
                row, tokens = start + visual.start, len(visual.features)
                layered = visual.features.view(tokens, -1, x.shape[1])  # [tokens, 1 + extra layers, hidden]
                x[row : row + tokens] = layered[:, 0]
                if layered.shape[1] > 1:
                    extra.append((row, layered[:, 1:].transpose(0, 1)))
        return extra


class _View:
    """What one pass reads and writes of a stream's cache, layer by layer.

    Attributes:
        new: where the new keys and values go, [2, kv_heads, L, head_dim] each.
        keys: old and new, [1, kv_heads, n, head_dim] each.
        values: the same.
        mask: see Attention.mask.
    """

    def __init__(self, store: KVStore, tokens: int, mask: Tensor | None) -> None:
        """Look at a store in which `tokens` will be written behind the live ones."""
        end = store.length + tokens
        self.new = store.kv[:, :, :, store.length : end].unbind(1)
        keys, values = store.kv[:, :, None, :, :end].unbind(0)
        self.keys, self.values, self.mask = keys.unbind(0), values.unbind(0), mask


def _join(parts: list[Tensor], padding: int, dim: int) -> Tensor:
    """The parts one behind the other, `padding` zeros at the end."""
    if padding:
        shape = (*parts[0].shape[:dim], padding)
        parts = [*parts, parts[0].new_zeros(shape)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
