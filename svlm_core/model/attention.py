"""Attention of one stream's queries over its cached keys, without copies of grouped keys."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.import_utils import is_flash_attn_2_available

FLASH = "flash_attention_2"  # transformers' name

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]


def flash_can(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether FlashAttention (arXiv 2307.08691) is there: on a GPU, for half precision."""
    return device.type == "cuda" and dtype in (torch.float16, torch.bfloat16) and is_flash_attn_2_available()


def choose_attention(device: torch.device, dtype: torch.dtype) -> Attend:
    """FlashAttention where it is there, else `sdpa`."""
    return through(FLASH) if flash_can(device, dtype) else sdpa


def causal_mask(tokens: int, cached: int, device: torch.device) -> Tensor | None:
    """Bool [tokens, cached + tokens], True where a query may look; None for one token, which sees all."""
    if tokens == 1:
        return None
    return torch.ones(tokens, cached + tokens, dtype=torch.bool, device=device).tril(cached)


def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention fused by torch; the queries of one group stand below each other over their one key head.

    Args:
        q: [L, heads, head_dim], rotated.
        k: [kv_heads, n, head_dim], rotated; heads is a multiple of kv_heads.
        v: [kv_heads, n, head_dim].
        mask: bool [L, n] or None, see causal_mask.
        scale: factor of the scores.

    Returns:
        [L, heads, head_dim].
    """
    tokens, heads, dim = q.shape
    kv_heads = len(k)
    groups = heads // kv_heads
    # [kv_heads, groups * L, head_dim]: row g * L + l is query l of the group's g-th head
    folded = q.view(tokens, kv_heads, groups, dim).permute(1, 2, 0, 3).reshape(1, kv_heads, -1, dim)
    rows = None if mask is None else mask.repeat(groups, 1)
    seen = functional.scaled_dot_product_attention(folded, k[None], v[None], attn_mask=rows, scale=scale)
    return seen.view(kv_heads, groups, tokens, dim).permute(2, 0, 1, 3).reshape(tokens, heads, dim)


def through(interface: str) -> Attend:
    """Attention by one of transformers' functions, with the arguments and the answer of `sdpa`.

    Args:
        interface: its name there. FlashAttention takes no mask: it aligns a causal one to the last key.
    """
    function = ALL_ATTENTION_FUNCTIONS[interface]
    config = SimpleNamespace(_attn_implementation=interface)

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        module = SimpleNamespace(config=config, num_key_value_groups=q.shape[1] // len(k))  # all that is read
        rows = None if mask is None or interface == FLASH else mask[None, None]  # [1, 1, L, n]
        queries = q.transpose(0, 1)[None]  # [1, heads, L, head_dim]
        seen, _ = function(module, queries, k[None], v[None], rows, scaling=scale, is_causal=True)
        out: Tensor = seen[0]  # [L, heads, head_dim]
        return out

    return attend
