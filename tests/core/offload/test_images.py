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

"""Pictures on the wire: what is sent comes out, what is not a plain whole picture never reaches a decoder."""

from __future__ import annotations

from collections.abc import Callable
import struct
import time
import zlib

import cv2
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
from properties import invariant
import pytest
from svlm_core.errors import ConfigError
from svlm_core.offload import images, wire
from svlm_core.offload.wire import Picture

HEIGHT, WIDTH = 60, 84
RGB = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8), (WIDTH, HEIGHT))
(JPEG,) = images.encode([RGB], Picture.JPEG, 85)
(PNG,) = images.encode([RGB], Picture.PNG, 85)
CODED = {Picture.JPEG: JPEG, Picture.PNG: PNG}
kinds = pytest.mark.parametrize("picture", list(Picture))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes) -> bytes:
    return PNG[:33] + b"".join(chunks) + chunk(b"IEND", b"")


def refused(data: bytes, picture: Picture, height: int = HEIGHT, width: int = WIDTH) -> str:
    with pytest.raises(wire.WireError) as error:
        images.decode(data, picture, height, width)
    assert error.value.code is wire.Code.IMAGE
    return str(error.value)


def decodes_or_is_refused(data: bytes, picture: Picture) -> None:
    try:
        rgb = images.decode(data, picture, HEIGHT, WIDTH)
    except wire.WireError as error:
        assert error.code is wire.Code.IMAGE
    else:
        assert rgb.shape == (HEIGHT, WIDTH, 3) and rgb.dtype == np.uint8


@invariant
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1 << 30))
def test_png_keeps_every_value(height: int, width: int, seed: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    (data,) = images.encode([rgb], Picture.PNG, 85)
    np.testing.assert_array_equal(images.decode(data, Picture.PNG, height, width), rgb)


@invariant
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 100))
def test_our_own_jpegs_are_taken_whatever_their_size_and_quality(
    height: int, width: int, quality: int
) -> None:
    (data,) = images.encode([RGB[:height, :width]], Picture.JPEG, quality)
    assert images.decode(data, Picture.JPEG, height, width).shape == (height, width, 3)


def test_jpeg_is_rgb_and_close() -> None:
    assert np.abs(images.decode(JPEG, Picture.JPEG, HEIGHT, WIDTH).astype(int) - RGB).mean() < 4


def test_frames_are_scaled_at_the_robot() -> None:
    frame = np.full((480, 640, 3), 77, np.uint8)
    coded = images.encode([frame, frame], Picture.PNG, 85, (28, 56))
    assert [images.decode(data, Picture.PNG, 28, 56).mean() for data in coded] == [77, 77]


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_out_of_range_is_named(quality: int) -> None:
    with pytest.raises(ConfigError, match="quality must be 1 to 100"):
        images.encode([RGB], Picture.JPEG, quality)


def test_a_picture_too_large_for_a_message_is_said_to_be_at_the_robot() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2400, 2400, 3), dtype=np.uint8)
    with pytest.raises(ConfigError, match="2400x2400 picture takes"):
        images.encode([noise], Picture.PNG, 85)


def test_bytes_beyond_the_limit_are_not_looked_at() -> None:
    with pytest.raises(wire.WireError) as error:
        images.check_header(bytes(wire.MAX_IMAGE_BYTES + 1), Picture.JPEG, HEIGHT, WIDTH)
    assert error.value.code is wire.Code.TOO_LARGE


@kinds
def test_any_buffer_will_do(picture: Picture) -> None:
    assert images.decode(memoryview(CODED[picture]), picture, HEIGHT, WIDTH).shape == (HEIGHT, WIDTH, 3)


@kinds
def test_a_cut_anywhere_is_refused(picture: Picture) -> None:
    for end in range(len(CODED[picture])):
        with pytest.raises(wire.WireError):
            images.check_header(CODED[picture][:end], picture, HEIGHT, WIDTH)


@kinds
def test_bytes_behind_the_end_are_refused(picture: Picture) -> None:
    assert "behind its end" in refused(CODED[picture] + b"\0", picture)


