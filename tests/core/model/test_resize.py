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

"""The size a frame is scaled to."""

import math

from hypothesis import assume, example, given
from hypothesis import strategies as st
import pytest
from svlm_core.errors import SourceError
from svlm_core.model.resize import target_size

sides = st.integers(28, 5000)
budgets = st.tuples(st.integers(1, 800), st.integers(1, 800)).map(sorted)
FACTOR = 28


def tokens(size: tuple[int, int]) -> int:
    return size[0] * size[1] // FACTOR**2


@given(sides, sides, budgets)
@example(28, 5000, [1, 100])  # one row of tokens, cut to the budget
@example(5000, 28, [1, 100])
def test_never_costs_more_than_the_budget_and_is_whole_tokens(
    height: int, width: int, budget: list[int]
) -> None:
    size = target_size(height, width, factor=FACTOR, min_tokens=budget[0], max_tokens=budget[1])
    assert size[0] % FACTOR == size[1] % FACTOR == 0
    assert 1 <= tokens(size) <= budget[1]


@given(sides, sides)
def test_keeps_within_the_default_budget_and_near_the_aspect_ratio(height: int, width: int) -> None:
    assume(max(height, width) <= 10 * min(height, width))
    size = target_size(height, width, factor=FACTOR, min_tokens=100, max_tokens=768)
    assert 100 <= tokens(size) <= 768
    # each side is off by less than one token
    off_by_one = max((side / FACTOR + 1) / (side / FACTOR) for side in size) ** 2
    assert 1 / off_by_one <= (size[0] / size[1]) / (height / width) <= off_by_one


@given(sides, sides, budgets)
def test_scaling_twice_is_scaling_once(height: int, width: int, budget: list[int]) -> None:
    def scale(height: int, width: int) -> tuple[int, int]:
        return target_size(height, width, factor=FACTOR, min_tokens=1, max_tokens=budget[1])

    assert scale(*scale(height, width)) == scale(height, width)


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        ((280, 280), (280, 280)),
        ((480, 640), (476, 644)),
        ((720, 1280), (560, 1008)),
        ((1080, 1920), (560, 1008)),
        ((2160, 3840), (560, 1008)),
        ((100, 100), (280, 280)),
        ((28, 1000), (56, 1680)),
    ],
)
def test_equals_qwens_own_sizes(frame: tuple[int, int], size: tuple[int, int]) -> None:
    assert target_size(*frame, factor=FACTOR, min_tokens=100, max_tokens=768) == size == smart_resize(*frame)


def smart_resize(height: int, width: int) -> tuple[int, int]:
    """The published rule, for the default budget."""
    low, high = 100 * FACTOR**2, 768 * FACTOR**2
    h, w = round(height / FACTOR) * FACTOR, round(width / FACTOR) * FACTOR
    if h * w > high:
        beta = math.sqrt(height * width / high)
        return math.floor(height / beta / FACTOR) * FACTOR, math.floor(width / beta / FACTOR) * FACTOR
    if h * w < low:
        beta = math.sqrt(low / (height * width))
        return math.ceil(height * beta / FACTOR) * FACTOR, math.ceil(width * beta / FACTOR) * FACTOR
    return h, w


def test_refuses_an_elongated_picture() -> None:
    with pytest.raises(
        SourceError, match="5700x28 picture is too elongated: one side may be at most 200 times"
    ):
        target_size(28, 5700, factor=FACTOR, min_tokens=100, max_tokens=768)
