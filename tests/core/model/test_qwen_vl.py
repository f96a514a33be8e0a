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

"""The Qwen2-VL and Qwen2.5-VL adapter, against the golden trace and transformers itself."""

from pathlib import Path

import golden
import numpy as np
import pytest
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model
import torch


def test_vision_tokens_are_the_references(golden_model: StreamModel, golden_t3: golden.Trace) -> None:
    with torch.inference_mode():
        tokens = golden_model.encode_vision(golden_model.preprocess(golden.frames(0), 100, 768))
    np.testing.assert_allclose(tokens.numpy(), golden_t3.vision0, atol=2e-5)


def test_logits_are_the_references(golden_model: StreamModel, golden_t3: golden.Trace) -> None:
    chunk = golden_t3.chunks[0]
    ids = torch.from_numpy(np.concatenate([chunk.ids, chunk.new[:4]]))
    visual = ids == golden_model.video_token_id
    with torch.inference_mode():
        embeds = golden_model.embed(ids)
        embeds[visual] = golden_model.encode_vision(golden_model.preprocess(golden.frames(0), 100, 768))
        hidden = golden_model.hidden(embeds[None], torch.from_numpy(chunk.pos)[:, None])
        logits = golden_model.head(hidden[0, len(chunk.ids) - 1 :])
    assert logits.dtype == torch.float32
    np.testing.assert_allclose(logits[:, :: golden.LOGITS_STEP].numpy(), chunk.raw, atol=2e-4)
    np.testing.assert_allclose(
        logits.gather(1, torch.from_numpy(chunk.top_i)).numpy(), chunk.top_v, atol=2e-4
    )
    np.testing.assert_allclose(logits.logsumexp(-1).numpy(), chunk.lse, atol=2e-4)


def test_vision_positions_are_the_references(golden_model: StreamModel, golden_t3: golden.Trace) -> None:
    chunk = golden_t3.chunks[0]
    visual = np.flatnonzero(chunk.ids == golden_model.video_token_id)
    base = chunk.pos[0, visual[0] - 1] + 1
    positions = golden_model.vision_positions((1, 20, 20), base, 1.0)
    np.testing.assert_array_equal(positions.numpy(), chunk.pos[:, visual])
    assert chunk.pos[0, visual[-1] + 1] == base + golden_model.vision_extent((1, 20, 20), 1.0)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
@pytest.mark.parametrize("grid", [(1, 6, 6), (2, 4, 8), (3, 8, 4)])
def test_positions_are_transformers_own(
    random_checkpoints: dict[str, Path], family: str, grid: tuple[int, int, int]
) -> None:
    model = load_model(str(random_checkpoints[family]))
    step_s = 0.5  # one position for Qwen2.5-VL at two tokens per second; Qwen2-VL counts without a clock
    block = model.vision_positions(grid, 3.0, step_s)
    ids = torch.tensor([[1, 2, 3, *[model.video_token_id] * block.shape[1], 4, 5]])
    expected, _ = model.hf.model.get_rope_index(
        ids,
        torch.where(ids == model.video_token_id, 2, 0),
        video_grid_thw=torch.tensor([grid]),
        second_per_grid_ts=torch.tensor([step_s]),
    )
    torch.testing.assert_close(block.long(), expected[:, 0, 3:-2])
    assert expected[:, 0, -2].tolist() == [3 + model.vision_extent(grid, step_s)] * 3


def test_a_long_block_advances_by_its_time_and_keeps_fractions(random_checkpoints: dict[str, Path]) -> None:
    timed = load_model(str(random_checkpoints["qwen2_5_vl"]))
    assert timed.vision_positions((3, 2, 2), 10.0, 0.4)[0].tolist() == pytest.approx([10.0, 10.8, 11.6])
    assert timed.vision_extent((3, 2, 2), 0.4) == pytest.approx(2.6)
    assert timed.vision_extent((3, 8, 2), 0.4) == 4
    counted = load_model(str(random_checkpoints["qwen2_vl"]))
    assert counted.vision_positions((3, 2, 2), 10.0, 0.4)[0].tolist() == [10, 11, 12]
    assert counted.vision_extent((3, 2, 2), 0.4) == 3
