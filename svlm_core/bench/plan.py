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

"""The roofline on paper: how many cameras a GPU should hold, before it is bought.

docs/benchmarking.md has every formula, under the names that the terms have here. A pass costs the longer of
its arithmetic and its memory traffic (Williams et al. 2009, "Roofline", doi 10.1145/1498765.1498785).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from svlm_core.bench.gpus import Gpu
from svlm_core.bench.shapes import FRAMES_PER_PATCH, PATCH_PX, PATCHES_PER_TOKEN, Shape, WINDOW_PX
from svlm_core.config import StreamConfig

TURN_TOKENS = 24  # of a chunk's two turns, without frames and words; in Qwen's vocabulary, time text included
HEAD_TOKENS = 32  # the system turn, and the frame around the old text
WEIGHTS = ("bf16", "fp8", "int8")
_BF16_BYTES = 2
_MOST_CAMERAS = 1 << 20


@dataclass(frozen=True)
class Assumptions:
    """What paper cannot know.

    Attributes:
        weights: of the language model's layers. bf16; fp8: 8-bit floats, multiplied as such where the GPU
            can; int8: 8 bits in memory, multiplied in bfloat16. Everything else is bfloat16.
        compute_share: part of the datasheet's arithmetic that products reach.
        bandwidth_share: part of the datasheet's bandwidth that reads reach.
        memory_share: part of the memory that weights and caches may fill.
    """

    weights: str = "bf16"
    compute_share: float = 0.5
    bandwidth_share: float = 0.7
    memory_share: float = 0.9


@dataclass(frozen=True)
class Terms:
    """The terms of the roofline; of one camera and one chunk, unless said otherwise.

    Attributes:
        visual_tokens: of all its frames.
        prefill_tokens: visual tokens and turns.
        cache_tokens: in the KV cache: the head, the old text, the chunks of the vision window.
        decode_steps: forward passes for a word each; the first word comes out of the prefill.
        weight_bytes: of the whole model.
        text_weight_bytes: what one pass of the language model reads of them.
        vision_weight_bytes: what one pass of the vision tower reads.
        kv_bytes_per_token: keys and values.
        camera_bytes: the KV cache with its room for questions, and the un-rotated float32 keys of the head
            and all text beside it.
        vision_flops: of the vision tower.
        prefill_layer_flops: of the prefill's products with layers' weights.
        prefill_other_flops: of its attention, and the head for its last token.
        decode_layer_flops: of one step's products with layers' weights.
        decode_other_flops: of its attention and the head.
    """

    visual_tokens: int
    prefill_tokens: int
    cache_tokens: int
    decode_steps: int
    weight_bytes: int
    text_weight_bytes: int
    vision_weight_bytes: int
    kv_bytes_per_token: int
    camera_bytes: int
    vision_flops: int
    prefill_layer_flops: int
    prefill_other_flops: int
    decode_layer_flops: int
    decode_other_flops: int


@dataclass(frozen=True)
class ChunkTime:
    """Seconds that one chunk of each of some cameras takes, all in one batch."""

    vision_s: float
    prefill_s: float
    decode_s: float

    @property
    def total_s(self) -> float:
        """The whole chunk."""
        return self.vision_s + self.prefill_s + self.decode_s


@dataclass(frozen=True)
class Plan:
    """What a GPU should hold.

    Attributes:
        cameras: most cameras in real time, 0 if not even one.
        limit: what forbids one more: "time" or "memory".
        by_time: cameras that time would allow.
        by_memory: cameras that memory would allow.
        alone: one camera's chunk.
        full: a chunk of all `cameras`; of one, if there are none.
        frames_per_s: frames understood each second when batches of `cameras` follow each other without pause.
    """

    cameras: int
    limit: str
    by_time: int
    by_memory: int
    alone: ChunkTime
    full: ChunkTime
    frames_per_s: float


def terms_of(
    shape: Shape,
    config: StreamConfig,
    patch_tokens: int,
    weights: str = "bf16",
    turn_tokens: int = TURN_TOKENS,
    head_tokens: int = HEAD_TOKENS,
) -> Terms:
    """The terms for a model and a stream's settings, policy streaming.

    Args:
        shape: the model.
        config: windows, chunk_s, fps and max_new_tokens of each camera.
        patch_tokens: visual tokens of one temporal patch, which is two frames.
        weights: one of WEIGHTS.
        turn_tokens: of a chunk's two turns.
        head_tokens: of the head, without old text.
    """
    patches_in_time = -(-round(config.chunk_s * config.fps) // FRAMES_PER_PATCH)
    visual = patch_tokens * patches_in_time
    prefill = visual + turn_tokens
    text = config.text_sink_tokens + config.text_window_tokens
    chunk = prefill + config.max_new_tokens
    cache = head_tokens + text + config.window_chunks * chunk
    layers, kv = shape.layers * shape.layer_weights, shape.kv_bytes_per_token(_BF16_BYTES)
    layer_bytes = layers * (_BF16_BYTES if weights == "bf16" else 1)
    vision = shape.matrix_weights - layers
    attend = 4 * shape.layers * shape.heads * shape.head_dim  # operations for a query and a key
    asked = config.window_chunks * config.max_query_tokens  # room that is kept for questions
    spoken = head_tokens + text + config.window_chunks * config.max_new_tokens
    return Terms(
        visual_tokens=visual,
        prefill_tokens=prefill,
        cache_tokens=cache,
        decode_steps=config.max_new_tokens - 1,
        weight_bytes=(shape.parameters - layers) * _BF16_BYTES + layer_bytes,
        text_weight_bytes=layer_bytes + shape.head_weights * _BF16_BYTES,
        vision_weight_bytes=vision * _BF16_BYTES,
        kv_bytes_per_token=kv,
        camera_bytes=(cache + asked + spoken) * kv,  # a float32 key is as large as a bfloat16 key and value
        vision_flops=patches_in_time * _vision_flops(shape, patch_tokens),
        prefill_layer_flops=2 * prefill * layers,
        prefill_other_flops=attend * prefill * cache + 2 * shape.head_weights,
        decode_layer_flops=2 * layers,
        decode_other_flops=attend * cache + 2 * shape.head_weights,
    )


def chunk_time(gpu: Gpu, terms: Terms, assumed: Assumptions, cameras: int) -> ChunkTime:
    """How long a chunk of each of `cameras` cameras takes, every pass in one batch of all."""
    flops = gpu.bf16_flops * assumed.compute_share
    eight_bit = gpu.fp8_flops if assumed.weights == "fp8" and gpu.fp8_flops else gpu.bf16_flops
    layer_flops, bandwidth = eight_bit * assumed.compute_share, gpu.bandwidth * assumed.bandwidth_share
    read_s = (terms.text_weight_bytes + cameras * terms.cache_tokens * terms.kv_bytes_per_token) / bandwidth
    vision_s = cameras * terms.vision_flops / flops
    prefill_s = cameras * (terms.prefill_layer_flops / layer_flops + terms.prefill_other_flops / flops)
    step_s = cameras * (terms.decode_layer_flops / layer_flops + terms.decode_other_flops / flops)
    return ChunkTime(
        max(vision_s, terms.vision_weight_bytes / bandwidth),
        max(prefill_s, read_s),
        terms.decode_steps * max(step_s, read_s),
    )


def plan(gpu: Gpu, terms: Terms, assumed: Assumptions, config: StreamConfig) -> Plan:
    """The most cameras that are understood as fast as they see: a chunk of each within `config.chunk_s`."""
    free_bytes = gpu.memory_bytes * assumed.memory_share - terms.weight_bytes
    by_memory = max(0, int(free_bytes // terms.camera_bytes))
    by_time = _most(lambda cameras: chunk_time(gpu, terms, assumed, cameras).total_s <= config.chunk_s)
    cameras = min(by_time, by_memory)
    batch = max(1, cameras)
    full = chunk_time(gpu, terms, assumed, batch)
    return Plan(
        cameras,
        "memory" if by_memory < by_time else "time",
        by_time,
        by_memory,
        chunk_time(gpu, terms, assumed, 1),
        full,
        batch * config.chunk_s * config.fps / full.total_s,
    )


def _vision_flops(shape: Shape, tokens: int) -> int:
    """One temporal patch through the vision tower: products, and attention over windows or whole pictures."""
    patches = PATCHES_PER_TOKEN * tokens
    products = 2 * patches * (shape.patch_weights + shape.vision_depth * shape.vision_block_weights)
    products += 2 * tokens * shape.merger_weights
    windowed = shape.vision_depth - len(shape.vision_full)
    keys = len(shape.vision_full) * patches + windowed * min(patches, (WINDOW_PX // PATCH_PX) ** 2)
    return products + 4 * patches * shape.vision_hidden * keys


def _most(fits: Callable[[int], bool]) -> int:
    """The largest number that fits, given that all smaller ones do; 0 if none."""
    low, high = 0, 1
    while high < _MOST_CAMERAS and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
