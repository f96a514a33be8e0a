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

"""Attention of one stream's queries over its cached keys, without copies of grouped keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.import_utils import is_flash_attn_2_available

FLASH = "flash_attention_2"  # transformers' name

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]


@dataclass(frozen=True)
class Attention:
    """One way to attend, and the mask it wants.

    Attributes:
        attend: (q [L, heads, head_dim], k [1, kv_heads, n, head_dim], v like k, mask, scale of the scores) ->
            [L, heads, head_dim]. Queries and keys are rotated; heads is a multiple of kv_heads.
        masked: whether it takes a mask; one that does not aligns a causal one to the last key by itself.
    """

    attend: Attend
    masked: bool = True

    def mask(self, tokens: int, cached: int, groups: int, like: Tensor) -> Tensor | None:
        """What is added to the scores of `tokens` queries behind `cached` keys; built once for all layers.

        Args:
            tokens: L.
            cached: keys before theirs; n is cached + L.
            groups: query heads that share a key head.
            like: gives dtype and device.

        Returns:
            [groups * L, cached + L]: 0 where a query may look, else -inf, the same L rows for each head of a
            group; None where there is nothing to hide or nobody to ask.
        """
        if tokens == 1 or not self.masked:
            return None
        mask = like.new_zeros(groups, tokens, cached + tokens)
        mask[:, :, cached:] = like.new_full((tokens, tokens), -torch.inf).triu_(1)
        return mask.flatten(0, 1)


def flash_can(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether FlashAttention (arXiv 2307.08691) is there: on a GPU, for half precision."""
    return device.type == "cuda" and dtype in (torch.float16, torch.bfloat16) and is_flash_attn_2_available()


def choose_attention(device: torch.device, dtype: torch.dtype) -> Attention:
    """Take FlashAttention where it is there, else torch's own."""
    return through(FLASH) if flash_can(device, dtype) else SDPA


def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention fused by torch; the queries of one group stand below each other over their one key head."""
    tokens, heads, dim = q.shape
    kv_heads = k.shape[1]
    if tokens == 1:  # a group's queries lie behind each other already
        folded = q.view(1, kv_heads, -1, dim)
        return functional.scaled_dot_product_attention(folded, k, v, scale=scale).view(1, heads, dim)
    groups = heads // kv_heads
    # [kv_heads, groups * L, head_dim]: row g * L + l is query l of the group's g-th head
    folded = q.view(tokens, kv_heads, groups, dim).permute(1, 2, 0, 3).reshape(1, kv_heads, -1, dim)
    seen = functional.scaled_dot_product_attention(folded, k, v, attn_mask=mask, scale=scale)
    return seen.view(kv_heads, groups, tokens, dim).permute(2, 0, 1, 3).reshape(tokens, heads, dim)


SDPA = Attention(sdpa)


def through(interface: str) -> Attention:
    """Attention by one of transformers' functions; `interface` is its name there."""
    function = ALL_ATTENTION_FUNCTIONS[interface]
    config = SimpleNamespace(_attn_implementation=interface)

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        # all that is read of a module
        module = SimpleNamespace(config=config, num_key_value_groups=q.shape[1] // k.shape[1])
        rows = None if mask is None else mask[: len(q)][None, None]  # [1, 1, L, n]
        queries = q.transpose(0, 1)[None]  # [1, heads, L, head_dim]
        seen, _ = function(module, queries, k, v, rows, scaling=scale, is_causal=True)
        out: Tensor = seen[0]  # [L, heads, head_dim]
        return out

    return Attention(attend, masked=interface != FLASH)
