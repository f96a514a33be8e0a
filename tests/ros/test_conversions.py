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

"""Image messages of rclpy to RGB and back; the decoders are tested in tests/core/sources."""

from __future__ import annotations

from array import array
import importlib.util
import subprocess
import sys

from builtin_interfaces.msg import Time
import cv2
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from svlm_ros.conversions import (
    compressed_from_rgb,
    ConversionError,
    image_from_rgb,
    ns_from_stamp,
    rgb_from_compressed,
    rgb_from_image,
    stamp_from_ns,
)


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without edges, so that JPEG changes little: uint8 [H, W, 3]."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + 3 * x, 60 + 2 * y, 200 - x - y], axis=-1).astype(np.uint8)


def test_an_unpadded_rgb8_message_is_read_without_a_copy() -> None:
    msg = image_from_rgb(smooth(30, 40), 0, "")
    assert np.shares_memory(rgb_from_image(msg), np.frombuffer(msg.data, np.uint8))


def test_rgb_to_image_and_back_changes_nothing() -> None:
    picture = np.asfortranarray(smooth(30, 40))
    msg = image_from_rgb(picture, 1_700_000_000_123_456_789, "lens")
    assert (msg.encoding, msg.step, msg.header.frame_id) == ("rgb8", 120, "lens")
    assert ns_from_stamp(msg.header.stamp) == 1_700_000_000_123_456_789
    np.testing.assert_array_equal(rgb_from_image(msg), picture)


def test_rgb_to_jpeg_and_back_keeps_the_colours_in_their_channels() -> None:
    picture = smooth(48, 64)
    msg = compressed_from_rgb(picture, 5, "lens", 95)
    assert msg.format == "rgb8; jpeg compressed bgr8"
    assert np.abs(rgb_from_compressed(msg).astype(int) - picture).mean() < 3


def test_png_is_read_too() -> None:
    picture = smooth(30, 40)
    _, png = cv2.imencode(".png", picture[:, :, ::-1])
    msg = CompressedImage(format="png", data=array("B", png.tobytes()))
    assert (rgb_from_compressed(msg) == picture).all()


def test_a_padded_big_endian_message_of_rclpy_is_decoded() -> None:
    row = b"\x01\x00\xff\x80" + b"\xee" * 3
    msg = Image(encoding="mono16", width=2, height=1, step=7, is_bigendian=1, data=array("B", row))
    assert rgb_from_image(msg).tolist() == [[[1] * 3, [255] * 3]]


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ConversionError, match="needs 48 bytes, got 47"):
        rgb_from_image(Image(encoding="rgb8", width=4, height=4, step=12, data=array("B", b"0" * 47)))
    with pytest.raises(ConversionError, match="neither JPEG nor PNG"):
        rgb_from_compressed(CompressedImage(format="jpeg", data=array("B", b"GIF89a")))


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**9 - 1))
def test_a_stamp_survives_the_way_through_nanoseconds(sec: int, nanosec: int) -> None:
    stamp = Time(sec=sec, nanosec=nanosec)
    assert ns_from_stamp(stamp) == sec * 10**9 + nanosec
    assert stamp_from_ns(ns_from_stamp(stamp)) == stamp


def test_cv_bridge_is_not_needed_and_not_even_looked_for() -> None:
    """In a process where importing it would end the process: every encoding of ours is decoded."""
    check = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'cv_bridge': sys.exit('cv_bridge was imported')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from array import array\n"
        "from sensor_msgs.msg import Image\n"
        "from svlm_ros.conversions import ENCODINGS, rgb_from_image\n"
        "for name in ENCODINGS:\n"
        "    msg = Image(encoding=name, width=4, height=4, step=16, data=array('B', bytes(96)))\n"
        "    assert rgb_from_image(msg).shape == (4, 4, 3)\n"
    )
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


def test_an_unknown_encoding_without_cv_bridge_names_those_that_are_known() -> None:
    check = (
        "import sys; sys.modules['cv_bridge'] = None\n"
        "from array import array\n"
        "from sensor_msgs.msg import Image\n"
        "from svlm_ros.conversions import ConversionError, rgb_from_image\n"
        "msg = Image(encoding='rgb16', width=4, height=4, step=24, data=array('B', bytes(96)))\n"
        "try: rgb_from_image(msg)\n"
        "except ConversionError as error: print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=120)
    assert ended.stdout.startswith("image: unknown encoding 'rgb16'; known are rgb8, "), ended.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("cv_bridge") is None,
    reason="cv_bridge for ROS 2 is on no package registry, it comes with a ROS 2 installation; run there",
)
def test_cv_bridge_decodes_what_is_unknown_to_us() -> None:
    values = np.full((4, 4, 3), 0x8000, np.uint16)
    msg = Image(encoding="rgb16", width=4, height=4, step=24, data=array("B", values.tobytes()))
    assert np.abs(rgb_from_image(msg).astype(int) - 128).max() <= 1
