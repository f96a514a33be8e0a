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

from fractions import Fraction
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from svlm_core.errors import SourceError
from svlm_core.sources.clock import FrameClock

RATES = st.sampled_from([Fraction(30000, 1001), Fraction(1000), Fraction(1, 2), Fraction(25)])
BASES = st.sampled_from([Fraction(1, 90_000), Fraction(1, 1000), Fraction(1001, 30000), Fraction(1)])


@settings(deadline=None)
@given(BASES, RATES, st.lists(st.none() | st.integers(-(2**40), 2**40), min_size=1, max_size=20))
def test_stamps_start_at_zero_and_strictly_increase_whatever_the_container_says(time_base, rate, pts):
    clock = FrameClock(time_base, rate, "clip")
    stamps = [clock.stamp_ns(each) for each in pts]
    assert stamps[0] == 0
    assert all(early < late for early, late in itertools.pairwise(stamps))


@settings(deadline=None)
@given(BASES, st.sets(st.integers(-(2**40), 2**40), min_size=1, max_size=20).map(sorted))
def test_stamps_that_advance_are_kept_exactly_even_without_a_rate(time_base, pts):
    clock = FrameClock(time_base, None, "clip")
    assert [clock.stamp_ns(each) for each in pts] == [round((p - pts[0]) * time_base * 10**9) for p in pts]


def test_after_a_jump_back_the_stamps_go_on_one_period_later():
    clock = FrameClock(Fraction(1, 10), Fraction(10), "clip")
    assert [clock.stamp_ns(p) for p in (50, 51, 0, 1, 2)] == [k * 100_000_000 for k in range(5)]


@pytest.mark.parametrize("rate", [None, Fraction(0), Fraction(-1)])
@pytest.mark.parametrize("pts", [None, 7])
def test_without_stamps_and_without_a_rate_the_error_says_so(rate, pts):
    clock = FrameClock(Fraction(1, 10), rate, "clip.mp4")
    clock.stamp_ns(pts)
    with pytest.raises(
        SourceError, match=r"^clip.mp4: the container reports a frame rate of -?\d+ and frame 2 "
    ):
        clock.stamp_ns(pts)
