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

"""sensor_msgs/Image and CompressedImage <-> RGB; svlm_core.sources.image_message does the reading."""

from __future__ import annotations

from array import array
from functools import cache
from typing import Any

from builtin_interfaces.msg import Time
import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from svlm_core.frames import NS_PER_S
from svlm_core.sources.image_message import (
    ConversionError,
    ENCODINGS,
    ns_from_stamp,
    rgb_from_compressed,
    UnknownEncodingError,
)
from svlm_core.sources.image_message import rgb_from_image as decode

__all__ = [
    "ENCODINGS",
    "ConversionError",
    "compressed_from_rgb",
    "image_from_rgb",
    "ns_from_stamp",
    "rgb_from_compressed",
    "rgb_from_image",
    "stamp_from_ns",
]


def rgb_from_image(msg: Image) -> np.ndarray:
    """Turn a raw image message into an RGB picture: uint8 [H, W, 3], contiguous.

    An encoding that svlm does not know is left to cv_bridge where that is installed and works; nothing else
    needs it.

    Raises:
        ConversionError: as svlm_core.sources.image_message.rgb_from_image, or cv_bridge refused it too.
    """
    try:
        return decode(msg)
    except UnknownEncodingError as unknown:
        bridge = _cv_bridge()
        if bridge is None:
            raise
        try:
            return np.ascontiguousarray(bridge.imgmsg_to_cv2(msg, "rgb8"))
        except Exception as error:  # CvBridgeError, but also cv2.error and what numpy says to short data
            raise ConversionError(f"{unknown}; cv_bridge says: {' '.join(str(error).split())}") from error


def image_from_rgb(rgb: np.ndarray, stamp_ns: int, frame_id: str) -> Image:
    """An rgb8 message of a uint8 [H, W, 3] picture."""
    height, width = rgb.shape[:2]
    msg = Image(height=height, width=width, encoding="rgb8", step=width * 3, data=_octets(rgb))
    msg.header.stamp = stamp_from_ns(stamp_ns)
    msg.header.frame_id = frame_id
    return msg


def compressed_from_rgb(rgb: np.ndarray, stamp_ns: int, frame_id: str, quality: int) -> CompressedImage:
    """A JPEG message of a uint8 [H, W, 3] picture; `format` reads as image_transport writes it."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    msg = CompressedImage(format="rgb8; jpeg compressed bgr8", data=_octets(jpeg))
    msg.header.stamp = stamp_from_ns(stamp_ns)
    msg.header.frame_id = frame_id
    return msg


def stamp_from_ns(stamp_ns: int) -> Time:
    """The message form of nanoseconds since the clock's epoch."""
    sec, nanosec = divmod(stamp_ns, NS_PER_S)
    return Time(sec=sec, nanosec=nanosec)


def _octets(values: np.ndarray) -> array[int]:
    """The one type that a message's uint8[] field takes without checking every element."""
    octets = array("B")
    octets.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return octets


@cache
def _cv_bridge() -> Any | None:
    """A CvBridge; None where cv_bridge is missing, or built for another numpy and fails to load."""
    try:
        from cv_bridge import CvBridge

        return CvBridge()
    except Exception:  # not only ImportError: PyPI's ROS 1 copy dies of an AttributeError under numpy 2
        return None
