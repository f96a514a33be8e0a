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

"""Image messages, as rosbags deserialises them, to RGB: against computations done pixel by pixel."""

from __future__ import annotations

from array import array
from collections.abc import Callable
import struct
import tracemalloc
from types import SimpleNamespace
from typing import Any

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from rosbags.typesys import get_typestore, Stores
from svlm_core.sources.image_bytes import MAX_PIXELS
from svlm_core.sources.image_message import (
    ConversionError,
    ENCODINGS,
    ns_from_stamp,
    rgb_from_compressed,
    rgb_from_image,
    UnknownEncodingError,
)

STORE = get_typestore(Stores.LATEST)
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CHANNELS = {"rgb8": "rgb", "bgr8": "bgr", "rgba8": "rgba", "bgra8": "bgra"}


def header() -> Any:
    stamp = STORE.types["builtin_interfaces/msg/Time"](sec=3, nanosec=4)
    return STORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id="lens")


def through_cdr(msg: Any, kind: str) -> Any:
    """The message as it comes out of a bag."""
    return STORE.deserialize_cdr(STORE.serialize_cdr(msg, kind), kind)


def image(encoding: str, width: int, height: int, step: int, data: bytes, big_endian: bool = False) -> Any:
    msg = STORE.types[IMAGE](
        header=header(),
        encoding=encoding,
        width=width,
        height=height,
        step=step,
        is_bigendian=int(big_endian),
        data=np.frombuffer(data, np.uint8),
    )
    return through_cdr(msg, IMAGE)


def padded(rows: list[bytes], padding: int) -> bytes:
    """Rows with bytes between them that a reader must step over."""
    return b"".join(row + b"\xee" * padding for row in rows)


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without edges, so that chroma subsampling and JPEG change little: uint8 [H, W, 3]."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + 3 * x, 60 + 2 * y, 200 - x - y], axis=-1).astype(np.uint8)


@settings(deadline=None, max_examples=60)
@given(
    encoding=st.sampled_from(sorted(CHANNELS)),
    width=st.integers(1, 7),
    height=st.integers(1, 5),
    padding=st.integers(0, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_colour_pixels_come_out_by_name_whatever_the_row_padding(
    encoding: str, width: int, height: int, padding: int, seed: int
) -> None:
    names = CHANNELS[encoding]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, len(names)), dtype=np.uint8)
    row_bytes = width * len(names)
    msg = image(encoding, width, height, row_bytes + padding, padded([r.tobytes() for r in pixels], padding))

    rgb = rgb_from_image(msg)

    assert rgb.dtype == np.uint8 and rgb.shape == (height, width, 3) and rgb.flags.c_contiguous
    for y in range(height):
        for x in range(width):
            named = dict(zip(names, pixels[y, x].tolist(), strict=True))
            assert rgb[y, x].tolist() == [named["r"], named["g"], named["b"]]