@kinds
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (HEIGHT, WIDTH + 1), (1, 1), (8192, 8192)])
def test_another_size_than_declared_is_refused(picture: Picture, size: tuple[int, int]) -> None:
    assert f"{WIDTH}x{HEIGHT} where" in refused(CODED[picture], picture, *size)


def test_one_kind_is_not_taken_for_the_other() -> None:
    assert "not a PNG" in refused(JPEG, Picture.PNG) and "not a JPEG" in refused(PNG, Picture.JPEG)


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".tiff", ".ppm", ".jp2"])
def test_nothing_but_jpeg_and_png_reaches_a_decoder(suffix: str) -> None:
    data = cv2.imencode(suffix, RGB)[1].tobytes()
    assert "not a JPEG" in refused(data, Picture.JPEG) and "not a PNG" in refused(data, Picture.PNG)


def test_progressive_jpeg_is_refused_because_each_of_its_scans_costs_a_pass() -> None:
    data = cv2.imencode(".jpg", RGB, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert "progressive" in refused(data, Picture.JPEG)


def test_exif_is_refused() -> None:
    exif = b"\xff\xe1\x00\x10Exif\0\0MM\0*\0\0\0\x08"
    assert "FFE1; metadata such as EXIF" in refused(JPEG[:2] + exif + JPEG[2:], Picture.JPEG)


def test_grey_jpeg_and_restart_intervals_are_taken() -> None:
    for data in (
        cv2.imencode(".jpg", RGB[:, :, 0])[1].tobytes(),
        cv2.imencode(".jpg", RGB, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes(),
    ):
        assert images.decode(data, Picture.JPEG, HEIGHT, WIDTH).shape == (HEIGHT, WIDTH, 3)


def sof(data: bytes) -> int:
    return data.index(b"\xff\xc0")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"), "12 bits"),
        (lambda data: data.replace(b"\xff\xc0", b"\xff\xc9"), "arithmetic"),
        (lambda data: data.replace(b"\xff\xc0", b"\xff\xc3"), "lossless"),
        (
            lambda data: data[: sof(data)] + data[sof(data) : sof(data) + 19] + data[sof(data) :],
            "two frame headers",
        ),
        (lambda data: data[: sof(data)] + data[sof(data) + 19 :], "without a frame header"),
        (lambda data: data[: data.index(b"\xff\xda")] + b"\xff\xd9", "without a picture"),
        (lambda data: data[:2] + b"\xff\xe0\x00\x00" + data[2:], "length 0"),
        (lambda data: data[:2] + b"\xff\xfe\x00\x02" * 64 + data[2:], "more than 64 segments"),
        (lambda data: data[:2] + b"\xff" * 1000 + data[2:], "FFFF"),
        # the end mark inside a segment that was never finished: OpenCV would show an earlier picture's rows
        (lambda data: data[:-200] + b"\xff\xfe\xff\xf0\xff\xd9", "cut off"),
        (lambda data: data[:-2] + 4 * data[data.index(b"\xff\xda") : -2] + b"\xff\xd9", "too many scans"),
    ],
)
def test_odd_jpegs_are_refused(change: Callable[[bytes], bytes], reason: str) -> None:
    data = change(JPEG)
    assert data != JPEG
    assert reason in refused(data, Picture.JPEG)


ROW = bytes(1 + WIDTH * 3)


