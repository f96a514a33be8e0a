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

"""Decode steps of many streams as one CUDA graph, replayed instead of launching a thousand small kernels.

A graph has fixed shapes and addresses. So it takes one token of each of the first B rows of a pool, where
the streams' arenas lie; how many tokens live in each is a number on the device; attention runs over whole
rows, read where they are, and a mask hides what is not live. A row whose stream has nothing to say takes part
with a token that is written to its spare slot. Everything but capture and replay is plain tensor code, which
also runs on a CPU, where the tests hold it against the ordinary decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast, NamedTuple
from weakref import WeakKeyDictionary

from svlm_core.cache.pool import KVPool, PooledArena
from svlm_core.model.adapter import StreamModel
from svlm_core.model.decoder import Piece
from svlm_core.stream.lanes import upload
import torch
from torch import Tensor
from torch.nn import functional

_WARM_UPS = 3  # passes before a capture, in which libraries allocate what they keep


class StepInputs(NamedTuple):
    """What changes from one decode step to the next.

    Attributes:
        ids: int64 [B], one token of each of the pool's first B rows.
        cos: [B, 1, head_dim] in the model's dtype, of the tokens' rotary angles.
        sin: the same.
        lengths: int64 [B], live tokens of each: the slot of the new key.
    """

    ids: Tensor
    cos: Tensor
    sin: Tensor
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
            logits |= zip(numbers, self._decode(pool, [pieces[i] for i in numbers]), strict=True)
        if others:
            logits |= zip(others, rest([pieces[i] for i in others]), strict=False)
        return [logits[i] for i in range(len(pieces))]

    def _decode(self, pool: KVPool, pieces: list[Piece]) -> list[Tensor]:
        """One token of each of some streams of a pool: the logits of each, float32 [vocabulary]."""
        model = self._model
        arenas = [cast(PooledArena, piece.store) for piece in pieces]
        used = [arena.row for arena in arenas]
        rows = min(pool.rows, 1 << max(used).bit_length())  # few sizes, so few graphs
        idle = [row for row in range(rows) if row not in used]
        order = torch.tensor([*used, *idle]).argsort()  # row -> its place among pieces, idle ones behind them
        slots = torch.tensor([*(arena.length for arena in arenas), *[pool.capacity] * len(idle)])
        order, lengths = upload(torch.stack([order, slots[order]]), model.device)
        ids = torch.cat([*(piece.ids for piece in pieces), pieces[0].ids.new_zeros(len(idle))])
        positions = torch.cat([piece.positions for piece in pieces], dim=1)  # [3, n]
        positions = torch.cat([positions, positions.new_zeros(3, len(idle))], dim=1)
        inputs = StepInputs(ids[order], *model.decoder.angles(positions[:, order]), lengths)
        step: Step = partial(self._step, pool)
        if model.device.type == "cuda":
            graphs = self._graphs.setdefault(pool, {})
            if rows not in graphs:
                graphs[rows] = capture(step, inputs)
            step = graphs[rows]
        logits = step(inputs)  # [rows, vocabulary]
        return [logits[row] for row in used]

    def _step(self, pool: KVPool, inputs: StepInputs) -> Tensor:
        """The pass itself, at shapes that depend on the pool and the number of rows alone."""
        ids, cos, sin, lengths = inputs
        model, kv_heads, dim = self._model, self._model.kv_heads, self._model.head_dim
        rows = torch.arange(len(ids), device=ids.device)
        slots = torch.arange(pool.capacity + 1, device=ids.device)
        live = slots <= lengths[:, None]  # [B, capacity + 1]

        def mix(layer: int, q: Tensor, kv: Tensor) -> Tensor:
            memory = pool.kv[: len(ids), :, layer]  # a view [B, 2, kv_heads, capacity + 1, head_dim]
            memory[rows, :, :, lengths] = kv
            keys, values = memory.unbind(1)
            seen = functional.scaled_dot_product_attention(
                q.view(len(ids), kv_heads, -1, dim),  # the heads of a group are the queries of their key head
                keys,
                values,
                attn_mask=live[:, None, None],
                scale=model.decoder.scale,
            )
            return seen.reshape(len(ids), -1)

        x = model.decoder.run(model.embed(ids), cos, sin, mix)  # [B, hidden]
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
