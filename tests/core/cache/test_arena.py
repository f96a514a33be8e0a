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

"""The arena against a dictionary: token -> its key and value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
from properties import invariant
import pytest
from svlm_core.cache.arena import KVArena
from svlm_core.errors import CacheFullError
import torch

LAYERS, HEADS, DIM, CAPACITY = 2, 2, 4, 24


def arena(dtype: torch.dtype = torch.float32) -> KVArena:
    return KVArena(LAYERS, HEADS, DIM, CAPACITY, dtype, torch.device("cpu"))


def states(tokens: list[int], layer: int, sign: int) -> torch.Tensor:
    """Keys (sign 1) or values (sign -1) [heads, n, dim] that no other token, layer or head has."""
    each = torch.arange(1.0, 1 + HEADS * DIM).view(HEADS, 1, DIM) / 100 + 10 * layer
    return sign * (each + 1000 * torch.tensor(tokens, dtype=torch.float32).view(1, -1, 1))


def append(store: KVArena, tokens: list[int]) -> np.ndarray:
    """Write tokens as a forward pass does; returns their slots."""
    start, stop = store.length, store.length + len(tokens)
    for layer in range(LAYERS):
        store.keys[layer, :, start:stop] = states(tokens, layer, 1)
        store.values[layer, :, start:stop] = states(tokens, layer, -1)
    return store.extend(len(tokens))


class Model:
    """An arena, and which token should be in which slot."""

    def __init__(self) -> None:
        self.arena = arena()
        self.slot: dict[int, int] = {}
        self.named = 0

    def append(self, count: int) -> None:
        tokens = list(range(self.named, self.named + count))
        self.named += count
        self.slot.update(zip(tokens, append(self.arena, tokens).tolist(), strict=True))

    def evict(self, tokens: list[int]) -> None:
        slots = np.array([self.slot.pop(token) for token in tokens], dtype=np.int64)
        moved = self.arena.evict(slots)
        self.slot = {token: int(moved[slot]) for token, slot in self.slot.items()}

    def check(self) -> None:
        """Every live token's keys and values are its own, and they fill [0, length)."""
        assert self.arena.length == len(self.slot)
        assert sorted(self.slot.values()) == list(range(len(self.slot)))
        tokens = sorted(self.slot, key=self.slot.__getitem__)
        for layer in range(LAYERS):
            for stored, sign in ((self.arena.keys, 1), (self.arena.values, -1)):
                assert torch.equal(stored[layer, :, : len(tokens)], states(tokens, layer, sign))


@invariant
@given(data=st.data())
def test_eviction_keeps_exactly_the_other_tokens_keys_and_values(data: st.DataObject) -> None:
    model = Model()
    for _ in range(data.draw(st.integers(1, 8))):
        model.append(data.draw(st.integers(0, CAPACITY - model.arena.length)))
        live = st.sampled_from(sorted(model.slot)) if model.slot else st.nothing()
        model.evict(data.draw(st.lists(live, unique=True)))
        model.check()


@invariant
@given(live=st.integers(1, CAPACITY), data=st.data())
def test_eviction_copies_no_more_tokens_than_it_evicts(live: int, data: st.DataObject) -> None:
    store = arena()
    append(store, list(range(live)))
    keys, values = store.keys.clone(), store.values.clone()
    slots = data.draw(st.lists(st.integers(0, live - 1), unique=True))
    moved = store.evict(np.array(slots, dtype=np.int64))
    for before, after in ((keys, store.keys), (values, store.values)):
        changed = (before != after).any(-1).any(1).any(0)  # [capacity]
        assert int(changed.sum()) <= len(slots)
    stay = [slot for slot in range(live) if slot not in slots]
    assert sum(moved[slot] != slot for slot in stay) <= len(slots)


def test_a_full_arena_is_an_error_that_names_the_settings() -> None:
    store = arena()
    append(store, list(range(20)))
    store.reserve(4)
    with pytest.raises(CacheFullError) as caught:
        store.reserve(5)
    message = str(caught.value)
    assert "20 of 24 tokens are in use and 5 more are needed" in message
    for setting in ("vision_window_s", "text_window_tokens", "max_visual_tokens", "full_capacity_tokens"):
        assert setting in message
    assert "\n" not in message


def test_keys_are_read_as_a_copy_and_written_rounded_to_the_arenas_dtype() -> None:
    store = arena(torch.bfloat16)
    append(store, [1, 2, 3])
    slots = np.array([2, 0])
    read = store.read_keys(slots)
    assert read.shape == (LAYERS, HEADS, 2, DIM)
    read.zero_()
    assert store.keys[..., :3, :].any(-1).all(), "reading gave the arena itself"
    fine = torch.full((LAYERS, HEADS, 2, DIM), 1.001)
    middle = store.read_keys(np.array([1]))
    store.write_keys(slots, fine)
    assert torch.equal(store.read_keys(slots), fine.bfloat16())
    assert torch.equal(store.read_keys(np.array([1])), middle)


def test_clearing_forgets_the_tokens_and_keeps_the_memory() -> None:
    store = arena()
    append(store, [0, 1])
    where = store.keys.data_ptr()
    store.clear()
    assert store.length == 0
    store.reserve(CAPACITY)
    assert append(store, [7]).tolist() == [0]
    assert store.keys.data_ptr() == where
    assert torch.equal(store.keys[0, :, :1], states([7], 0, 1))


def test_the_size_counts_keys_and_values() -> None:
    assert arena().size_bytes == 2 * LAYERS * HEADS * CAPACITY * DIM * 4
    assert arena(torch.bfloat16).size_bytes == arena().size_bytes // 2
