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

"""What is found wrong with an image message before it is decoded."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from svlm_core.errors import SvlmError
from svlm_ros.conversions import compressed_from_rgb, ENCODINGS, image_from_rgb, rgb_from_image
from svlm_ros.pictures import check_picture, SealedPicture

SIDE_PX = 32
RGB = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)


def raw(encoding: str, step: int, size: int, side_px: int = SIDE_PX) -> Image:
    return Image(height=side_px, width=side_px, encoding=encoding, step=step, data=array("B", bytes(size)))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("missing", [0, 1])
def test_the_check_agrees_with_the_decoder_on_how_many_bytes_a_picture_needs(
    encoding: str, missing: int
) -> None:
    for step in range(SIDE_PX - 1, 5 * SIDE_PX):
        rows = SIDE_PX * 3 // 2 if encoding in ("nv12", "nv21") else SIDE_PX
        msg = raw(encoding, step, rows * step - missing)
        assert accepts(check_picture, msg) == accepts(rgb_from_image, msg), (encoding, step)


def accepts(function: object, msg: Image) -> bool:
    try:
        function(msg)  # type: ignore[operator]
    except SvlmError:
        return False
    return True


@pytest.mark.parametrize(
    ("msg", "words"),
    [
        (raw("no-such-encoding", 96, 96 * 32), "unknown encoding"),
        (raw("rgb8", 0, 0, side_px=0), "0x0"),
        (raw("rgb8", 30, 300, side_px=10), "too small"),
        (CompressedImage(format="jpeg", data=array("B", b"no picture")), "neither JPEG nor PNG"),
        (CompressedImage(format="jpeg"), "neither JPEG nor PNG"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(msg: Image, words: str) -> None:
    with pytest.raises(SvlmError, match=words):
        check_picture(msg)


def test_a_jpeg_that_is_cut_off_is_refused() -> None:
    msg = compressed_from_rgb(RGB, 0, "lens", 90)
    msg.data = msg.data[: len(msg.data) // 2]
    with pytest.raises(SvlmError, match="cut off"):
        check_picture(msg)


def test_what_is_accepted_opens_to_the_picture() -> None:
    msg = image_from_rgb(RGB, 5, "lens")
    picture = SealedPicture(msg, check_picture(msg), 5, 0.0, "/camera")
    assert picture.size_px == (SIDE_PX, SIDE_PX)
    np.testing.assert_array_equal(picture.open(), RGB)
    jpeg = compressed_from_rgb(RGB[:, :30], 5, "lens", 95)
    assert check_picture(jpeg) == (SIDE_PX, 30)
    assert SealedPicture(jpeg, (SIDE_PX, 30), 5, 0.0, "/camera").open().shape == (SIDE_PX, 30, 3)
