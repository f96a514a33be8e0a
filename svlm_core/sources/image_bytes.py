"""Decodes encoded pictures, and refuses damaged ones."""

from __future__ import annotations

import cv2
import numpy as np

from svlm_core.errors import SourceError

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_SCAN = 0xDA  # marker before the compressed data


def decode_image(data: bytes, where: str) -> np.ndarray:
    """Decode a JPEG, PNG, BMP or WebP picture.

    Args:
        data: the encoded bytes.
        where: the file or topic, for messages.

    Returns:
        uint8 RGB [H, W, 3], turned the way its EXIF orientation says.

    Raises:
        SourceError: not a picture, damaged, or cut off.
    """
    # OpenCV decodes a JPEG that is cut off, and fills the rest with grey or an earlier picture
    if data.startswith(_JPEG_START) and not _jpeg_ends(data):
        raise SourceError(f"{where}: the JPEG is cut off (it has no end marker after {len(data)} bytes)")
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise SourceError(f"{where}: cannot be decoded ({error.err})") from error
    if bgr is None:
        raise SourceError(f"{where}: cannot be decoded (not a picture, or damaged; {len(data)} bytes)")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _jpeg_ends(data: bytes) -> bool:
    """Whether an end marker follows the first scan; the preview in the EXIF header has one of its own."""
    at = len(_JPEG_START)
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == _SCAN:
            return data.find(_JPEG_END, at) != -1
        filler = data[at + 1] == 0xFF  # a marker may be preceded by any number of 0xFF
        at += 1 if filler else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False
