"""Decode steps of many streams as one CUDA graph, replayed instead of launching a thousand small kernels.

A graph has fixed shapes and addresses. So it takes one token of each of B streams, whose arenas are rows of
one pool; which rows, and how many tokens live in each, are numbers on the device; attention runs over whole
rows, and a mask hides what is not live. Everything but capture and replay is plain tensor code, which also
runs on a CPU, where the tests hold it against the ordinary decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional

from svlm_core.cache.pool import KVPool, PooledArena
from svlm_core.model.adapter import StreamModel
from svlm_core.model.decoder import Piece
from svlm_core.stream.lanes import upload

_WARM_UPS = 3  # passes before a capture, in which libraries allocate what they keep


class StepInputs(NamedTuple):
    """What changes from one decode step to the next.

    Attributes:
        ids: int64 [B], one token of each stream.
        cos: [B, 1, head_dim] in the model's dtype, of the tokens' rotary angles.
        sin: the same.
        rows: int64 [B], the streams' rows in the pool.
        lengths: int64 [B], live tokens of each: the slot of the new key.
    """

    ids: Tensor
    cos: Tensor
    sin: Tensor
    rows: Tensor
    lengths: Tensor


Step = Callable[[StepInputs], Tensor]  # -> logits, float32 [B, vocabulary]


class GraphDecoder:
    """Takes the decode steps out of a batch; under CUDA graphs where the device has them."""

    def __init__(self, model: StreamModel) -> None:
        """Captures nothing yet: a graph is made when a pool first has so many streams in one step."""
        self._model = model
        self._graphs: WeakKeyDictionary[KVPool, dict[int, Step]] = WeakKeyDictionary()

    def __call__(
        self, pieces: Sequence[Piece], rest: Callable[[Sequence[Piece]], Sequence[Tensor]]
    ) -> list[Tensor]:
        """Run a batch; the streams' caches are written behind `length`, which stays as it was.

        Args:
            pieces: one of each stream, none twice.
            rest: runs those that are no decode step of a pooled arena; returns the logits of each.

        Returns:
            The logits behind each piece, float32 [vocabulary].
        """
        pools: dict[KVPool, list[int]] = {}
        others: list[int] = []
        for number, piece in enumerate(pieces):
            store = piece.store
            if isinstance(store, PooledArena) and len(piece.ids) == 1 and store.length < store.capacity:
                pools.setdefault(store.pool, []).append(number)
            else:
                others.append(number)
        logits: dict[int, Tensor] = {}
        for pool, numbers in pools.items():
            logits |= zip(numbers, self._decode(pool, [pieces[i] for i in numbers]), strict=False)
        if others:
            logits |= zip(others, rest([pieces[i] for i in others]), strict=False)
        return [logits[i] for i in range(len(pieces))]

    def _decode(self, pool: KVPool, pieces: list[Piece]) -> Tensor:
        """One token of each stream: logits [n, vocabulary], n the next power of two; the last may be idle."""
        idle = (1 << (len(pieces) - 1).bit_length()) - len(pieces)
        pieces = pieces + pieces[:1] * idle  # writes the same key to the same slot again
        model = self._model
        positions = torch.cat([piece.positions for piece in pieces], dim=1)  # [3, n]
        cos, sin = (axis.to(model.dtype)[:, None] for axis in model.rope(positions))
        arenas = [cast(PooledArena, piece.store) for piece in pieces]
        numbers = torch.tensor([[arena.row, arena.length] for arena in arenas])
        rows, lengths = upload(numbers, model.device).unbind(1)
        inputs = StepInputs(torch.cat([piece.ids for piece in pieces]), cos, sin, rows, lengths)
        step = partial(self._step, pool)
        if model.device.type != "cuda":
            return step(inputs)
        graphs = self._graphs.setdefault(pool, {})
        if len(pieces) not in graphs:
            graphs[len(pieces)] = capture(step, inputs)
        return graphs[len(pieces)](inputs)

    def _step(self, pool: KVPool, inputs: StepInputs) -> Tensor:
        """The pass itself, at shapes that depend on the pool and the number of streams alone."""
        ids, cos, sin, rows, lengths = inputs
        model, kv_heads, dim = self._model, self._model.kv_heads, self._model.head_dim
        live = torch.arange(pool.capacity, device=ids.device) <= lengths[:, None]  # [B, capacity]

        def mix(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = pool.keys[:, layer], pool.values[:, layer]  # [rows, kv_heads, capacity, head_dim]
            keys[rows, :, lengths], values[rows, :, lengths] = k, v
            seen = functional.scaled_dot_product_attention(
                q.view(len(ids), kv_heads, -1, dim),  # the heads of a group are the queries of their key head
                keys[rows],
                values[rows],
                attn_mask=live[:, None, None],
                scale=model.decoder.scale,
            )
            return seen.reshape(len(ids), -1)

        x = model.decoder.layers(model.embed(ids), cos, sin, mix)  # [B, hidden]
        return model.head(model.decoder.norm(x))


def capture(step: Step, example: StepInputs) -> Step:
    """Record a step as a CUDA graph.

    Args:
        step: reads and writes device memory only; run here on the example, once more than it need be.
        example: of the shapes that all inputs will have.

    Returns:
        The step from now on. Its inputs may be anywhere, and each answer is a tensor of its own.
    """
    static = StepInputs(*(tensor.clone() for tensor in example))
    with torch.cuda.device(static.ids.device):
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UPS):
                step(static)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may allocate
            logits = step(static)

    def replay(inputs: StepInputs) -> Tensor:
        for kept, new in zip(static, inputs, strict=True):
            kept.copy_(new)
        graph.replay()
        return logits.clone()

    return replay
