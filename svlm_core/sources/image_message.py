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

"""sensor_msgs/Image and CompressedImage -> RGB pictures, whoever deserialised them: rclpy or rosbags.

Only the messages' fields are looked at, with numpy and OpenCV; no ROS is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np
from svlm_core.errors import SourceError
from svlm_core.frames import NS_PER_S
from svlm_core.sources.image_bytes import decode_image, header_size

DEPTH_RANGE_M = 10.0  # depth pictures: white at 0 m, black from here on and where nothing was measured
_MM_PER_M = 1000.0

_COMPRESSED = "compressed image"
_NAME_SHOWN = 40  # letters of an unknown encoding that a message shows; a damaged one may be megabytes long


class ConversionError(SourceError):
    """An image message cannot be turned into an RGB picture."""


class UnknownEncodingError(ConversionError):
    """A raw image message has an encoding that is not in ENCODINGS."""


class Stamp(Protocol):
    """builtin_interfaces/Time."""

    sec: int
    nanosec: int


class ImageMessage(Protocol):
    """What is read of a sensor_msgs/Image; `data` is any buffer of bytes."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedImageMessage(Protocol):
    """What is read of a sensor_msgs/CompressedImage; `data` is any buffer of bytes."""

    data: Any


Decoder = Callable[[ImageMessage], np.ndarray]


def rgb_from_image(msg: ImageMessage) -> np.ndarray:
    """Turn a raw image message into an RGB picture, honouring its `step` and `is_bigendian`.

    Nothing is allocated before the message has been seen to hold the bytes that its size claims.

    Args:
        msg: one of the encodings in ENCODINGS. 16UC1 and 32FC1 are read as depth in millimetres and
            metres (REP 118) and become grey: near is bright.

    Returns:
        uint8 array [H, W, 3], contiguous; for rgb8 without row padding it shares the message's memory.

    Raises:
        UnknownEncodingError: the encoding is not in ENCODINGS.
        ConversionError: an impossible size or step, or fewer bytes than these need.
    """
    decoder = ENCODINGS.get(msg.encoding.lower())
    if decoder is None:
        name, known = msg.encoding[:_NAME_SHOWN], ", ".join(ENCODINGS)
        raise UnknownEncodingError(f"image: unknown encoding {name!r}; known are {known}")
    if msg.width < 1 or msg.height < 1:
        raise ConversionError(f"image: a {msg.width}x{msg.height} picture is empty")
    return np.ascontiguousarray(decoder(msg))


def rgb_from_compressed(msg: CompressedImageMessage) -> np.ndarray:
    """Turn a JPEG or PNG message into uint8 [H, W, 3] RGB; the bytes decide, not `format`.

    Raises:
        ConversionError: neither JPEG nor PNG, cut short, too large, or damaged.
    """
    data = bytes(msg.data)
    try:
        if header_size(data, _COMPRESSED) is None:
            raise ConversionError(f"{_COMPRESSED}: neither JPEG nor PNG, it begins with {data[:4]!r}")
        return decode_image(data, _COMPRESSED, upright=False)
    except SourceError as error:
        raise ConversionError(str(error)) from error


def ns_from_stamp(stamp: Stamp) -> int:
    """Nanoseconds since the clock's epoch."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def _view(msg: ImageMessage, dtype: str, channels: int, rows: int | None = None) -> np.ndarray:
    """The message's bytes seen as [rows, width, channels], without a copy."""
    item = np.dtype(dtype).newbyteorder(">" if msg.is_bigendian else "<")
    rows = msg.height if rows is None else rows
    row_bytes = msg.width * channels * item.itemsize
    what = f"image: {msg.width}x{msg.height} {msg.encoding}"
    if msg.step < row_bytes:
        raise ConversionError(f"{what} needs a step of at least {row_bytes} bytes, got {msg.step}")
    size = len(msg.data)
    if size < rows * msg.step:
        raise ConversionError(f"{what} with step {msg.step} needs {rows * msg.step} bytes, got {size}")
    strides = (msg.step, channels * item.itemsize, item.itemsize)
    view: np.ndarray = np.ndarray(
        (rows, msg.width, channels), item, np.frombuffer(msg.data, np.uint8), strides=strides
    )
    return view


