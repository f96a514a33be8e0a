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

"""Geometries of models to measure: numbers alone, so that planning needs neither torch nor weights."""

from __future__ import annotations

from dataclasses import dataclass

from svlm_core.errors import ConfigError

PATCH_PX, MERGE, FRAMES_PER_PATCH, CHANNELS = 14, 2, 2, 3  # all Qwen2.5-VL
VISUAL_TOKEN_PX = PATCH_PX * MERGE
PATCHES_PER_TOKEN = MERGE**2
WINDOW_PX = 112  # side of the vision tower's attention windows
PATCH_VALUES = CHANNELS * FRAMES_PER_PATCH * PATCH_PX**2


@dataclass(frozen=True)
class Shape:
    """A Qwen2.5-VL by its sizes, as `config.json` has them.

    Attributes:
        name: what it is called on the command line.
        hidden: width of the language model.
        layers: decoder layers.
        heads: query heads.
        kv_heads: key/value heads.
        ffn: width of the gated MLP.
        vocabulary: rows of the embedding.
        tied: the head is the embedding.
        mrope: pairs of channels that rotate with t, h, w; together half a head.
        rope_theta: base of the rotary frequencies.
        max_positions: positions it counts as trained for.
        vision_hidden: width of the vision tower.
        vision_depth: its blocks.
        vision_heads: its heads.
        vision_ffn: width of its gated MLP.
        vision_full: blocks that attend over the whole picture; the others over windows of WINDOW_PX.
        frame_px: (height, width) of the camera picture it is measured with.
    """

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocabulary: int
    tied: bool
    mrope: tuple[int, int, int]
    rope_theta: float
    max_positions: int
    vision_hidden: int
    vision_depth: int
    vision_heads: int
    vision_ffn: int
    vision_full: tuple[int, ...]
    frame_px: tuple[int, int]

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden // self.heads

    @property
    def layer_weights(self) -> int:
        """Weights in the matrix products of one decoder layer."""
        kv = self.kv_heads * self.head_dim
        return 2 * self.hidden**2 + 2 * self.hidden * kv + 3 * self.hidden * self.ffn

    @property
    def head_weights(self) -> int:
        """Weights in the product that makes logits."""
        return self.hidden * self.vocabulary

    @property
    def vision_block_weights(self) -> int:
        """Weights in the matrix products of one block of the vision tower."""
        return 4 * self.vision_hidden**2 + 3 * self.vision_hidden * self.vision_ffn

    @property
    def patch_weights(self) -> int:
        """Weights in the product that embeds a patch."""
        return PATCH_VALUES * self.vision_hidden

    @property
    def merger_weights(self) -> int:
        """Weights in the two products that make a visual token of a square of patches."""
        wide = PATCHES_PER_TOKEN * self.vision_hidden
        return wide**2 + wide * self.hidden

    @property
    def matrix_weights(self) -> int:
        """Weights of all layers of both towers that multiply; embedding, head, norms, biases not counted."""
        vision = self.patch_weights + self.vision_depth * self.vision_block_weights + self.merger_weights
        return self.layers * self.layer_weights + vision

    @property
    def small_weights(self) -> int:
        """Norms and biases."""
        kv = self.kv_heads * self.head_dim
        layer = 2 * self.hidden + self.hidden + 2 * kv
        block = 2 * self.vision_hidden + 4 * self.vision_hidden + 2 * self.vision_ffn + self.vision_hidden
        merger = self.vision_hidden + PATCHES_PER_TOKEN * self.vision_hidden + self.hidden
        return self.layers * layer + self.hidden + self.vision_depth * block + merger

    @property
    def parameters(self) -> int:
        """All parameters, a tied head counted once."""
        tables = self.head_weights * (1 if self.tied else 2)
        return self.matrix_weights + tables + self.small_weights

    def kv_bytes_per_token(self, element_bytes: int) -> int:
        """Memory of one token's keys and values in all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * element_bytes


_TINY = Shape(
    name="tiny",
    hidden=128,
    layers=4,
    heads=4,
    kv_heads=2,
    ffn=384,
    vocabulary=365,
    tied=True,
    mrope=(4, 6, 6),
    rope_theta=1e4,
    max_positions=4096,
    vision_hidden=96,
    vision_depth=2,
    vision_heads=4,
    vision_ffn=192,
    vision_full=(0, 1),
    frame_px=(84, 84),
)
_S = Shape(
    name="s",
    hidden=384,
    layers=10,
    heads=6,
    kv_heads=2,
    ffn=1536,
    vocabulary=32768,
    tied=True,
    mrope=(8, 12, 12),
    rope_theta=1e6,
    max_positions=40960,
    vision_hidden=256,
    vision_depth=4,
    vision_heads=4,
    vision_ffn=768,
    vision_full=(1, 3),
    frame_px=(224, 224),
)
_M = Shape(
    name="m",
    hidden=1024,
    layers=20,
    heads=16,
    kv_heads=4,
    ffn=2816,
    vocabulary=32768,
    tied=True,
    mrope=(8, 12, 12),
    rope_theta=1e6,
    max_positions=40960,
    vision_hidden=512,
    vision_depth=8,
    vision_heads=8,
    vision_ffn=1536,
    vision_full=(3, 7),
    frame_px=(224, 224),
)
# Qwen2.5-VL-3B-Instruct and -7B-Instruct, from their config.json
_3B = Shape(
    name="3b",
    hidden=2048,
    layers=36,
    heads=16,
    kv_heads=2,
    ffn=11008,
    vocabulary=151936,
    tied=True,
    mrope=(16, 24, 24),
    rope_theta=1e6,
    max_positions=128000,
    vision_hidden=1280,
    vision_depth=32,
    vision_heads=16,
    vision_ffn=3420,
    vision_full=(7, 15, 23, 31),
    frame_px=(448, 448),
)
_7B = Shape(
    name="7b",
    hidden=3584,
    layers=28,
    heads=28,
    kv_heads=4,
    ffn=18944,
    vocabulary=152064,
    tied=False,
    mrope=(16, 24, 24),
    rope_theta=1e6,
    max_positions=128000,
    vision_hidden=1280,
    vision_depth=32,
    vision_heads=16,
    vision_ffn=3420,
    vision_full=(7, 15, 23, 31),
    frame_px=(448, 448),
)

SHAPES: dict[str, Shape] = {shape.name: shape for shape in (_TINY, _S, _M, _3B, _7B)}
ALIASES = {"qwen2.5-vl-3b": "3b", "qwen2.5-vl-7b": "7b"}


def find_shape(name: str) -> Shape:
    """The shape of a name or alias, in any case.

    Raises:
        ConfigError: there is none; lists them.
    """
    key = name.lower()
    shape = SHAPES.get(ALIASES.get(key, key))
    if shape is None:
        raise ConfigError(
            f"--model {name}: no such shape; there are {', '.join(SHAPES)} and {', '.join(ALIASES)}"
        )
    return shape