def header(**changes: int) -> bytes:
    fields = {
        "width": WIDTH,
        "height": HEIGHT,
        "bits": 8,
        "colour": 2,
        "deflate": 0,
        "filter": 0,
        "interlace": 0,
    }
    return PNG[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", *(fields | changes).values()))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png(chunk(b"IDAT", zlib.compress(ROW * (HEIGHT - 1)))), "pixels for another size"),
        (png(chunk(b"IDAT", zlib.compress(ROW * (HEIGHT + 1)))), "pixels for another size"),
        (png(chunk(b"IDAT", zlib.compress(ROW * HEIGHT) + b"more")), "pixels for another size"),
        (png(chunk(b"IDAT", zlib.compress(ROW * HEIGHT)[:-1])), "pixels for another size"),
        (png(chunk(b"IDAT", b"no deflate stream")), "pixels are damaged"),
        (png(), "without a picture"),
        (png(chunk(b"acTL", bytes(8)), PNG[33:-12]), "animation"),
        (png(chunk(b"zTXt", b"a\0\0"), PNG[33:-12]), "zTXt"),
        (png(PNG[33:-12], chunk(b"gAMA", bytes(4)), PNG[33:-12]), "in pieces"),
        (png(PNG[8:33], PNG[33:-12]), "header is not first"),
        (PNG[:8] + PNG[33:], "header is not first"),
        (PNG[:40] + bytes([PNG[40] ^ 1]) + PNG[41:], "chunk at byte 33 is damaged"),
        (header(colour=3) + PNG[33:], "colour type 3"),
        (header(colour=6) + PNG[33:], "colour type 6"),
        (header(bits=16) + PNG[33:], "16 bits"),
        (header(interlace=1) + PNG[33:], "interlace 1"),
        (PNG[:8] + chunk(b"IHDR", bytes(12)) + PNG[33:], "header of 12 bytes"),
        (png(*[chunk(b"sRGB", b"\0")] * 4096, PNG[33:-12]), "more than 4096 chunks"),
    ],
)
def test_odd_pngs_are_refused(data: bytes, reason: str) -> None:
    assert reason in refused(data, Picture.PNG)


def test_a_png_that_inflates_without_end_costs_no_more_than_its_size() -> None:
    deflater = zlib.compressobj(9)
    zeros = bytes(1 << 24)
    bomb = b"".join(deflater.compress(zeros) for _ in range(32)) + deflater.flush()  # half a gigabyte
    began_s = time.process_time()
    assert "another size" in refused(png(chunk(b"IDAT", bomb)), Picture.PNG)
    assert time.process_time() - began_s < 0.1


@pytest.mark.parametrize(
    "data",
    [
        JPEG[:2] + b"\xff" * 15_000_000,
        JPEG[:-2] + b"\xff\x00" * 7_000_000,
        JPEG[:-2] + b"\xff" * 14_000_000 + b"\0",
        JPEG[:2] + b"\xff\xfe\x00\x02" * 3_000_000,
        PNG[:33] + chunk(b"sRGB", b"") * 1_000_000,
        PNG[:33] + chunk(b"IDAT", b"") * 1_000_000,
    ],
    ids=["fill", "stuffing", "fill in the scan", "comments", "notes", "empty pieces"],
)
def test_no_bytes_keep_the_walk_busy(data: bytes) -> None:
    picture = Picture.JPEG if data[:2] == JPEG[:2] else Picture.PNG
    began_s = time.process_time()
    refused(data, picture)
    assert time.process_time() - began_s < 1.0


@invariant
@given(st.sampled_from(Picture), st.data())
def test_no_mutation_does_more_than_decode_or_be_refused(picture: Picture, data: st.DataObject) -> None:
    changed = bytearray(CODED[picture])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(changed) - 1))
        if data.draw(st.booleans()):
            changed[at] = data.draw(st.integers(0, 255))
        else:
            changed[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    decodes_or_is_refused(bytes(changed), picture)


@invariant
@given(
    st.lists(
        st.tuples(st.sampled_from([b"IDAT", b"gAMA", b"IHDR", b"tRNS", b"PLTE"]), st.binary(max_size=300))
    )
)
def test_no_png_with_good_checksums_does_more_either(chunks: list[tuple[bytes, bytes]]) -> None:
    decodes_or_is_refused(png(*(chunk(*one) for one in chunks)), Picture.PNG)


@invariant
@given(st.integers(0, len(JPEG) - 1), st.binary(max_size=60))
def test_nothing_of_an_earlier_picture_shows(cut: int, patch: bytes) -> None:
    """Another robot's frame must not come back in the rows of a damaged one."""
    earlier = np.full((HEIGHT, WIDTH, 3), (250, 3, 248), np.uint8)
    (magenta,) = images.encode([earlier], Picture.JPEG, 95)
    images.decode(magenta, Picture.JPEG, HEIGHT, WIDTH)
    try:
        rgb = images.decode(JPEG[:cut] + patch + b"\xff\xd9", Picture.JPEG, HEIGHT, WIDTH)
    except wire.WireError:
        return
    assert (np.abs(rgb.astype(int) - earlier).max(-1) < 6).mean() < 0.02
