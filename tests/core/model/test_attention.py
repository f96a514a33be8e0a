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

"""Every way to attend, against a loop over queries and heads in float64."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import FAMILIES, write_random_model
from svlm_core.model import attention
from svlm_core.model.attention import Attention, choose_attention, FLASH, SDPA, through
from svlm_core.model.load import load_model
import torch
from torch import Tensor
from transformers import modeling_flash_attention_utils as flash_utils

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SHAPES = [  # tokens, cached, heads, kv_heads
    (1, 0, 4, 4),
    (1, 9, 4, 2),
    (5, 0, 4, 2),
    (5, 9, 4, 1),
    (3, 7, 2, 2),
]
DIM, SCALE = 8, 0.3
QWEN = [family for family in FAMILIES if family.startswith("qwen")]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="runs the attention of a GPU")


def states(shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Noise: q [L, heads, dim]; k and v [1, kv_heads, n, dim], parts of longer rows as an arena's are."""
    tokens, cached, heads, kv_heads = shape
    noise = torch.Generator().manual_seed(sum(shape))
    q = torch.randn(tokens, heads, DIM, generator=noise)
    k, v = torch.randn(2, 1, kv_heads, cached + tokens + 6, DIM, generator=noise)[..., : cached + tokens, :]
    return q, k, v


def attend(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As the decoder does it."""
    mask = attention.mask(len(q), k.shape[2] - len(q), q.shape[1] // k.shape[1], q)
    return attention.attend(q, k, v, mask, SCALE)


def slow(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Query l sees the keys up to its own, the last but L - 1 - l."""
    k, v = k[0], v[0]
    tokens, heads, _ = q.shape
    out = torch.zeros(q.shape, dtype=torch.float64)
    for token in range(tokens):
        until = k.shape[1] - tokens + 1 + token
        for head in range(heads):
            shared = head * len(k) // heads
            scores = (k[shared, :until].double() @ q[token, head].double()) * scale
            out[token, head] = scores.softmax(0) @ v[shared, :until].double()
    return out.float()


def flash_attn_func(
    q: Tensor, k: Tensor, v: Tensor, dropout_p: float = 0.0, softmax_scale: Any = None, causal: bool = False
) -> Tensor:
    """What flash-attn's function of this name documents: [batch, L, heads, dim], causal from the last key."""
    assert causal and dropout_p == 0.0
    return torch.stack([slow(q[0], k.transpose(1, 2), v.transpose(1, 2), softmax_scale)])


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: Any = None,
    causal: bool = False,
) -> Tensor:
    """The same over sequences that stand one behind the other: [tokens, heads, dim], each seeing its own."""
    assert not causal and dropout_p == 0.0
    assert cu_seqlens_q.dtype == torch.int32 and torch.equal(cu_seqlens_q, cu_seqlens_k)
    ends = cu_seqlens_q.tolist()
    spans = list(pairwise(ends))
    assert max_seqlen_q == max_seqlen_k == max(stop - start for start, stop in spans)
    assert type(max_seqlen_q) is int
    out = torch.zeros_like(q)
    for start, stop in spans:
        scores = torch.einsum("qhd,khd->hqk", q[start:stop].double(), k[start:stop].double()) * softmax_scale
        out[start:stop] = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v[start:stop].double()).to(q.dtype)
    return out


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> Attention:
    """Our call into transformers' FlashAttention, which finds the slow functions where a GPU's would be."""
    process = flash_utils._lazy_define_process_function(flash_attn_varlen_func)
    for name, value in {
        "_loaded_implementation": FLASH,
        "_flash_fn": flash_attn_func,
        "_flash_varlen_fn": flash_attn_varlen_func,
        "_process_flash_kwargs_fn": process,
        "_process_with_kvcache_kwargs_fn": process,
    }.items():
        monkeypatch.setattr(flash_utils, name, value)
    return through(FLASH)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("attention", [SDPA, through("sdpa")], ids=["own", "through transformers"])
def test_sdpa(attention: Attention, shape: tuple[int, int, int, int]) -> None:
    q, k, v = states(shape)
    seen = attend(attention, q, k, v)
    torch.testing.assert_close(seen, slow(q, k, v, SCALE), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_flash_attention_is_called_as_transformers_calls_it(
    flash: Attention, shape: tuple[int, int, int, int]
) -> None:
    q, k, v = (part.bfloat16() for part in states(shape))
    seen = attend(flash, q, k, v)
    assert seen.shape == q.shape
    torch.testing.assert_close(seen, slow(q, k, v, SCALE), rtol=0, atol=1e-6)


def test_flash_attention_is_chosen_on_a_gpu_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "is_flash_attn_2_available", lambda: True)
    for dtype in (torch.bfloat16, torch.float16):
        assert choose_attention(CUDA, dtype) is not SDPA
        assert choose_attention(CPU, dtype) is SDPA
    assert choose_attention(CUDA, torch.float32) is SDPA
    monkeypatch.setattr(attention, "is_flash_attn_2_available", lambda: False)
    assert choose_attention(CUDA, torch.bfloat16) is SDPA


@pytest.mark.parametrize("family", QWEN)
@torch.inference_mode()
def test_a_tower_with_flash_attention_sees_the_same(flash: Attention, family: str, tmp_path: Path) -> None:
    folder = write_random_model(tmp_path / "model", family)
    plain, fused = load_model(str(folder)), load_model(str(folder))
    hf: Any = fused.hf
    hf.model.visual.config._attn_implementation = FLASH  # set_attn_implementation looks for the package
    for seed, (height, width) in enumerate([(112, 168), (84, 84)]):
        rgb = np.random.default_rng(seed).integers(0, 256, (4, height, width, 3), dtype=np.uint8)
        vision = plain.preprocess(rgb, 4, 24)
        expected = plain.encode_vision(vision)
        assert expected.std() > 1e-3
        torch.testing.assert_close(fused.encode_vision(vision), expected, rtol=0, atol=1e-5)


@needs_gpu
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu(shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    q, k, v = (part.to(CUDA, dtype) for part in states(shape))
    seen = attend(choose_attention(CUDA, dtype), q, k, v)
    expected = slow(q.cpu(), k.cpu(), v.cpu(), SCALE)
    bound = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(seen.float().cpu(), expected, rtol=0, atol=bound)


@needs_gpu
@pytest.mark.parametrize("family", QWEN)
@torch.inference_mode()
def test_a_tower_on_a_gpu_sees_the_same(family: str, tmp_path: Path) -> None:
    folder = str(write_random_model(tmp_path / "model", family))
    exact, on_gpu = load_model(folder), load_model(folder, dtype="bfloat16", device="cuda")
    rgb = np.random.default_rng(0).integers(0, 256, (4, 112, 168, 3), dtype=np.uint8)
    vision = exact.preprocess(rgb, 4, 24)
    expected, seen = exact.encode_vision(vision), on_gpu.encode_vision(vision).float().cpu()
    assert (seen - expected).norm() < 0.05 * expected.norm()
