"""JPEG and PNG bytes -> RGB, with the size read from the header before anything is decoded."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from svlm_core.errors import SvlmError

MAX_PIXELS = 64 * 1024 * 1024  # a few kilobytes can claim a picture of gigabytes; no camera here is larger

_JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = 0xDA
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # every SOFn; the three are tables
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xae\x42\x60\x82"


class ConversionError(SvlmError):
    """A ROS image message cannot be turned into an RGB picture."""


def decode_picture(data: bytes) -> np.ndarray:
    """Decode a JPEG or PNG file.

    Args:
        data: the whole file; bytes after its end mark are ignored (some cameras pad).

    Returns:
        uint8 array [H, W, 3], RGB, contiguous. EXIF rotation is not applied: the picture must keep the
        geometry its camera_info describes.

    Raises:
        ConversionError: neither JPEG nor PNG, cut short, larger than MAX_PIXELS, or damaged.
    """
    if data.startswith(_JPEG_START):
        kind, (width, height) = "JPEG", _jpeg_size(data)
    elif data.startswith(_PNG_START):
        kind, (width, height) = "PNG", _png_size(data)
    else:
        raise ConversionError(f"compressed image: neither JPEG nor PNG, it begins with {data[:4]!r}")
    if width * height > MAX_PIXELS:
        raise ConversionError(f"compressed image: {kind} of {width}x{height}, above {MAX_PIXELS} pixels")
    try:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ConversionError(f"compressed image: damaged {kind} ({' '.join(str(error).split())})") from error
    if bgr is None or bgr.shape[:2] != (height, width):
        raise ConversionError(f"compressed image: damaged {kind}")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def encode_jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    """Encode uint8 [H, W, 3] RGB as a JPEG file, uint8 [N]; quality 1 to 100."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height from the header, after checking that the file is whole.

    Walking the segments steps over an EXIF thumbnail, whose own end mark would otherwise pass for the
    picture's. OpenCV decodes a cut JPEG without complaint and may fill it with an earlier picture's pixels.
    """
    size: tuple[int, int] | None = None
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise ConversionError("compressed image: damaged JPEG header")
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
                raise ConversionError("compressed image: JPEG without a size")
            if data.rfind(_JPEG_END, at) < 0:
                break
            return size
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    raise ConversionError(f"compressed image: JPEG cut short after {len(data)} bytes")


def _png_size(data: bytes) -> tuple[int, int]:
    if len(data) < 24 or data.rfind(_PNG_END) < 0:
        raise ConversionError(f"compressed image: PNG cut short after {len(data)} bytes")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height
