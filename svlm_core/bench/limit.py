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

"""A chunk against the machine: what its matrix products and attention must cost, and where the rest goes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from svlm_core.bench.efficiency import Progress
from svlm_core.bench.kernels import BareModel, ChunkSizes, read_bytes_per_s, run_ms
from svlm_core.bench.shapes import Shape
from svlm_core.bench.workload import filled, NoiseCamera, Talker
from svlm_core.config import StreamConfig
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.session import StreamSession

STAGES = ("preprocess", "vision", "cache", "prefill", "decode")


def measure_limit(
    model: StreamModel, shape: Shape, config: StreamConfig, rounds: int, progress: Progress
) -> dict[str, Any]:
    """Run a full stream's chunk and the bare kernels of that chunk in turn, `rounds` times; medians.

    Args:
        model: the model.
        shape: its geometry.
        config: the settings of the stream.
        rounds: chunks measured, after as many as the vision window holds.
        progress: counts chunks.

    Returns:
        stages: for each of STAGES and "chunk": real_ms, products_ms, attention_ms, rest_ms (what is neither)
            and rest_share (of the whole chunk). Products and attention run in the order of a real pass;
            attention is also run by itself, and what is left of both together counts as products.
        decode_of_products: the decode stage's bare products, as torch's linear layers do them, over its real
            time. 1 would be decoding without overhead; above 1, the engine's products are faster than those.
        decode_of_kernels: the products and attention that the engine runs, over the real time.
        decode_of_memory: time that reading weights and cache takes at read_gb_per_s, over the real time.
        read_gb_per_s: memory bandwidth, measured in the same run.
        grid, prefill_tokens, decode_steps, cache_tokens: the chunk's sizes.
    """
    camera = NoiseCamera(config, shape.frame_px)
    config = filled(config, model)
    session = StreamSession(model, config, Talker(model, config))
    for index in range(config.window_chunks):
        sizes = ChunkSizes.of(session, camera.chunk(index))
        progress.update(1)
    kernels = BareModel(model, shape).chunk(sizes, session.context.arena)
    real: dict[str, list[float]] = {stage: [] for stage in STAGES}
    bare_ms: dict[tuple[str, str], list[float]] = {name: [] for name in kernels}
    bandwidth = read_bytes_per_s(model.device)
    for index in range(config.window_chunks, config.window_chunks + rounds):
        result = session.step(camera.chunk(index))
        for stage in STAGES:
            real[stage].append(result.stage_ms[stage])
        for name, (calls, times) in kernels.items():
            bare_ms[name].append(run_ms(calls, model.device, times))
        progress.update(1)
    medians = {name: float(np.median(values)) for name, values in bare_ms.items()}
    rows = {
        stage: _row(
            float(np.median(real[stage])),
            medians.get((stage, "kernels"), 0.0),
            medians.get((stage, "attention"), 0.0),
        )
        for stage in STAGES
    }
    rows["chunk"] = {name: sum(row[name] for row in rows.values()) for name in rows["decode"]}
    for row in rows.values():
        row["rest_share"] = row["rest_ms"] / rows["chunk"]["real_ms"]
    bandwidth = max(bandwidth, read_bytes_per_s(model.device))
    decode = rows["decode"]
    size = model.dtype.itemsize
    text_bytes = (shape.layers * shape.layer_weights + shape.head_weights) * size
    read_ms = (
        sizes.decode_steps
        * (text_bytes + sizes.cache_tokens * shape.kv_bytes_per_token(size))
        / bandwidth
        * 1e3
    )
    return {
        "stages": {stage: {name: round(ms, 4) for name, ms in row.items()} for stage, row in rows.items()},
        "decode_of_products": round(medians["decode", "library"] / decode["real_ms"], 4),
        "decode_of_kernels": round((decode["products_ms"] + decode["attention_ms"]) / decode["real_ms"], 4),
        "decode_of_memory": round(read_ms / decode["real_ms"], 4),
        "read_gb_per_s": round(bandwidth / 1e9, 2),
        **asdict(sizes),
    }


def _row(real_ms: float, kernels_ms: float, attention_ms: float) -> dict[str, float]:
    return {
        "real_ms": real_ms,
        "products_ms": kernels_ms - attention_ms,
        "attention_ms": attention_ms,
        "rest_ms": real_ms - kernels_ms,
    }
