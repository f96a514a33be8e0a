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

"""Streams of words in order, whatever the file had."""

from __future__ import annotations

from itertools import pairwise
import math

from hypothesis import given
from hypothesis import strategies as st
from svlm_core.data.words import BEYOND_END, in_order, NO_TIME, OUT_OF_ORDER, OVERLAPPING, spread, Word

TIMES = st.one_of(st.floats(-5, 50), st.just(math.nan), st.just(math.inf))
WORDS = st.lists(st.builds(Word, TIMES, TIMES, st.sampled_from(["a", "bb", " c "])), max_size=30)


@given(WORDS)
def test_every_word_is_kept_in_order_or_counted(words: list[Word]) -> None:
    kept, odd = in_order(words, 30.0)
    assert len(kept) + odd[NO_TIME] + odd[BEYOND_END] == len(words)
    ends = [word.end_s for word in kept]
    assert ends == sorted(ends)
    assert all(0 <= word.start_s <= word.end_s <= 30.0 for word in kept)


def test_odd_words_are_counted_by_kind() -> None:
    words = [
        Word(2.0, 3.0, "later"),
        Word(1.0, 2.5, "sooner"),
        Word(math.nan, 4.0, "nan"),
        Word(9.0, 11.0, "beyond"),
    ]
    kept, odd = in_order(words, 10.0)
    assert kept == [Word(1.0, 2.5, "sooner"), Word(2.0, 3.0, "later")]
    assert odd == {OUT_OF_ORDER: 1, OVERLAPPING: 1, NO_TIME: 1, BEYOND_END: 1}


@given(st.floats(0, 1e5), st.floats(0, 100), st.text(max_size=40))
def test_a_phrase_is_spread_over_its_time(start_s: float, length_s: float, text: str) -> None:
    words = spread(start_s, start_s + length_s, text)
    assert [word.text for word in words] == text.split()
    if words:
        assert words[0].start_s == start_s
        assert math.isclose(words[-1].end_s, start_s + length_s)
        assert all(a.end_s == b.start_s for a, b in pairwise(words))
