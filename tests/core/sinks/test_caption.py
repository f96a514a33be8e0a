import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from svlm_core.sinks.caption import LINES, CaptionStrip

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