def _colour(order: tuple[int, int, int], channels: int) -> Decoder:
    """Interleaved 8-bit colour; `order` says where red, green and blue stand in a pixel."""

    def decode(msg: ImageMessage) -> np.ndarray:
        view = _view(msg, "u1", channels)
        return view if order == (0, 1, 2) and channels == 3 else view[:, :, list(order)]

    return decode


def _bayer(code: int) -> Decoder:
    def decode(msg: ImageMessage) -> np.ndarray:
        _needs_even(msg, width=True, height=True)
        return cv2.cvtColor(_view(msg, "u1", 1)[:, :, 0], code)

    return decode


def _yuv422(code: int) -> Decoder:
    def decode(msg: ImageMessage) -> np.ndarray:
        _needs_even(msg, width=True, height=False)
        return cv2.cvtColor(_view(msg, "u1", 2), code)

    return decode


def _yuv420(code: int) -> Decoder:
    """A plane of luma, then one of interleaved chroma at half the resolution."""

    def decode(msg: ImageMessage) -> np.ndarray:
        _needs_even(msg, width=True, height=True)
        planes = _view(msg, "u1", 1, rows=msg.height * 3 // 2)
        return cv2.cvtColor(np.ascontiguousarray(planes[:, :, 0]), code)

    return decode


def _mono8(msg: ImageMessage) -> np.ndarray:
    return _grey(_view(msg, "u1", 1)[:, :, 0])


def _mono16(msg: ImageMessage) -> np.ndarray:
    return _grey((_view(msg, "u2", 1)[:, :, 0] >> 8).astype(np.uint8))


def _depth(dtype: str, per_m: float) -> Decoder:
    def decode(msg: ImageMessage) -> np.ndarray:
        depth_m = _view(msg, dtype, 1)[:, :, 0].astype(np.float32) / per_m
        measured = (depth_m > 0) & (depth_m < DEPTH_RANGE_M)  # False for NaN too
        near = 1.0 - np.where(measured, depth_m, DEPTH_RANGE_M) / DEPTH_RANGE_M
        return _grey(np.rint(255.0 * near).astype(np.uint8))

    return decode


def _grey(values: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(values), cv2.COLOR_GRAY2RGB)


def _needs_even(msg: ImageMessage, *, width: bool, height: bool) -> None:
    if (width and msg.width % 2) or (height and msg.height % 2):
        raise ConversionError(f"image: {msg.encoding} needs even sides, got {msg.width}x{msg.height}")


# OpenCV names a Bayer pattern by its second row, ROS by its first: hence BG for rggb.
ENCODINGS: dict[str, Decoder] = {
    "rgb8": _colour((0, 1, 2), 3),
    "bgr8": _colour((2, 1, 0), 3),
    "rgba8": _colour((0, 1, 2), 4),
    "bgra8": _colour((2, 1, 0), 4),
    "8uc3": _colour((2, 1, 0), 3),
    "mono8": _mono8,
    "8uc1": _mono8,
    "mono16": _mono16,
    "16uc1": _depth("u2", _MM_PER_M),
    "32fc1": _depth("f4", 1.0),
    "bayer_rggb8": _bayer(cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": _bayer(cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": _bayer(cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": _bayer(cv2.COLOR_BayerGB2RGB),
    "yuv422": _yuv422(cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": _yuv422(cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": _yuv422(cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": _yuv422(cv2.COLOR_YUV2RGB_YUY2),
    "nv12": _yuv420(cv2.COLOR_YUV2RGB_NV12),
    "nv21": _yuv420(cv2.COLOR_YUV2RGB_NV21),
}
