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

"""The machine's limit: a model's bare matrix products and attention kernels, and reading memory.

Nothing is computed here: the same kernels run over the same weights and the stream's own cache, at the same
sizes, with nothing between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
import itertools
import time
from typing import Any

from svlm_core.bench.shapes import PATCH_PX, PATCHES_PER_TOKEN, Shape, WINDOW_PX
from svlm_core.bench.workload import settle
from svlm_core.cache.arena import KVArena
from svlm_core.frames import Chunk
from svlm_core.model.adapter import StreamModel
from svlm_core.model.attention import SDPA
from svlm_core.model.product import Joined, product
from svlm_core.model.vision import Grid
from svlm_core.stream.session import StreamSession
import torch
from torch import nn, Tensor
from torch.nn import functional

Kernels = list[Callable[[], Tensor]]
ChunkKernels = dict[tuple[str, str], tuple[Kernels, int]]

_READ_BYTES = 1 << 28  # several times any CPU's cache
_READS = 5


@dataclass(frozen=True)
class ChunkSizes:
    """What one chunk runs through the model.

    Attributes:
        grid: (t, h, w) of its frames in patches.
        prefill_tokens: tokens of its prefill.
        decode_steps: forward passes after it, one token each.
        cache_tokens: tokens in the KV cache at its end.
    """

    grid: Grid
    prefill_tokens: int
    decode_steps: int
    cache_tokens: int

    @classmethod
    def of(cls, session: StreamSession, chunk: Chunk) -> ChunkSizes:
        """Run a chunk through a session and see."""
        vision = session.preprocess(chunk)
        result = session.step(chunk, vision)
        return cls(vision.grid, result.prefill_tokens, len(result.token_ids) - 1, result.cache_tokens)


class BareModel:
    """The kernels of one model's forward passes, each list to be called in its order."""

    def __init__(self, model: StreamModel, shape: Shape) -> None:
        """Look up the weights of a model that svlm_core.bench.random_model has built."""
        self._shape, self._dtype, self._device = shape, model.dtype, model.device
        hf: Any = model.hf
        self._decoder = model.decoder
        self._inputs: dict[tuple[int, int], Tensor] = {}
        self._linears = [*_linears(hf.model.language_model.layers), hf.get_output_embeddings()]
        visual = hf.model.visual
        self._blocks, self._merger = list(visual.blocks), _linears(visual.merger)
        self._patch_weights = visual.patch_embed.proj.weight.flatten(1)  # [vision_hidden, patch values]

    def chunk(self, sizes: ChunkSizes, arena: KVArena, cameras: int = 1) -> ChunkKernels:
        """Everything that a chunk of each of some cameras needs, all in one batch.

        Args:
            sizes: of one camera's chunk.
            arena: a cache to attend over; every camera's stands for it.
            cameras: how many.

        Returns:
            (stage, what) -> kernels, and how often they run. "kernels" are all that the engine runs, products
            and attention in the order of a pass, so that each finds what its neighbours leave in the
            machine's caches; "attention" are those of attention among them; ("decode", "library") are
            decode's products as torch's own linear layers do them.
        """
        steps, rows, columns = sizes.grid
        grid = (steps * cameras, rows, columns)
        vision = self._vision_attention(grid)
        prefill = self._text_attention(sizes.prefill_tokens, arena, sizes.cache_tokens - sizes.decode_steps)
        step = self._text_attention(1, arena, sizes.cache_tokens - sizes.decode_steps // 2)
        prefill, step = ([layer * cameras for layer in layers] for layers in (prefill, step))
        return {
            ("vision", "kernels"): (self._vision_kernels(grid, vision), 1),
            ("vision", "attention"): (_flat(vision), 1),
            ("prefill", "kernels"): (self._text_kernels(sizes.prefill_tokens * cameras, cameras, prefill), 1),
            ("prefill", "attention"): (_flat(prefill), 1),
            ("decode", "kernels"): (self._text_kernels(cameras, cameras, step), sizes.decode_steps),
            ("decode", "attention"): (_flat(step), sizes.decode_steps),
            ("decode", "library"): (self._products(self._linears, cameras), sizes.decode_steps),
        }

    def _text_kernels(self, tokens: int, cameras: int, attention: list[Kernels]) -> Kernels:
        """One forward pass over `tokens` tokens, and the head of each camera's last; attention by layer."""
        kernels: Kernels = []
        for layer, attend in zip(self._decoder.layers, attention, strict=True):
            kernels += [self._joined(layer.qkv, tokens), *attend]
            kernels += [self._joined(joined, tokens) for joined in (layer.out, layer.gate_up, layer.down)]
        head = self._linears[-1].weight
        return [*kernels, partial(product, self._input(cameras, head.shape[1]), head)]

    def _text_attention(self, tokens: int, arena: KVArena, keys: int) -> list[Kernels]:
        """The attention of one stream's forward pass, by layer: the last `tokens` of `keys` keys, causal."""
        shape = self._shape
        groups = shape.heads // shape.kv_heads
        q = self._random(1, shape.kv_heads, groups * tokens, shape.head_dim)
        mask = SDPA.mask(tokens, keys - tokens, groups, q)
        return [
            [partial(functional.scaled_dot_product_attention, q, k[None, :, :keys], v[None, :, :keys], mask)]
            for k, v in zip(arena.keys, arena.values, strict=True)
        ]

    def _vision_kernels(self, grid: Grid, attention: list[Kernels]) -> Kernels:
        """One pass of the vision tower; grid: (t, h, w) in patches; attention by block."""
        patches = grid[0] * grid[1] * grid[2]
        pixels = self._random(patches, self._patch_weights.shape[1])
        kernels: Kernels = [partial(functional.linear, pixels, self._patch_weights)]
        for block, attend in zip(self._blocks, attention, strict=True):
            qkv, *others = self._products(_linears(block), patches)
            kernels += [qkv, *attend, *others]
        return kernels + self._products(self._merger, patches // PATCHES_PER_TOKEN)

    def _vision_attention(self, grid: Grid) -> list[Kernels]:
        """The attention of one pass of the vision tower, by block: over windows, or over whole pictures."""
        shape, (steps, rows, columns) = self._shape, grid
        side = WINDOW_PX // PATCH_PX
        windows = [h * w for h in _tiles(rows, side) for w in _tiles(columns, side)] * steps
        pictures = [rows * columns] * steps
        layers: list[Kernels] = []
        for block in range(shape.vision_depth):
            spans = pictures if block in shape.vision_full else windows
            width = shape.vision_hidden // shape.vision_heads
            inputs = [self._random(1, shape.vision_heads, patches, width) for patches in spans]
            layers.append([partial(functional.scaled_dot_product_attention, x, x, x) for x in inputs])
        return layers

    def _joined(self, joined: Joined, rows: int) -> Callable[[], Tensor]:
        assert joined.weight is not None  # random weights are plain
        return partial(joined, self._input(rows, joined.weight.shape[1]))

    def _products(self, linears: Iterable[nn.Linear], rows: int) -> Kernels:
        """Torch's own linear layers, one by one."""
        return [partial(linear.forward, self._input(rows, linear.in_features)) for linear in linears]

    def _input(self, rows: int, width: int) -> Tensor:
        """Something to multiply, the same for all layers of a width."""
        return self._inputs.setdefault((rows, width), self._random(rows, width))

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(*shape, dtype=self._dtype, device=self._device)


@torch.inference_mode()
def run_ms(kernels: Kernels, device: torch.device, times: int = 1) -> float:
    """Wall time of running the kernels in turn, all of them `times` times, milliseconds."""
    settle(device)
    begin = time.perf_counter()
    for kernel in itertools.chain.from_iterable(itertools.repeat(kernels, times)):
        kernel()
    settle(device)
    return (time.perf_counter() - begin) * 1e3


def read_bytes_per_s(device: torch.device) -> float:
    """How fast the device reads memory: the best of some sums over a buffer that fits no cache."""
    buffer = torch.ones(_READ_BYTES // 4, device=device)
    return _READ_BYTES / min(run_ms([buffer.sum], device) for _ in range(_READS)) * 1e3


def _linears(module: nn.Module) -> list[nn.Linear]:
    return [part for part in module.modules() if isinstance(part, nn.Linear)]


def _flat(layers: Iterable[Kernels]) -> Kernels:
    return list(itertools.chain.from_iterable(layers))


def _tiles(length: int, side: int) -> list[int]:
    """Lengths of the tiles that cover `length`, the last one perhaps shorter."""
    return [min(side, length - begin) for begin in range(0, length, side)]
