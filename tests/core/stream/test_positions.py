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

"""Positions of a run of segments, against transformers' own rule."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from properties import invariant
from svlm_core.cache.segments import HEAD, Role, Segment, VisionSpan
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.positions import place
import torch

STEP_S = 0.5


def text(tokens: int) -> Segment:
    return Segment(Role.SYSTEM, HEAD, [1] * tokens)


def picture(model: StreamModel, before: int, rows: int, columns: int, behind: int) -> Segment:
    tokens = rows * columns
    ids = [2] * before + [model.video_token_id] * tokens + [3] * behind
    return Segment(Role.USER, 0, ids, VisionSpan(before, tokens, (1, 2 * rows, 2 * columns)))


def placed(model: StreamModel, segments: list[Segment], base: float = 0.0) -> tuple[torch.Tensor, float]:
    return place(segments, base, lambda grid, at: model.vision_positions(grid, at, STEP_S))


def test_positions_are_transformers_own(random_model: StreamModel) -> None:
    segments = [
        text(5),
        picture(random_model, 3, 2, 3, 4),
        text(2),
        picture(random_model, 0, 4, 1, 1),
        text(1),
        picture(random_model, 1, 1, 1, 0),
        text(3),
    ]
    positions, following = placed(random_model, segments)
    ids = torch.tensor([[i for segment in segments for i in segment.ids]])
    assert positions.dtype == torch.float32
    if random_model.hf.config.model_type == "smolvlm":  # its decoder counts tokens
        assert torch.equal(positions, torch.arange(ids.shape[1]).expand(3, -1).float())
        assert following == ids.shape[1]
        return
    expected, delta = random_model.hf.model.get_rope_index(
        ids,
        torch.where(ids == random_model.video_token_id, 2, 0),
        video_grid_thw=torch.tensor([segment.vision.grid for segment in segments if segment.vision]),
        second_per_grid_ts=torch.full((3,), STEP_S),
    )
    torch.testing.assert_close(positions, expected[:, 0].float(), rtol=0, atol=0)
    assert following == ids.shape[1] + delta.item()


shapes = st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))


@invariant
@given(
    parts=st.lists(st.integers(0, 4) | shapes, max_size=6),
    cut=st.integers(0, 6),
    base=st.integers(-50, 50),
)
def test_laying_out_in_two_parts_or_elsewhere_changes_no_difference(
    small_model: StreamModel, parts: list[int | tuple[int, int, int, int]], cut: int, base: int
) -> None:
    segments = [text(part) if isinstance(part, int) else picture(small_model, *part) for part in parts]
    whole, end = placed(small_model, segments)
    first, between = placed(small_model, segments[:cut], base)
    second, end_of_second = placed(small_model, segments[cut:], between)
    assert torch.equal(torch.cat([first, second], dim=1), whole + base)
    assert end_of_second == end + base
    assert whole.shape == (3, sum(len(segment.ids) for segment in segments))
    if whole.numel():
        assert end == whole.max() + 1, "the next token does not continue behind everything"


def test_nothing_takes_no_place(small_model: StreamModel) -> None:
    positions, following = placed(small_model, [], 7.0)
    assert positions.shape == (3, 0) and following == 7.0
