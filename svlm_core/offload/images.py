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

"""Pictures on the wire: made small at the robot, distrusted at the server.

What a decoder gets to see is a plain JPEG or PNG, whole, of exactly the size that its message declares.
Cameras and files may be odder: svlm_core.sources.image_bytes is patient with them, this module is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import re
import struct
import zlib

import cv2
import numpy as np
from svlm_core.errors import ConfigError
from svlm_core.offload.wire import Code, MAX_IMAGE_BYTES, Picture, WireError

Data = bytes | memoryview

_PNG_COMPRESSION = 1  # larger levels cost many times as long for a few percent

_MOST_SEGMENTS = 64  # of a JPEG: real ones have about ten, and each costs a turn of a Python loop
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_BASELINE = frozenset({0xC0, 0xC1})  # sequential, Huffman: one pass over the picture
_OTHER_FRAMES = frozenset(range(0xC2, 0xD0)) - {0xC4, 0xC8, 0xCC}  # progressive, lossless, arithmetic
_TABLES = frozenset({0xC4, 0xDB, 0xDD})  # Huffman, quantisation, restart interval
_NOTES = frozenset(
    {0xE0, 0xEE, 0xFE}
)  # JFIF, Adobe's colour transform, comment; not EXIF, which has a parser
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # a marker that is no restart

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_NOTES = frozenset({b"gAMA", b"cHRM", b"sRGB", b"pHYs"})  # small, fixed, not compressed
_MOST_PNG_CHUNKS = 4096  # 16 MB in pieces of 4 KB
_PNG_HEADER = struct.Struct(">IIBBBBB")
_PNG_CHANNELS = {0: 1, 2: 3}  # by colour type: grey and RGB
_INFLATE_BYTES = 1 << 20


def encode(
    frames: Sequence[np.ndarray], picture: Picture, quality: int, size_px: tuple[int, int] | None = None
) -> list[bytes]:
    """Code the frames of a chunk for the wire.

    Args:
        frames: uint8 arrays [H, W, 3], RGB.
        picture: the kind; PNG keeps every value.
        quality: of JPEG, 1 to 100.
        size_px: height and width to scale to first; None keeps the size.

    Raises:
        ConfigError: the quality is out of range, or the coded picture is too large for a message.
    """
    if not 1 <= quality <= 100:
        raise ConfigError(f"quality must be 1 to 100, got {quality}")
    if picture is Picture.JPEG:
        suffix, parameters = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality]
    else:
        suffix, parameters = ".png", [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION]
    coded = []
    for frame in frames:
        bgr = cv2.cvtColor(_scaled(frame, size_px), cv2.COLOR_RGB2BGR)
        coded.append(cv2.imencode(suffix, bgr, parameters)[1].tobytes())
        if len(coded[-1]) > MAX_IMAGE_BYTES:
            height, width = bgr.shape[:2]
            raise ConfigError(
                f"a {width}x{height} picture takes {len(coded[-1])} bytes as {picture.value}, above the "
                f"{MAX_IMAGE_BYTES} of a message: send JPEG, or smaller pictures"
            )
    return coded


def _scaled(frame: np.ndarray, size_px: tuple[int, int] | None) -> np.ndarray:
    if size_px is None or size_px == frame.shape[:2]:
        return frame
    height, width = size_px
    shrinks = height < frame.shape[0] or width < frame.shape[1]
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def check_header(data: Data, picture: Picture, height: int, width: int) -> None:
    """Check without decoding that a picture is whole, plain, and of the size that its message declares.

    A JPEG must be baseline or extended sequential, 8 bit, grey or three colours; a PNG grey or RGB, 8 bit,
    not interlaced, not animated. Nothing may follow the end mark.

    Args:
        data: the coded picture.
        picture: the kind that the message declares.
        height: as declared, pixels.
        width: as declared, pixels.

    Raises:
        WireError: TOO_LARGE for the bytes, IMAGE for everything else.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise WireError(Code.TOO_LARGE, f"a picture of {len(data)} bytes")
    try:
        size = _jpeg_size(data) if picture is Picture.JPEG else _png_size(data)
    except struct.error:
        raise _damaged(f"the {picture.value} is cut off after {len(data)} bytes") from None
    if size != (height, width):
        raise _damaged(f"a {picture.value} of {size[1]}x{size[0]} where {width}x{height} is declared")


def decode(data: Data, picture: Picture, height: int, width: int) -> np.ndarray:
    """Check a picture and decode it.

    Args:
        data: the coded picture.
        picture: the kind that the message declares.
        height: as declared, pixels.
        width: as declared, pixels.

    Returns:
        uint8 array [H, W, 3], RGB, contiguous, of the declared size.

    Raises:
        WireError: as check_header, or the decoder gave up.
    """
    check_header(data, picture, height, width)
    if picture is Picture.PNG:
        _check_inflated(data, height, width)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        rgb = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise _damaged(f"the {picture.value} cannot be decoded: {' '.join(str(error.err).split())}") from None
    if rgb is None or rgb.shape != (height, width, 3) or rgb.dtype != np.uint8:
        raise _damaged(f"the {picture.value} cannot be decoded")
    return rgb


