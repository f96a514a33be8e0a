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

"""The plan's arithmetic: by hand, against operations that torch counts, and against a running stream."""

from __future__ import annotations

from dataclasses import replace

import pytest
from svlm_core.bench.gpus import find_gpu, Gpu, GPUS
from svlm_core.bench.kernels import ChunkSizes
from svlm_core.bench.plan import Assumptions, chunk_time, plan, terms_of
from svlm_core.bench.shapes import Shape, SHAPES
from svlm_core.bench.workload import NoiseCamera, Talker
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.session import StreamSession
from torch.utils.flop_counter import FlopCounterMode

BY_HAND = Shape(
    name="by hand",
    hidden=8,
    layers=2,
    heads=4,
    kv_heads=2,
    ffn=16,
    vocabulary=100,
    tied=False,
    mrope=(1, 0, 0),
    rope_theta=1e4,
    max_positions=1000,
    vision_hidden=4,
    vision_depth=3,
    vision_heads=2,
    vision_ffn=8,
    vision_full=(2,),
    frame_px=(280, 280),
)
SETTINGS = StreamConfig(vision_window_s=2.0, text_sink_tokens=3, text_window_tokens=7, max_new_tokens=5)
# q and o 8 x 8, k and v 8 x 4, three times 8 x 16
LAYERS = 2 * (2 * 64 + 2 * 32 + 3 * 128)
# a patch is 3 channels x 2 frames x 14 x 14 values; a block has four times 4 x 4 and three times 4 x 8, the
# merger 16 x 16 and 16 x 8
VISION = 1176 * 4 + 3 * (64 + 96) + 256 + 128
SLOW = Gpu("slow", 1e9, 1e6, 1e9, 2e9, "made up")
ALL = Assumptions(compute_share=1.0, bandwidth_share=1.0, memory_share=1.0)


def test_terms_by_hand() -> None:
    terms = terms_of(BY_HAND, SETTINGS, 100, turn_tokens=20, head_tokens=10)
    assert (terms.visual_tokens, terms.prefill_tokens, terms.decode_steps) == (100, 120, 4)
    assert terms.cache_tokens == 10 + 10 + 2 * 125 == 270
    assert terms.kv_bytes_per_token == 2 * 2 * 2 * 2 * 2  # k and v, layers, heads, channels, bytes
    spoken = 10 + 10 + 2 * 5
    asked = 2 * SETTINGS.max_query_tokens
    float32_bytes = spoken * 2 * 2 * 2 * 4  # layers, heads, channels
    assert terms.camera_bytes == (270 + asked) * 32 + float32_bytes
    assert terms.text_weight_bytes == 2 * (LAYERS + 800)
    assert terms.vision_weight_bytes == 2 * VISION
    assert terms.prefill_layer_flops == 2 * 120 * LAYERS
    assert terms.prefill_other_flops == 2 * 800 + 2 * 2 * (120 * 270) * 8 * 2  # q k and p v; hidden 8; layers
    assert terms.decode_layer_flops == 2 * LAYERS
    assert terms.decode_other_flops == 2 * 800 + 2 * 2 * 270 * 8 * 2
    attended = 400 * (400 + 2 * 64)  # one block over the whole picture, two over windows of 8 x 8
    products = 2 * 400 * (1176 * 4 + 3 * 160) + 2 * 100 * 384
    assert terms.vision_flops == products + 2 * 2 * attended * 4


def test_smaller_weights_leave_the_rest_as_it_is() -> None:
    bf16, int8 = (terms_of(BY_HAND, SETTINGS, 100, weights) for weights in ("bf16", "int8"))
    assert bf16.weight_bytes == 2 * BY_HAND.parameters
    assert bf16.weight_bytes - int8.weight_bytes == bf16.text_weight_bytes - int8.text_weight_bytes == LAYERS
    assert replace(int8, weight_bytes=bf16.weight_bytes, text_weight_bytes=bf16.text_weight_bytes) == bf16


def test_times_by_hand() -> None:
    terms = terms_of(BY_HAND, SETTINGS, 100)
    three = chunk_time(SLOW, terms, ALL, 3)
    assert three.vision_s == pytest.approx(3 * terms.vision_flops / 1e9)  # arithmetic decides
    read_s = (terms.text_weight_bytes + 3 * terms.cache_tokens * 32) / 1e6  # here memory does
    assert three.prefill_s == pytest.approx(read_s)
    assert three.decode_s == pytest.approx(4 * read_s)
    assert three.total_s == three.vision_s + three.prefill_s + three.decode_s


