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
import pytest
from svlm_core.errors import SourceError
from svlm_core.sources.folder import ImageFolder, natural_key


def save(folder, name, value=0, size=(64, 48)):
    cv2.imwrite(str(folder / name), np.full((size[1], size[0], 3), value, np.uint8))


def test_pictures_come_in_natural_order_at_the_given_rate(tmp_path):
    for value, name in enumerate(("img_1.png", "img_2.JPG", "img_10.bmp", "img_11.webp")):
        save(tmp_path, name, 40 * value)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".img_0.png").write_text("not a picture")
    source = ImageFolder(tmp_path, fps=4.0)
    frames = list(source)
    assert [frame.stamp_ns for frame in frames] == [0, 250_000_000, 500_000_000, 750_000_000]
    np.testing.assert_allclose([frame.rgb.mean() for frame in frames], [0, 40, 80, 120], atol=2)
    assert (source.frames_total, source.fps, source.live, source.name) == (4, 4.0, False, tmp_path.name)


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**12), unique=True), st.text("ab_-", max_size=4))
def test_numbers_in_names_sort_by_value(numbers, prefix):
    names = sorted((f"{prefix}{number}.png" for number in numbers), key=natural_key)
    assert names == [f"{prefix}{number}.png" for number in sorted(numbers)]


@settings(deadline=None)
@given(st.lists(st.text("aB01_", max_size=6), unique=True))
def test_the_order_does_not_depend_on_how_the_folder_is_listed(names):
    assert sorted(names, key=natural_key) == sorted(names, key=natural_key)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(SourceError, match="there is no picture in this folder"):
        ImageFolder(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(SourceError, match="there is no such folder"):
        ImageFolder(tmp_path / "nowhere")


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_frame_rate_is_refused(tmp_path, fps):
    save(tmp_path, "a.png")
    with pytest.raises(SourceError, match="frame rate of an image folder must be above 0"):
        ImageFolder(tmp_path, fps)


@pytest.mark.parametrize("kind", ["damaged", "one pixel", "cut off"])
def test_a_bad_picture_is_named_after_the_good_ones_before_it(tmp_path, kind):
    save(tmp_path, "1.jpg")
    save(tmp_path, "2.jpg", size=(1, 1) if kind == "one pixel" else (64, 48))
    if kind == "damaged":
        (tmp_path / "2.jpg").write_bytes(b"hello")
    if kind == "cut off":
        (tmp_path / "2.jpg").write_bytes((tmp_path / "2.jpg").read_bytes()[:-9])
    frames = iter(ImageFolder(tmp_path))
    next(frames)
    with pytest.raises(SourceError, match=r"2\.jpg: "):
        next(frames)
