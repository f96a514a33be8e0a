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

"""Arenas of several streams side by side in one tensor, so that one kernel can address all of them.

On a GPU that is what lets a decode step of many streams be one captured graph, see svlm_core.stream.graphs.
"""

from __future__ import annotations

import weakref

from svlm_core.cache.arena import KVArena
import torch


class KVPool:
    """Rows for the arenas of some streams, of one capacity.

    Attributes:
        kv: keys and values, [rows, 2, layers, kv_heads, capacity + 1, head_dim]; the last slot of a row is no
            arena's: there a step of all rows writes for those that have nothing to say.
        rows: number of rows.
        capacity: slots of each row's arena.
        free: rows that no arena has.
    """

    def __init__(
        self,
        rows: int,
        layers: int,
        kv_heads: int,
        head_dim: int,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Allocate everything at once."""
        shape = (rows, 2, layers, kv_heads, capacity + 1, head_dim)
        self.kv = torch.zeros(shape, dtype=dtype, device=device)
        self.rows, self.capacity = rows, capacity
        self.free = list(range(rows))

    def take(self) -> PooledArena:
        """An arena in the first free row, which comes back when the arena is garbage."""
        row = min(self.free)
        self.free.remove(row)
        arena = PooledArena(self, row)
        weakref.finalize(arena, self.free.append, arena.row)
        return arena


class PooledArena(KVArena):
    """An arena in one row of a pool.

    Attributes:
        pool: where it is.
        row: its number there.
    """

    def __init__(self, pool: KVPool, row: int) -> None:
        """Made by KVPool.take."""
        self.pool, self.row = pool, row
        self._use(pool.kv[row, :, :, :, : pool.capacity])
        # Attention over the whole row gives no weight to what is not live, but 0 * NaN is NaN.
        self.kv.zero_()


class KVPools:
    """Makes arenas of any capacity for streams of one model, those of one capacity side by side."""

    def __init__(
        self, rows: int, layers: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Allocate nothing yet; a pool will have `rows` rows, the rest is as of KVArena."""
        self._rows, self._heads = rows, (layers, kv_heads, head_dim)
        self._dtype, self._device = dtype, device
        self._pools: list[KVPool] = []

    def __call__(self, capacity: int) -> PooledArena:
        """A new arena; pools of other capacities that nobody uses any more are given up."""
        self._pools = [
            pool for pool in self._pools if pool.capacity == capacity or len(pool.free) < self._rows
        ]
        for pool in self._pools:
            if pool.capacity == capacity and pool.free:
                return pool.take()
        pool = KVPool(self._rows, *self._heads, capacity, self._dtype, self._device)
        self._pools.append(pool)
        return pool.take()
