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

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from svlm_core.sinks.caption import CaptionStrip, LINES

STRIP = CaptionStrip(336)


@settings(max_examples=50, deadline=None)
@given(st.text("aWi 的.", max_size=120))
def test_no_letter_is_drawn_outside_the_strip(text):
    lines = STRIP.wrap(text)
    assert len(lines) <= LINES
    assert "".join(text.split()).endswith("".join("".join(lines).split()))
    drawn = STRIP.draw(text)
    assert drawn.shape == (STRIP.height_px, 336, 3)
    empty = STRIP.draw("")
    for edge in (np.s_[:2], np.s_[-2:], np.s_[:, :2], np.s_[:, -2:]):
        np.testing.assert_array_equal(drawn[edge], empty[edge])


def test_a_caption_of_three_lines_is_kept_whole_and_the_end_of_a_longer_one():
    words = [
        "the",
        "red",
        "disc",
        "comes",
        "in",
        "from",
        "the",
        "left",
        "and",
        "then",
        "it",
        "stops",
        "right",
        "beside",
        "the",
        "blue",
        "one",
    ]
    assert " ".join(STRIP.wrap(" ".join(words))).split() == words
    kept = " ".join(STRIP.wrap(" ".join(words * 5))).split()
    assert len(words) < len(kept) < 5 * len(words)
    assert kept[-len(words) :] == words


def test_letters_grow_with_the_picture():
    assert CaptionStrip(1920).height_px > 2 * CaptionStrip(640).height_px
    ink = [cv2.countNonZero(CaptionStrip(w).draw("red stops")[..., 0] // 128) for w in (640, 1920)]
    assert ink[1] > 4 * ink[0] > 0