def test_eight_bit_products_are_faster_where_the_gpu_has_them() -> None:
    starved = replace(SLOW, bandwidth=1e15)
    terms = terms_of(BY_HAND, SETTINGS, 100, "fp8")
    layer_s, other_s = terms.prefill_layer_flops / 1e9, terms.prefill_other_flops / 1e9
    for weights, fp8_flops, seconds in (
        ("fp8", 2e9, layer_s / 2 + other_s),
        ("fp8", None, layer_s + other_s),
        ("int8", 2e9, layer_s + other_s),
    ):
        gpu, assumed = replace(starved, fp8_flops=fp8_flops), replace(ALL, weights=weights)
        assert chunk_time(gpu, terms, assumed, 1).prefill_s == pytest.approx(seconds)


@pytest.mark.parametrize("name", GPUS)
def test_the_plan_holds_all_its_cameras_and_not_one_more(name: str) -> None:
    gpu, assumed, config = GPUS[name], Assumptions(), StreamConfig()
    terms = terms_of(SHAPES["3b"], config, 256)
    planned = plan(gpu, terms, assumed, config)

    def fits(cameras: int) -> bool:
        seconds = chunk_time(gpu, terms, assumed, cameras).total_s
        filled = terms.weight_bytes + cameras * terms.camera_bytes
        return seconds <= config.chunk_s and filled <= assumed.memory_share * gpu.memory_bytes

    assert planned.cameras == 0 or fits(planned.cameras)
    assert not fits(planned.cameras + 1)
    assert planned.cameras == min(planned.by_time, planned.by_memory)


def test_memory_is_named_where_it_forbids_more() -> None:
    terms = terms_of(BY_HAND, SETTINGS, 100)
    small = replace(SLOW, bandwidth=1e12, memory_bytes=terms.weight_bytes + 2.5 * terms.camera_bytes)
    assert (plan(small, terms, ALL, SETTINGS).cameras, plan(small, terms, ALL, SETTINGS).limit) == (
        2,
        "memory",
    )
    smaller = replace(small, memory_bytes=terms.weight_bytes - 1)
    assert plan(smaller, terms, ALL, SETTINGS).cameras == 0


def test_operations_and_sizes_are_those_of_a_running_stream(
    tiny: Shape, tiny_model: StreamModel, config: StreamConfig
) -> None:
    session = StreamSession(tiny_model, config, Talker(tiny_model, config))
    camera = NoiseCamera(config, tiny.frame_px)
    for index in range(8):
        session.step(camera.chunk(index))
    with FlopCounterMode(display=False) as counter:  # counts products, not this CPU's attention kernel
        sizes = ChunkSizes.of(session, camera.chunk(8))
    counted = sum(counter.get_flop_counts()["Global"].values())
    turns = sizes.prefill_tokens - 9
    head = sum(len(s.ids) for s in session.context.segments[:2]) + len(session.context.segments[3].ids)
    terms = terms_of(tiny, config, 9, turn_tokens=turns, head_tokens=head)
    windows = (
        4 * 36 * tiny.vision_hidden * tiny.vision_depth * 36
    )  # attention: 36 patches, full in both blocks
    products = terms.vision_flops - windows + terms.prefill_layer_flops + 2 * tiny.head_weights
    products += terms.decode_steps * (terms.decode_layer_flops + 2 * tiny.head_weights)
    assert counted == products
    # the last word of a chunk and the end of its turn are run with the next chunk, and counted in `turns`
    assert 0 <= terms.cache_tokens - sizes.cache_tokens <= config.window_chunks + turns
    arena = session.context.arena
    assert arena.size_bytes == arena.capacity * tiny.kv_bytes_per_token(4)
    assert tiny.kv_bytes_per_token(4) == 2 * terms.kv_bytes_per_token


def test_an_unknown_gpu_lists_the_known_ones() -> None:
    assert find_gpu("H100") is GPUS["h100"]
    with pytest.raises(ConfigError, match="--gpu b9: not in the table; there are h100, h200, a100"):
        find_gpu("b9")
