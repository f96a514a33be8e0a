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

from hypothesis import given
from hypothesis import strategies as st
import pytest
from svlm_core.offload.rates import RateLimit


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    limit = RateLimit(per_s=2.0, burst=3.0)
    assert [limit.take(1, 100.0) for _ in range(4)] == [True, True, True, False]
    assert not limit.take(1, 100.4)
    assert limit.take(1, 100.5) and not limit.take(1, 100.5)


def test_what_is_refused_takes_nothing() -> None:
    limit = RateLimit(per_s=1.0, burst=2.0)
    assert not limit.take(3, 0.0) and limit.take(2, 0.0)


@pytest.mark.parametrize("numbers", [(0.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)])
def test_a_limit_that_lets_nothing_through_is_a_mistake(numbers: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        RateLimit(*numbers)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3)), max_size=60), st.floats(0.1, 9), st.floats(0.1, 9)
)
def test_no_stretch_of_time_sees_more_than_burst_and_rate(
    takes: list[tuple[float, float]], per_s: float, burst: float
) -> None:
    limit, now_s, taken = RateLimit(per_s, burst), 0.0, []
    for amount, pause_s in takes:
        now_s += pause_s
        if limit.take(amount, now_s):
            taken.append((now_s, amount))
    for first, (since_s, _) in enumerate(taken):
        for last in range(first, len(taken)):
            total = sum(amount for _, amount in taken[first : last + 1])
            assert total <= burst + per_s * (taken[last][0] - since_s) + 1e-6


@given(st.lists(st.floats(0, 100), max_size=30))
def test_a_clock_that_goes_back_gives_nothing_away(times_s: list[float]) -> None:
    limit = RateLimit(per_s=1.0, burst=1.0)
    granted = sum(limit.take(1, now_s) for now_s in sorted(times_s, reverse=True))
    assert granted <= 1
