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

import numpy as np
import pytest
from silent_progress import Silent
from svlm_core.bench.efficiency import Cost, EARLY_CHUNK, Lane, measure_efficiency, summarise
from svlm_core.bench.random_model import build
from svlm_core.bench.shapes import Shape
from svlm_core.bench.workload import NoiseCamera
from svlm_core.config import POLICIES, StreamConfig
from svlm_core.model.adapter import StreamModel


def test_all_policies_run_and_the_one_that_breaks_says_why(
    tiny: Shape, tiny_model: StreamModel, config: StreamConfig
) -> None:
    figures = measure_efficiency(tiny_model, tiny, config, POLICIES, 12, Silent())
    assert list(figures["policies"]) == list(POLICIES)
    assert not figures["interrupted"]
    token_bytes = tiny.kv_bytes_per_token(4)
    for name, policy in figures["policies"].items():
        chunks = len(policy["chunk_ms"])
        assert policy["cache_bytes"] == [tokens * token_bytes for tokens in policy["cache_tokens"]]
        assert len(policy["cache_tokens"]) == chunks
        assert max(policy["cache_bytes"]) <= policy["allocated_bytes"]
        assert min(policy["chunk_ms"]) > 0
        assert set(policy["summary"]["stage_ms"]) == {"preprocess", "vision", "cache", "prefill", "decode"}
        if name == "full":
            assert 0 < chunks < 12
            assert policy["stopped"].startswith("the KV cache is full: ")
            assert policy["allocated_bytes"] == 256 * token_bytes
        else:
            assert (chunks, policy["stopped"]) == (12, None)
    cached = {name: policy["cache_tokens"][8:] for name, policy in figures["policies"].items()}
    assert len(set(cached["streaming"])) == 1, "the cache grows, or the windows are not full yet"
    assert cached["streaming"] == cached["native-positions"]
    assert max(cached["last-frames"]) < min(cached["window"]) + 1 <= max(cached["window"])
    assert max(cached["window"]) == max(cached["window-recompute"]) < cached["streaming"][0]


def test_every_chunk_says_the_same_number_of_words_and_never_ends_its_turn(
    tiny: Shape, tiny_model: StreamModel, config: StreamConfig
) -> None:
    lane, camera = Lane(tiny_model, config, "streaming"), NoiseCamera(config, tiny.frame_px)
    said = [lane.session.step(camera.chunk(index)).token_ids for index in range(6)]
    assert [len(ids) for ids in said] == [config.max_new_tokens] * 6
    assert not {i for ids in said for i in ids} & tiny_model.eos_token_ids


def test_native_positions_leave_what_the_model_was_trained_for(tiny: Shape, config: StreamConfig) -> None:
    model = build(replace(tiny, max_positions=300))
    native, ours = (Lane(model, config, policy) for policy in ("native-positions", "streaming"))
    camera = NoiseCamera(config, tiny.frame_px)
    beyond = []
    for _ in range(20):
        native.step(camera, None)
        ours.step(camera, None)
        beyond.append(native.session.context.next_position > 300)
    assert 0 < beyond.index(True) == native.untrained_at
    assert native.stopped is None, "nothing fails; what it says does"
    assert (ours.untrained_at, ours.stopped) == (None, None)


def test_a_policy_that_is_too_slow_has_broken(
    tiny: Shape, tiny_model: StreamModel, config: StreamConfig
) -> None:
    figures = measure_efficiency(tiny_model, tiny, config, ["streaming"], 12, Silent(), stop_ms=1e-6)
    (policy,) = figures["policies"].values()
    assert len(policy["chunk_ms"]) == 5
    assert policy["stopped"].endswith("more than 1e-06 ms")


def test_ctrl_c_keeps_what_was_measured(tiny: Shape, tiny_model: StreamModel, config: StreamConfig) -> None:
    figures = measure_efficiency(tiny_model, tiny, config, ["streaming", "full"], 12, Silent(interrupt_at=3))
    assert figures["interrupted"]
    assert [len(policy["chunk_ms"]) for policy in figures["policies"].values()] == [3, 3]


def test_settings_that_cannot_work_stop_a_policy_before_its_first_chunk(
    tiny: Shape, tiny_model: StreamModel, config: StreamConfig
) -> None:
    wide = replace(config, text_window_tokens=5000)
    figures = measure_efficiency(tiny_model, tiny, wide, ["streaming"], 3, Silent())
    (policy,) = figures["policies"].values()
    assert (policy["chunk_ms"], policy["summary"]) == ([], {})
    assert "knows only 4096 positions" in policy["stopped"]


def costs(*ms: float) -> list[Cost]:
    return [Cost(value, 10, {"decode": value / 2}) for value in ms]


def test_summary_of_a_long_run() -> None:
    old = np.concatenate([np.full(EARLY_CHUNK, 9.0), np.full(100, 2.0), np.full(800, 5.0), np.full(100, 3.0)])
    young = np.concatenate([np.full(EARLY_CHUNK, 9.0), np.full(100, 4.0)])
    summary = summarise(costs(*old), young, np.full(1100, 1.5))
    assert (summary["early_ms"], summary["late_ms"], summary["late_over_early"]) == (2.0, 3.0, 1.5)
    assert summary["old_over_young"] == 0.75, "of the same rounds"
    assert summary["over_reference"] == 2.0
    assert summary["p50_ms"] == 5.0, "chunks whose windows are not full do not count"
    assert summary["stage_ms"] == {"decode": 1.5}
    assert summary["span"] == 100


def test_summary_of_a_run_too_short_for_ages() -> None:
    summary = summarise(costs(4.0, 1.0, 2.0), np.empty(0), np.array([2.0, 2.0]))
    none = ("early_ms", "late_over_early", "old_over_young", "over_reference")
    assert [summary[key] for key in none] == [None] * 4
    assert (summary["p50_ms"], summary["late_ms"]) == (2.0, 2.0)


@pytest.mark.parametrize("beside", [3, 7])
def test_a_policy_is_compared_at_its_own_chunks(beside: int) -> None:
    reference = np.array([1.0, 2.0, 4.0, 99.0, 99.0, 99.0, 99.0])[:beside]
    summary = summarise(costs(2.0, 4.0, 8.0), np.empty(0), reference)
    assert summary["over_reference"] == 2.0
