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

from __future__ import annotations

from dataclasses import replace

import pytest
from silent_progress import Silent
from svlm_core.bench.kernels import BareModel, ChunkSizes, run_ms
from svlm_core.bench.limit import measure_limit, STAGES
from svlm_core.bench.shapes import Shape
from svlm_core.bench.workload import filled, NoiseCamera, Talker
from svlm_core.config import StreamConfig
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.session import StreamSession
from torch.utils.flop_counter import FlopCounterMode


def operations(counter: FlopCounterMode) -> int:
    """Of matrix products; attention on this CPU is not counted by torch."""
    return sum(counter.get_flop_counts().get("Global", {}).values())


def test_the_bare_products_are_those_of_the_real_chunk(
    tiny: Shape, tiny_model: StreamModel, config: StreamConfig
) -> None:
    session = StreamSession(tiny_model, config, Talker(tiny_model, config))
    camera = NoiseCamera(config, tiny.frame_px)
    session.step(camera.chunk(0))
    with FlopCounterMode(display=False) as real:
        sizes = ChunkSizes.of(session, camera.chunk(1))
    bare = BareModel(tiny_model, tiny)
    for cameras in (1, 3):
        counted = library = 0
        for (stage, kind), (kernels, times) in bare.chunk(sizes, session.context.arena, cameras).items():
            with FlopCounterMode(display=False) as counter:
                assert run_ms(kernels, tiny_model.device, times) > 0
            if kind == "library":
                library = operations(counter)
                continue
            counted += operations(counter)
            assert (operations(counter) > 0) == (kind == "kernels")
            if (stage, kind) == ("decode", "kernels"):
                own = operations(counter)
        assert own == library > 0, "decode's products and the library's are not the same"
        assert counted == cameras * operations(real)


def test_the_bare_attention_sees_what_the_real_one_sees(
    tiny: Shape, tiny_model: StreamModel, config: StreamConfig
) -> None:
    session = StreamSession(tiny_model, config, Talker(tiny_model, config))
    sizes = ChunkSizes.of(session, NoiseCamera(config, (56, 196)).chunk(0))
    assert sizes.grid == (1, 4, 14)
    kernels = BareModel(tiny_model, tiny).chunk(sizes, session.context.arena)
    prefill, times = kernels["prefill", "attention"]
    assert (len(prefill), times) == (tiny.layers, 1)
    q, keys, values, mask = prefill[0].args  # type: ignore[attr-defined]
    assert keys.shape == values.shape == (1, 2, sizes.prefill_tokens, 32)
    assert q.shape == (1, 2, 2 * sizes.prefill_tokens, 32)
    assert (mask == 0).sum() == 2 * sum(range(1, sizes.prefill_tokens + 1)), (
        "causal, once for each head of a group"
    )
    step, times = kernels["decode", "attention"]
    assert times == sizes.decode_steps == 3
    assert step[0].args[0].shape == (1, 2, 2, 32)  # type: ignore[attr-defined]


def test_a_window_of_vision_may_be_narrower_at_the_edge(tiny_model: StreamModel, tiny: Shape) -> None:
    windowed = BareModel(tiny_model, replace(tiny, vision_full=(1,)))
    kernels = windowed._vision_attention((2, 6, 14))
    patches = [[kernel.args[0].shape[2] for kernel in block] for block in kernels]
    assert patches == [[48, 36, 48, 36], [84, 84]]


def test_the_figures_add_up(tiny: Shape, tiny_model: StreamModel, config: StreamConfig) -> None:
    progress = Silent()
    figures = measure_limit(tiny_model, tiny, config, 3, progress)
    assert progress.updates == config.window_chunks + 3
    assert list(figures["stages"]) == [*STAGES, "chunk"]
    for row in figures["stages"].values():
        parts = row["products_ms"] + row["attention_ms"] + row["rest_ms"]
        assert row["real_ms"] == pytest.approx(parts, abs=1e-3)
    chunk = figures["stages"].pop("chunk")
    assert chunk["real_ms"] == pytest.approx(sum(r["real_ms"] for r in figures["stages"].values()), abs=1e-3)
    assert chunk["rest_share"] == pytest.approx(
        sum(r["rest_share"] for r in figures["stages"].values()), abs=1e-3
    )
    assert figures["stages"]["cache"]["products_ms"] == 0
    decode = figures["stages"]["decode"]
    kernels_ms = decode["products_ms"] + decode["attention_ms"]
    assert figures["decode_of_kernels"] == pytest.approx(kernels_ms / decode["real_ms"], abs=1e-3)
    assert figures["decode_of_products"] > 0
    assert figures["read_gb_per_s"] > 0
    assert (figures["decode_steps"], figures["grid"]) == (3, (1, 6, 6))


def test_a_filled_stream_begins_with_its_old_text(tiny_model: StreamModel, config: StreamConfig) -> None:
    text = filled(config, tiny_model).previous_text
    assert len(tiny_model.tokenizer.encode(text, add_special_tokens=False)) == 16
