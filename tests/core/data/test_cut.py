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

"""How words become samples."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
import pytest
from svlm_core.data.cut import cut, CutSettings, TOO_FEW_WORDS, TOO_SHORT
from svlm_core.data.figures import silence_s, Statistics
from svlm_core.data.split import is_held_out
from svlm_core.data.words import in_order, joined, Word
from svlm_core.errors import ConfigError

TIMES = st.integers(0, 120_000).map(lambda ms: ms / 1000)
WORDS = st.lists(TIMES, max_size=80).map(
    lambda ends: in_order([Word(max(0.0, end - 0.2), end, f"w{n}") for n, end in enumerate(ends)])[0]
)


@given(WORDS, st.integers(0, 4), st.floats(1, 130))
def test_samples_overlap_and_carry_all_that_was_said(
    words: list[Word], min_words: int, length_s: float
) -> None:
    settings = CutSettings(24.0, 12.0, min_words)
    rejected: Counter[str] = Counter()
    samples = list(cut("v.mp4", words, length_s, settings, rejected))
    windows = int((length_s - 24) / 12 + 1e-6) + 1 if length_s >= 24 else 0
    assert len(samples) + rejected[TOO_FEW_WORDS] == windows
    assert rejected[TOO_SHORT] == (windows == 0)
    for sample in samples:
        assert sample.end_s - sample.start_s == 24.0
        assert sample.start_s % 12 == 0
        assert sample.end_s <= length_s + 1e-3
        inside = tuple(w for w in words if sample.start_s < w.end_s <= sample.end_s)
        assert sample.words == inside
        assert len(inside) >= min_words
        assert sample.previous == joined([w for w in words if w.end_s <= sample.start_s])


def test_of_a_long_past_the_first_and_the_last_words_are_kept() -> None:
    words = [Word(n, n + 0.5, str(n)) for n in range(100)]
    settings = CutSettings(10.0, 0.0, 1, previous_words=3)
    last = list(cut("v", words, 100.0, settings, Counter()))[-1]
    assert last.previous == "0 1 2 87 88 89"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ((0.0, 0.0), "window_s"),
        ((float("nan"), 0.0), "window_s"),
        ((24.0, 24.0), "overlap_s"),
        ((24.0, -1.0), "overlap_s"),
        ((24.0, 12.0, -1), "min_words"),
        ((24.0, 12.0, 1, -1), "previous_words"),
    ],
)
def test_wrong_settings_name_their_field(values: tuple[float, ...], field: str) -> None:
    with pytest.raises(ConfigError, match=f"^{field} "):
        CutSettings(*values)  # type: ignore[arg-type]


def test_the_split_is_by_video_and_stays_when_videos_are_added() -> None:
    names = [f"match{n}.mp4" for n in range(2000)]
    held_out = {name for name in names if is_held_out(name, 0.1)}
    assert 150 < len(held_out) < 250
    assert held_out < {name for name in names if is_held_out(name, 0.2)}
    assert not any(is_held_out(name, 0.0) for name in names)


def test_statistics_are_those_of_a_count_by_hand() -> None:
    words = [Word(1.0, 2.0, "a"), Word(2.5, 3.0, "b"), Word(8.0, 9.5, "c")]
    (sample,) = cut("v", words, 10.0, CutSettings(10.0, 0.0, 1), Counter())
    assert silence_s(sample) == 5.0
    figures = Statistics().add_all([sample]).as_json()
    assert figures["samples"] == figures["videos"] == 1
    assert figures["words"] == 3
    assert figures["silent_rounds_share"] == 0.7
    assert figures["longest_silence_s"] == {"p5": 5.0, "p50": 5.0, "p95": 5.0}
    assert Statistics().as_json()["words_per_s"] is None
