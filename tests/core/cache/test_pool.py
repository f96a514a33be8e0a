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

"""Pools: who lies where, who comes back, and that neighbours do not touch each other."""

from __future__ import annotations

import numpy as np
from svlm_core.cache.pool import KVPools, PooledArena
import torch

LAYERS, HEADS, DIM, ROWS = 2, 2, 4, 3
CPU = torch.device("cpu")


def pools() -> KVPools:
    return KVPools(ROWS, LAYERS, HEADS, DIM, torch.float32, CPU)


def test_arenas_of_one_capacity_are_rows_of_one_pool_until_it_is_full() -> None:
    take = pools()
    arenas = [take(5) for _ in range(ROWS + 1)]
    first = arenas[0].pool
    assert [arena.pool is first for arena in arenas] == [True] * ROWS + [False]
    assert sorted(arena.row for arena in arenas[:ROWS]) == list(range(ROWS))
    for arena in arenas:
        assert arena.keys.shape == arena.values.shape == (LAYERS, HEADS, 5, DIM)
        assert arena.keys.data_ptr() == arena.pool.kv[arena.row, 0].data_ptr()
        assert arena.values.data_ptr() == arena.pool.kv[arena.row, 1].data_ptr()
        assert (arena.capacity, arena.length) == (5, 0)
    assert take(6).pool is not first


def test_writing_and_evicting_stay_in_the_row() -> None:
    take = pools()
    arenas = [take(5) for _ in range(ROWS)]
    for number, arena in enumerate(arenas):
        arena.keys.fill_(number)
        arena.values.fill_(-number)
    middle = arenas[1]
    middle.keys[:, :, :4] = torch.arange(10.0, 14)[:, None]
    middle.extend(4)
    middle.evict(np.array([0]))
    assert middle.keys[0, 0, :3, 0].tolist() == [13, 11, 12]
    for number in (0, 2):
        assert (arenas[number].keys == number).all() and (arenas[number].values == -number).all()


def test_a_row_comes_back_empty_when_its_arena_is_forgotten() -> None:
    take = pools()
    kept = [take(5) for _ in range(ROWS - 1)]
    gone: PooledArena | None = take(5)
    assert gone is not None
    row, pool = gone.row, gone.pool
    assert pool.free == []
    gone.keys.fill_(torch.nan)
    gone.values.fill_(torch.nan)
    gone.length = 4
    gone = None
    assert pool.free == [row]
    again = take(5)
    assert (again.pool, again.row, again.length) == (pool, row, 0)
    assert not again.keys.any() and not again.values.any(), (
        "what a broken stream left would spoil the next one"
    )
    assert len(kept) == ROWS - 1


def test_an_empty_pool_makes_way_for_another_capacity() -> None:
    take = pools()
    arena: PooledArena | None = take(5)
    assert arena is not None
    pool = arena.pool
    arena = None
    assert take(5).pool is pool, "an empty pool is used again"
    other = take(6)
    assert other.capacity == 6
    assert take(5).pool is not pool, "an empty pool is kept though nobody needs its capacity"


def test_a_pool_in_use_stays() -> None:
    take = pools()
    arena = take(5)
    take(6)
    assert take(5).pool is arena.pool