def _jpeg_size(data: Data) -> tuple[int, int]:
    """Height and width, after a walk over every segment to the end.

    The walk is strict because OpenCV is not: it decodes what is cut off without complaint, and may leave an
    earlier picture's pixels in the rows that never came.
    """
    size: tuple[int, int] | None = None
    components = scans = 0
    for marker, at, length in _jpeg_segments(data):
        if marker in _BASELINE:
            if size is not None:
                raise _damaged("a JPEG with two frame headers")
            bits, height, width, components = struct.unpack_from(">BHHB", data, at)
            if bits != 8 or components not in (1, 3) or length != 6 + 3 * components:
                raise _damaged(f"a JPEG of {bits} bits and {components} components")
            size = (height, width)
        elif marker == _SOS:
            scans += 1
            if size is None or scans > components:
                raise _damaged("a JPEG with too many scans, or without a frame header")
        elif marker in _OTHER_FRAMES:
            raise _damaged(f"a JPEG that is progressive, lossless or arithmetic (SOF{marker - 0xC0})")
        elif marker not in _TABLES and marker not in _NOTES:
            raise _damaged(f"a JPEG with a segment FF{marker:02X}; metadata such as EXIF must be left out")
    if size is None or not scans:
        raise _damaged("a JPEG without a picture")
    return size


def _jpeg_segments(data: Data) -> Iterator[tuple[int, int, int]]:
    """Marker, offset and length of each segment's body, from the start mark to the end mark, exclusive."""
    if bytes(data[:2]) != bytes((0xFF, _SOI)):
        raise _damaged("not a JPEG")
    at = 2
    for _ in range(_MOST_SEGMENTS):
        start, marker = struct.unpack_from(">BB", data, at)
        if start != 0xFF:
            raise _damaged(f"a JPEG without a marker at byte {at}")
        if marker == _EOI:
            if at + 2 != len(data):
                raise _damaged(f"a JPEG with {len(data) - at - 2} bytes behind its end")
            return
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2:
            raise _damaged(f"a JPEG with a segment of length {length}")
        yield marker, at + 4, length - 2
        at += 2 + length
        if marker == _SOS:
            found = _AFTER_SCAN.search(data, at)
            if found is None:
                raise _damaged(f"the jpeg is cut off after {len(data)} bytes")
            at = found.start()
    raise _damaged(f"a JPEG of more than {_MOST_SEGMENTS} segments")


def _png_size(data: Data) -> tuple[int, int]:
    """Height and width, after a walk over every chunk, checksums included."""
    if bytes(data[:8]) != _PNG_START:
        raise _damaged("not a PNG")
    size: tuple[int, int] | None = None
    pictures, last = 0, b""
    for kind, body in _png_chunks(data):
        if (kind == b"IHDR") is not (size is None):
            raise _damaged("a PNG whose header is not first, or is there twice")
        if kind == b"IHDR":
            size = _png_header(body)
        elif kind == b"IDAT":
            if pictures and last != b"IDAT":
                raise _damaged("a PNG in pieces")
            pictures += 1
        elif kind not in _PNG_NOTES:
            raise _damaged(f"a PNG with a chunk {kind!r}; metadata and animation must be left out")
        last = kind
    if size is None or not pictures:
        raise _damaged("a PNG without a picture")
    return size


def _png_chunks(data: Data) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and body of each chunk before the end mark."""
    view, at = memoryview(data), len(_PNG_START)
    for _ in range(_MOST_PNG_CHUNKS):
        length, kind = struct.unpack_from(">I4s", view, at)
        end = at + 8 + length
        (checksum,) = struct.unpack_from(">I", view, end)
        if zlib.crc32(view[at + 4 : end]) != checksum:
            raise _damaged(f"a PNG whose chunk at byte {at} is damaged")
        if kind == b"IEND":
            if length or end + 4 != len(view):
                raise _damaged(f"a PNG with {len(view) - end - 4} bytes behind its end")
            return
        yield kind, view[at + 8 : end]
        at = end + 4
    raise _damaged(f"a PNG of more than {_MOST_PNG_CHUNKS} chunks")


def _png_header(body: memoryview) -> tuple[int, int]:
    if len(body) != _PNG_HEADER.size:
        raise _damaged(f"a PNG header of {len(body)} bytes")
    width, height, bits, colour, compression, filtering, interlace = _PNG_HEADER.unpack(body)
    if bits != 8 or colour not in _PNG_CHANNELS or compression or filtering or interlace:
        raise _damaged(f"a PNG of {bits} bits, colour type {colour}, interlace {interlace}")
    return int(height), int(width)


def _check_inflated(data: Data, height: int, width: int) -> None:
    """Refuse pixels that are too many or too few: libpng would inflate gigabytes to find their end."""
    left, inflater = 0, zlib.decompressobj()
    try:
        for kind, body in _png_chunks(data):
            if kind == b"IHDR":
                colour = _PNG_HEADER.unpack(body)[3]
                left = height * (1 + width * _PNG_CHANNELS[colour])  # each row has one byte for its filter
            elif kind == b"IDAT":
                piece: Data = body
                while piece and left >= 0 and not inflater.eof:
                    left -= len(inflater.decompress(piece, min(_INFLATE_BYTES, left + 1)))
                    piece = inflater.unconsumed_tail
    except zlib.error:
        raise _damaged("a PNG whose pixels are damaged") from None
    if left or not inflater.eof or inflater.unused_data:
        raise _damaged(f"a PNG with pixels for another size than {width}x{height}")


def _damaged(text: str) -> WireError:
    return WireError(Code.IMAGE, text)
