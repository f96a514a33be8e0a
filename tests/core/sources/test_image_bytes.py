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
import numpy as np
import pytest
from svlm_core.errors import SourceError
from svlm_core.sources.image_bytes import decode_image

RGB = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8), (640, 480))


def encode(suffix: str) -> bytes:
    return cv2.imencode(suffix, cv2.cvtColor(RGB, cv2.COLOR_RGB2BGR))[1].tobytes()


@pytest.mark.parametrize(("suffix", "off"), [(".png", 0), (".bmp", 0), (".jpg", 3), (".webp", 8)])
def test_pictures_are_decoded_as_rgb(suffix, off):
    rgb = decode_image(encode(suffix), "a")
    assert rgb.shape == (480, 640, 3) and rgb.dtype == np.uint8
    assert np.abs(rgb.astype(int) - RGB).mean() <= off


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg", ".webp"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.98])
def test_a_picture_that_is_cut_off_is_refused(suffix, share):
    data = encode(suffix)
    with pytest.raises(SourceError, match="^here: "):
        decode_image(data[: int(len(data) * share)], "here")


def test_the_end_marker_of_an_exif_preview_does_not_hide_that_a_jpeg_is_cut_off():
    data, preview = encode(".jpg"), encode(".jpg")[-500:]
    exif = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    whole = data[:2] + exif + data[2:]
    assert decode_image(whole, "a").shape == RGB.shape
    with pytest.raises(SourceError, match="cut off"):
        decode_image(whole[:-2], "a")


def test_bytes_after_the_end_of_a_jpeg_do_no_harm():
    np.testing.assert_array_equal(
        decode_image(encode(".jpg") + b"\0" * 64, "a"), decode_image(encode(".jpg"), "a")
    )


def test_what_is_no_picture_is_refused():
    with pytest.raises(SourceError, match="^a.png: cannot be decoded"):
        decode_image(b"hello", "a.png")
