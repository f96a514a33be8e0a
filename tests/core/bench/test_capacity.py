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
from svlm_core.bench.capacity import measure_capacity
from svlm_core.bench.shapes import Shape
from svlm_core.config import StreamConfig
from svlm_core.errors import CacheFullError
from svlm_core.model.adapter import StreamModel


def test_figures_of_each_number_of_cameras(
    tiny: Shape, tiny_model: StreamModel, config: StreamConfig
) -> None:
    slow = replace(config, chunk_s=60.0, vision_window_s=120.0, fps=0.1, max_new_tokens=2)
    progress = Silent()
    figures = measure_capacity(tiny_model, tiny, slow, [1, 3], 2, stop_when_late=True, progress=progress)
    assert progress.updates == 2
    assert [row["cameras"] for row in figures["cameras"]] == [1, 3]
    for row in figures["cameras"]:
        for way in (row["batched"], row["in_turn"]):
            assert 0 < way["p50_ms"] <= way["p95_ms"] <= way["p99_ms"]
            assert way["chunks_per_s"] > 0
        assert row["speedup"] > 0 < row["bare_speedup"]
        assert row["held"], "no chunk of this model takes a minute"
    assert (figures["held"], figures["interrupted"]) == (3, False)


def test_it_ends_with_the_first_number_that_is_late(
    tiny: Shape, tiny_model: StreamModel, config: StreamConfig
) -> None:
    hasty = replace(config, chunk_s=0.1, vision_window_s=0.1, fps=20.0, max_new_tokens=200)
    figures = measure_capacity(tiny_model, tiny, hasty, [1, 2], 1, stop_when_late=True, progress=Silent())
    assert [row["held"] for row in figures["cameras"]] == [False], "200 words within 0.1 s"
    assert figures["held"] == 0


def test_ctrl_c_keeps_the_numbers_that_are_done(
    tiny: Shape, tiny_model: StreamModel, config: StreamConfig
) -> None:
    progress = Silent(interrupt_at=1)
    figures = measure_capacity(tiny_model, tiny, config, [1, 2], 1, stop_when_late=False, progress=progress)
    assert figures["interrupted"]
    assert [row["cameras"] for row in figures["cameras"]] == [1]


def test_settings_that_cannot_work_are_an_error(
    tiny: Shape, tiny_model: StreamModel, config: StreamConfig
) -> None:
    wide = replace(config, text_window_tokens=5000)
    with pytest.raises(CacheFullError, match="knows only 4096 positions"):
        measure_capacity(tiny_model, tiny, wide, [1], 1, stop_when_late=False, progress=Silent())
