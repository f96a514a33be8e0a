"""The decoder of a vision-language model, run over a packed batch of cached streams.

transformers' own layers hold the weights and do the matrix products; what is between them is done here,
because at one token a step it costs more than the products: one set of rotary angles, fused norms, keys
written where they stay, grouped queries that share a key head's cache instead of copies of it. Streams of
any length stand one behind the other in one row, without padding, so a prefill and the decode steps of other
cameras are one pass (Orca, OSDI 2022: selective batching). Training runs transformers' own forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from svlm_core.model.attention import Attend, causal_mask
from svlm_core.model.product import product

# (layer, q [T, heads, head_dim], k [T, kv_heads, head_dim], v like k) -> [T, heads * head_dim]
Mix = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class KVStore(Protocol):
    """What the decoder needs of a stream's cache; `svlm_core.cache.arena.KVArena` is one.

    Attributes:
        keys: rotated keys [layers, kv_heads, capacity, head_dim]; live ones fill the slots [0, length).
        values: the same shape.
        length: live tokens.
    """

    keys: Tensor
    values: Tensor
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


class Decoder:
    """Layers of the Llama kind: RMSNorm, rotary grouped-query attention, gated MLP.

    Attributes:
        blocks: transformers' layers, which hold the weights.
        scale: factor of the attention scores.
    """

    def __init__(self, text_model: Any, rope: Any, attend: Attend) -> None:
        """Use a transformers text model's weights.

        Args:
            text_model: has embed_tokens, layers and norm, as Qwen2-VL's, Qwen3-VL's and Llama's do.
            rope: positions float32 [3, T] -> (cos, sin), each float32 [T, head_dim].
            attend: the attention kernel.
        """
        self._embed, self.blocks, self._norm = text_model.embed_tokens, text_model.layers, text_model.norm
        self._rope, self._attend = rope, attend
        first = text_model.layers[0].self_attn
        self._head_dim: int = first.head_dim
        self.scale: float = first.scaling
        self._query_norm = hasattr(first, "q_norm")  # Qwen3 normalises queries and keys

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
        x = self._embed(_join([piece.ids for piece in pieces], padding, 0))  # [T, hidden]
        extra = self._place(x, pieces, spans)
        positions = _join([piece.positions for piece in pieces], padding, 1)  # [3, T]
        cos, sin = (axis.to(x.dtype)[:, None] for axis in self._rope(positions))  # [T, 1, head_dim]
        masks = [causal_mask(len(piece.ids), piece.store.length, x.device) for piece in pieces]
        x = self.layers(x, cos, sin, partial(self._mix, pieces, spans, masks), extra)
        last = x[[stop - 1 for _, stop in spans]] if len(spans) > 1 or total > 1 else x[:1]
        return self.norm(last)

    def layers(
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
            cos: [T, 1, head_dim] in the dtype of x; `sin` alike.
            sin: see cos.
            mix: keeps keys and values, and attends.
            extra: (row, features [layers, tokens, hidden]) to add behind the first layers from that row on.

        Returns:
            [T, hidden], before the final norm.
        """
        for index, layer in enumerate(self.blocks):
            attention, rows = layer.self_attn, len(x)
            h = _rms_norm(x, layer.input_layernorm)
            q = product(attention.q_proj, h).view(rows, -1, self._head_dim)  # [T, heads, head_dim]
            k = product(attention.k_proj, h).view(rows, -1, self._head_dim)  # [T, kv_heads, head_dim]
            v = product(attention.v_proj, h).view(rows, -1, self._head_dim)
            if self._query_norm:
                q, k = _rms_norm(q, attention.q_norm), _rms_norm(k, attention.k_norm)
            q, k = rotate(torch.cat((q, k), 1), cos, sin).split((q.shape[1], k.shape[1]), 1)
            x = x + product(attention.o_proj, mix(index, q, k, v))
            h = _rms_norm(x, layer.post_attention_layernorm)
            mlp = layer.mlp
            gated = functional.silu(product(mlp.gate_proj, h)) * product(mlp.up_proj, h)
            x = x + product(mlp.down_proj, gated)
            for start, features in extra:
                if index < len(features):
                    x[start : start + features.shape[1]] += features[index]
        return x

    def norm(self, x: Tensor) -> Tensor:
        """The final norm: [..., hidden]."""
        return _rms_norm(x, self._norm)

    def _mix(
        self,
        pieces: Sequence[Piece],
        spans: Sequence[tuple[int, int]],
        masks: Sequence[Tensor | None],
        index: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
    ) -> Tensor:
        """Mix of a packed batch, piece by piece."""
        mixed = []
        for piece, (start, stop), mask in zip(pieces, spans, masks, strict=True):
            live = piece.store.length
            # [kv_heads, capacity, head_dim]
            keys, values = piece.store.keys[index], piece.store.values[index]
            end = live + stop - start
            keys[:, live:end] = k[start:stop].transpose(0, 1)
            values[:, live:end] = v[start:stop].transpose(0, 1)
            seen = self._attend(q[start:stop], keys[:, :end], values[:, :end], mask, self.scale)
            mixed.append(seen.reshape(stop - start, -1))
        if len(q) > spans[-1][1]:
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


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate [..., head_dim] by angles that broadcast to it (arXiv 2104.09864), halves paired."""
    half = x.shape[-1] // 2
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return out


def _rms_norm(x: Tensor, norm: Any) -> Tensor:
    return functional.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _join(parts: list[Tensor], padding: int, dim: int) -> Tensor:
    """The parts one behind the other, `padding` zeros at the end."""
    if padding:
        shape = (*parts[0].shape[:dim], padding)
        parts = [*parts, parts[0].new_zeros(shape)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
