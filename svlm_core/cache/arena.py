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

"""Storage of the KV cache: one preallocated arena, whose live tokens fill the slots [0, length).

Attention does not care in which order cached keys stand, since each carries its own rotation. So order is
metadata kept elsewhere, and evicting a token copies one from the arena's end into its slot: O(evicted), never
O(window). New tokens are appended, so causality among them is the usual mask.
"""

from __future__ import annotations

import numpy as np
from svlm_core.errors import CacheFullError
import torch
from torch import Tensor


class KVArena:
    """The keys and values of one stream, at fixed addresses for as long as it runs.

    Attributes:
        kv: keys and values, [2, layers, kv_heads, capacity, head_dim].
        keys: the rotated keys among them, [layers, kv_heads, capacity, head_dim].
        values: the same shape.
        capacity: slots.
        length: live tokens; they fill the slots [0, length) of every layer.
    """

    def __init__(
        self,
        layers: int,
        kv_heads: int,
        head_dim: int,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Allocate everything at once."""
        self._use(torch.zeros((2, layers, kv_heads, capacity, head_dim), dtype=dtype, device=device))

    def _use(self, kv: Tensor) -> None:
        """Be empty, in this memory."""
        self.kv = kv
        self.keys, self.values = kv
        self.capacity = kv.shape[3]
        self.length = 0

    @property
    def size_bytes(self) -> int:
        """Memory of keys and values together."""
        return self.kv.numel() * self.kv.element_size()

    def reserve(self, tokens: int) -> None:
        """Make sure that `tokens` more fit.

        Raises:
            CacheFullError: they do not; names the settings that decide the capacity.
        """
        if self.length + tokens > self.capacity:
            raise CacheFullError(
                f"the KV cache is full: {self.length} of {self.capacity} tokens are in use and {tokens} more "
                "are needed; shorten vision_window_s, text_window_tokens or max_visual_tokens, or (policy "
                "full) raise full_capacity_tokens"
            )

    def extend(self, tokens: int) -> np.ndarray:
        """Count the tokens that a forward pass has just written; returns their slots, int64 [tokens]."""
        slots = np.arange(self.length, self.length + tokens)
        self.length += tokens
        return slots

    def evict(self, slots: np.ndarray) -> np.ndarray:
        """Free slots by copying the arena's tail into them.

        Args:
            slots: distinct live slots, int64 [n], in any order.

        Returns:
            int64 [old length]: the new slot of each old one; meaningless for the evicted ones.
        """
        moved = np.arange(self.length)
        kept = self.length - len(slots)
        gone = np.zeros(self.length, bool)
        gone[slots] = True
        holes, tail = np.flatnonzero(gone[:kept]), kept + np.flatnonzero(~gone[kept:])
        if len(holes):
            to, source = self._index(holes), self._index(tail)
            self.kv.index_copy_(3, to, self.kv.index_select(3, source))
            moved[tail] = holes
        self.length = kept
        return moved

    def read_keys(self, slots: np.ndarray) -> Tensor:
        """The rotated keys of some slots, a copy [layers, kv_heads, n, head_dim]."""
        return self.keys.index_select(2, self._index(slots))

    def write_keys(self, slots: np.ndarray, keys: Tensor) -> None:
        """Replace the keys of some slots; rounds to the arena's dtype."""
        self.keys.index_copy_(2, self._index(slots), keys.to(self.keys.dtype))

    def clear(self) -> None:
        """Forget all tokens; nothing is copied."""
        self.length = 0

    def _index(self, slots: np.ndarray) -> Tensor:
        return torch.from_numpy(slots).to(self.keys.device)
