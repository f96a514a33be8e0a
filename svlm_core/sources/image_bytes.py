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

"""JPEG, PNG and other picture files -> RGB; damaged and oversized ones are refused before decoding."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from svlm_core.errors import SourceError

MAX_PIXELS = 64 * 1024 * 1024  # a few kilobytes can claim a picture of gigabytes; no camera here is larger

_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = 0xDA
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # every SOFn; the three are tables
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xae\x42\x60\x82"


def decode_image(data: bytes, where: str, *, upright: bool = True) -> np.ndarray:
    """Decode a picture file: JPEG, PNG, and whatever else OpenCV reads.

    Args:
        data: the whole file; bytes after its end mark are ignored (some cameras pad).
        where: the file or topic, for messages.
        upright: turn the picture the way its EXIF orientation says. A camera topic's picture must not be
            turned: it has to keep the geometry that its camera_info describes.

    Returns:
        uint8 array [H, W, 3], RGB, contiguous.

    Raises:
        SourceError: not a picture, cut off, larger than MAX_PIXELS, or damaged.
    """
    size = header_size(data, where)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise SourceError(f"{where}: a picture of {size[0]}x{size[1]} is above {MAX_PIXELS} pixels")
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise SourceError(f"{where}: cannot be decoded ({' '.join(str(error.err).split())})") from error
    if bgr is None or (size is not None and sorted(bgr.shape[:2]) != sorted(size)):
        raise SourceError(f"{where}: cannot be decoded (not a picture, or damaged; {len(data)} bytes)")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def header_size(data: bytes, where: str) -> tuple[int, int] | None:
    """Width and height that the header of a JPEG or PNG file claims; None for any other data.

    Raises:
        SourceError: the header is damaged or the file is cut off.
    """
    if data.startswith(_JPEG_START):
        return _jpeg_size(data, where)
    if data.startswith(_PNG_START):
        return _png_size(data, where)
    return None


def _jpeg_size(data: bytes, where: str) -> tuple[int, int]:
    """Width and height from the header, after checking that the file is whole.

    Walking the segments steps over an EXIF thumbnail, whose own end mark would otherwise pass for the
    picture's. OpenCV decodes a cut JPEG without complaint and may fill it with an earlier picture's pixels.
    """
    size: tuple[int, int] | None = None
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise SourceError(f"{where}: damaged JPEG header")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in _JPEG_BARE:
            at += 2
            continue
        if marker in _JPEG_SIZES and at + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = (width, height)
        if marker == _JPEG_SCAN:
            if size is None:
                raise SourceError(f"{where}: JPEG without a size")
            if data.rfind(_JPEG_END, at) < 0:
                break
            return size
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    raise SourceError(f"{where}: the JPEG is cut off after {len(data)} bytes")


def _png_size(data: bytes, where: str) -> tuple[int, int]:
    if len(data) < 24 or data.rfind(_PNG_END) < 0:
        raise SourceError(f"{where}: the PNG is cut off after {len(data)} bytes")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height