@settings(deadline=None, max_examples=40)
@given(
    big_endian=st.booleans(),
    padding=st.sampled_from([0, 1, 2, 5]),
    values=st.lists(st.integers(0, 65535), min_size=6, max_size=6),
)
def test_16_bit_values_keep_their_byte_order(big_endian: bool, padding: int, values: list[int]) -> None:
    rows = [struct.pack((">" if big_endian else "<") + "3H", *values[at : at + 3]) for at in (0, 3)]
    data = padded(rows, padding)
    grey = rgb_from_image(image("mono16", 3, 2, 6 + padding, data, big_endian))
    assert grey.reshape(-1, 3).tolist() == [[value // 256] * 3 for value in values]

    depth = rgb_from_image(image("16UC1", 3, 2, 6 + padding, data, big_endian))
    expected = [round(255 * (1 - mm / 10_000)) if 0 < mm < 10_000 else 0 for mm in values]
    assert np.abs(depth.reshape(-1, 3) - np.array(expected)[:, None]).max() <= 1


def test_depth_in_metres_is_bright_when_near_and_black_when_unknown() -> None:
    for order, big_endian in (("<", False), (">", True)):
        data = struct.pack(f"{order}6f", 0.01, 5.0, 9.99, 12.0, float("nan"), 0.0)
        grey = rgb_from_image(image("32FC1", 6, 1, 24, data, big_endian))[0, :, 0]
        assert grey.tolist() == [255, 128, 0, 0, 0, 0] or grey.tolist() == [255, 127, 0, 0, 0, 0]


def test_mono8_is_the_same_in_all_three_channels() -> None:
    rgb = rgb_from_image(image("mono8", 2, 2, 3, padded([b"\x01\x02", b"\x03\xff"], 1)))
    assert rgb.tolist() == [[[1] * 3, [2] * 3], [[3] * 3, [255] * 3]]


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("padding", [0, 3])
def test_a_bayer_mosaic_of_one_colour_gives_that_colour_back(pattern: str, padding: int) -> None:
    colour = {"r": 200, "g": 120, "b": 30}
    rows = [bytes(colour[pattern[2 * (y % 2) + x % 2]] for x in range(8)) for y in range(8)]
    rgb = rgb_from_image(image(f"bayer_{pattern}8", 8, 8, 8 + padding, padded(rows, padding)))
    assert (rgb == [200, 120, 30]).all()


def yuv(rgb: np.ndarray) -> np.ndarray:
    """BT.601, video range: float [H, W, 3] of Y, U, V."""
    r, g, b = (rgb[..., channel].astype(float) for channel in range(3))
    y = 16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256
    u = 128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256
    v = 128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256
    return np.rint(np.stack([y, u, v], axis=-1)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21"])
def test_yuv_pictures_come_back_as_the_colours_they_were(encoding: str, padding: int) -> None:
    picture = smooth(16, 24)
    planes = yuv(picture)
    rows = []
    for y in range(16):
        row = bytearray()
        for x in range(0, 24, 2):
            (y0, u, v), y1 = planes[y, x].tolist(), int(planes[y, x + 1, 0])
            if encoding in ("yuv422", "uyvy"):
                row += bytes([u, y0, v, y1])
            elif encoding in ("yuv422_yuy2", "yuyv"):
                row += bytes([y0, u, y1, v])
            else:
                row += bytes([y0, y1])
        rows.append(bytes(row))
    if encoding in ("nv12", "nv21"):
        order = (1, 2) if encoding == "nv12" else (2, 1)
        for y in range(0, 16, 2):
            rows.append(bytes(int(planes[y, x, c]) for x in range(0, 24, 2) for c in order))
    msg = image(encoding, 24, 16, len(rows[0]) + padding, padded(rows, padding))
    difference = np.abs(rgb_from_image(msg).astype(int) - picture)
    assert difference.max() <= 8 and difference.mean() <= 3


def test_an_unpadded_rgb8_message_is_read_without_a_copy() -> None:
    picture = smooth(30, 40)
    msg = image("rgb8", 40, 30, 120, picture.tobytes())
    rgb = rgb_from_image(msg)
    assert (rgb == picture).all()
    assert np.shares_memory(rgb, msg.data)


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview, lambda data: array("B", data)])
def test_any_buffer_of_bytes_will_do(buffer: Callable[[bytes], Any]) -> None:
    picture = smooth(4, 5)
    raw = SimpleNamespace(
        encoding="RGB8", width=5, height=4, step=15, is_bigendian=0, data=buffer(picture.tobytes())
    )
    assert (rgb_from_image(raw) == picture).all()
    png = SimpleNamespace(data=buffer(encoded(picture, ".png")))
    assert (rgb_from_compressed(png) == picture).all()


def test_png_is_lossless() -> None:
    picture = smooth(30, 40)
    assert (rgb_from_compressed(compressed(encoded(picture, ".png"))) == picture).all()


def encoded(picture: np.ndarray, suffix: str) -> bytes:
    _, data = cv2.imencode(suffix, picture[:, :, ::-1])
    return data.tobytes()


def compressed(data: bytes) -> Any:
    msg = STORE.types[COMPRESSED](header=header(), format="jpeg", data=np.frombuffer(data, np.uint8))
    return through_cdr(msg, COMPRESSED)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_every_cut_of_a_compressed_image_is_refused(suffix: str) -> None:
    whole = encoded(smooth(32, 32), suffix)
    rgb_from_compressed(compressed(whole + b"\0\0"))
    for length in range(len(whole)):
        with pytest.raises(ConversionError):
            rgb_from_compressed(compressed(whole[:length]))


def test_the_end_mark_of_a_thumbnail_does_not_pass_for_the_pictures_own() -> None:
    whole = encoded(smooth(32, 32), ".jpg")
    thumbnail = encoded(smooth(8, 8), ".jpg")
    exif = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    assert rgb_from_compressed(compressed(whole[:2] + exif + whole[2:])).shape == (32, 32, 3)
    with pytest.raises(ConversionError, match="cut off"):
        rgb_from_compressed(compressed(whole[:2] + exif + whole[2:-2]))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_header_that_claims_a_huge_picture_is_refused_before_decoding(suffix: str) -> None:
    whole = bytearray(encoded(smooth(32, 32), suffix))
    if suffix == ".png":
        struct.pack_into(">II", whole, 16, 60_000, 60_000)
    else:
        struct.pack_into(">HH", whole, whole.index(b"\xff\xc0") + 5, 60_000, 60_000)
    with pytest.raises(ConversionError, match=f"60000x60000.*{MAX_PIXELS}"):
        rgb_from_compressed(compressed(bytes(whole)))


@settings(deadline=None, max_examples=300)
@given(at=st.integers(0, 10**6), value=st.integers(0, 255), suffix=st.sampled_from([".jpg", ".png"]))
def test_a_changed_byte_gives_a_picture_or_one_line_never_another_error(
    at: int, value: int, suffix: str
) -> None:
    data = bytearray(encoded(smooth(16, 16), suffix))
    data[at % len(data)] = value
    try:
        picture = rgb_from_compressed(compressed(bytes(data)))
    except ConversionError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert picture.ndim == 3 and picture.dtype == np.uint8


@pytest.mark.parametrize(
    ("msg", "words"),
    [
        (image("jpeg2000", 4, 4, 4, b"0" * 16), "jpeg2000"),
        (image("rgb8", 0, 4, 0, b""), "0x4"),
        (image("rgb8", 4, 4, 11, b"0" * 44), "step of at least 12"),
        (image("rgb8", 4, 4, 12, b"0" * 47), "needs 48 bytes, got 47"),
        (image("mono16", 4, 4, 4, b"0" * 16), "step of at least 8"),
        (image("nv12", 4, 4, 4, b"0" * 16), "needs 24 bytes, got 16"),
        (image("nv12", 4, 3, 4, b"0" * 18), "even"),
        (image("yuv422", 3, 4, 6, b"0" * 24), "even"),
        (image("bayer_rggb8", 3, 4, 3, b"0" * 12), "even"),
        (image("rgb8", 2**31, 2**31, 2**32 - 1, b""), "step of at least"),
    ],
)
def test_an_impossible_image_is_one_line_that_says_why(msg: Any, words: str) -> None:
    with pytest.raises(ConversionError, match=words) as caught:
        rgb_from_image(msg)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("data", [b"", b"\xff", b"GIF89a", b"\xff\xd8\xff"])
def test_what_is_neither_jpeg_nor_png_is_refused(data: bytes) -> None:
    with pytest.raises(ConversionError):
        rgb_from_compressed(compressed(data))


def test_no_encoding_reads_past_the_end_of_its_data() -> None:
    for encoding in ENCODINGS:
        with pytest.raises(ConversionError):
            rgb_from_image(image(encoding, 4, 4, 64, b"\0" * 255))


def test_a_stamp_is_read_in_nanoseconds() -> None:
    assert ns_from_stamp(image("rgb8", 1, 1, 3, b"123").header.stamp) == 3_000_000_004


def test_an_unknown_encoding_is_told_apart_and_its_name_kept_short() -> None:
    with pytest.raises(UnknownEncodingError) as caught:
        rgb_from_image(image("x" * 10_000, 1, 1, 3, b"123"))
    assert len(str(caught.value)) < 500


def test_a_message_that_claims_more_than_it_holds_allocates_nothing() -> None:
    claims = [image(name, 2**16, 2**16, 2**20, b"0" * 64) for name in ENCODINGS]
    tracemalloc.start()
    try:
        for msg in claims:
            with pytest.raises(ConversionError, match="needs"):
                rgb_from_image(msg)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
