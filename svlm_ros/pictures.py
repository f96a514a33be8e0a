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

"""Image messages that wait to be decoded: checked as far as that costs next to nothing.

At 30 images a second the model sees two. Decoding only those, and on the inference thread, keeps the image
callback short; that a message cannot be a picture is nearly always plain from its header.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from svlm_core.errors import SourceError
from svlm_core.frames import MIN_SIDE_PX
from svlm_core.sources.image_bytes import header_size
from svlm_ros.conversions import ConversionError, ENCODINGS, rgb_from_compressed, rgb_from_image

_COMPRESSED = "compressed image"
_TWO_BYTES = ("mono16", "16uc1", "yuv422", "uyvy", "yuv422_yuy2", "yuyv")
_THREE_BYTES = ("rgb8", "bgr8", "8uc3")
_FOUR_BYTES = ("rgba8", "bgra8", "32fc1")
_PIXEL_BYTES = dict.fromkeys(ENCODINGS, 1) | {
    name: size for size, names in ((2, _TWO_BYTES), (3, _THREE_BYTES), (4, _FOUR_BYTES)) for name in names
}  # of one row; the half-sized chroma rows of nv12 and nv21 come below


@dataclass(frozen=True)
class SealedPicture:
    """A message that holds a picture, most likely.

    Attributes:
        msg: the message.
        size_px: height and width.
        stamp_ns: acquisition time.
        arrived_s: time.monotonic() when it arrived.
        source: where it came from, for messages.
    """

    msg: Image | CompressedImage
    size_px: tuple[int, int]
    stamp_ns: int
    arrived_s: float
    source: str

    def open(self) -> np.ndarray:
        """Decode it: uint8 [H, W, 3].

        Raises:
            SourceError: it is no picture after all, or not of the size that its header claims.
        """
        if isinstance(self.msg, Image):
            return rgb_from_image(self.msg)
        rgb = rgb_from_compressed(self.msg)
        if rgb.shape[:2] != self.size_px:
            raise SourceError(f"{self.source}: the header claims another size than the picture has")
        return rgb


def check_picture(msg: Image | CompressedImage) -> tuple[int, int]:
    """Height and width of the picture in a message, from its header.

    Raises:
        SvlmError: it cannot be a picture that a model sees; the message says why.
    """
    height, width = _check_raw(msg) if isinstance(msg, Image) else _check_compressed(msg)
    if min(height, width) < MIN_SIDE_PX:
        raise ConversionError(
            f"a {width}x{height} picture is too small, both sides must be at least {MIN_SIDE_PX} px"
        )
    return height, width


def _check_raw(msg: Image) -> tuple[int, int]:
    pixel_bytes = _PIXEL_BYTES.get(msg.encoding.lower())
    if pixel_bytes is None:
        rgb = rgb_from_image(msg)  # raises, or cv_bridge knows the encoding
        return rgb.shape[0], rgb.shape[1]
    rows = msg.height * 3 // 2 if msg.encoding.lower() in ("nv12", "nv21") else msg.height
    what = f"image: {msg.width}x{msg.height} {msg.encoding}"
    if msg.step < msg.width * pixel_bytes:
        raise ConversionError(
            f"{what} needs a step of at least {msg.width * pixel_bytes} bytes, got {msg.step}"
        )
    if len(msg.data) < rows * msg.step:
        raise ConversionError(
            f"{what} with step {msg.step} needs {rows * msg.step} bytes, got {len(msg.data)}"
        )
    return msg.height, msg.width


def _check_compressed(msg: CompressedImage) -> tuple[int, int]:
    data = bytes(msg.data)
    size = header_size(data, _COMPRESSED)
    if size is None:
        raise ConversionError(f"{_COMPRESSED}: neither JPEG nor PNG, it begins with {data[:4]!r}")
    width, height = size
    return height, width
