"""sensor_msgs/Image and CompressedImage <-> RGB pictures, with numpy and OpenCV only (no cv_bridge)."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from svlm_core.errors import SourceError, SvlmError
from svlm_core.frames import NS_PER_S
from svlm_core.sources.image_bytes import decode_image, header_size

DEPTH_RANGE_M = 10.0  # depth pictures: white at 0 m, black from here on and where nothing was measured
_MM_PER_M = 1000.0

_COMPRESSED = "compressed image"

Decoder = Callable[[Image], np.ndarray]


class ConversionError(SvlmError):
    """A ROS image message cannot be turned into an RGB picture."""


def rgb_from_image(msg: Image) -> np.ndarray:
    """Turn a raw image message into an RGB picture, honouring its `step` and `is_bigendian`.

    Args:
        msg: one of the encodings in ENCODINGS. 16UC1 and 32FC1 are read as depth in millimetres and
            metres (REP 118) and become grey: near is bright.

    Returns:
        uint8 array [H, W, 3], contiguous; for rgb8 without row padding it shares the message's memory.

    Raises:
        ConversionError: unknown encoding, an impossible size or step, or fewer bytes than these need.
    """
    decoder = ENCODINGS.get(msg.encoding.lower())
    if decoder is None:
        raise ConversionError(f"image: unknown encoding {msg.encoding!r}; known are {', '.join(ENCODINGS)}")
    if msg.width < 1 or msg.height < 1:
        raise ConversionError(f"image: a {msg.width}x{msg.height} picture is empty")
    return np.ascontiguousarray(decoder(msg))


def rgb_from_compressed(msg: CompressedImage) -> np.ndarray:
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


def ns_from_stamp(stamp: Time) -> int:
    """Nanoseconds since the clock's epoch."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def stamp_from_ns(stamp_ns: int) -> Time:
    """The message form of nanoseconds since the clock's epoch."""
    sec, nanosec = divmod(stamp_ns, NS_PER_S)
    return Time(sec=sec, nanosec=nanosec)


def _octets(values: np.ndarray) -> array[int]:
    """The one type that a message's uint8[] field takes without checking every element."""
    octets = array("B")
    octets.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return octets


def _view(msg: Image, dtype: str, channels: int, rows: int | None = None) -> np.ndarray:
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

    def decode(msg: Image) -> np.ndarray:
        view = _view(msg, "u1", channels)
        return view if order == (0, 1, 2) and channels == 3 else view[:, :, list(order)]

    return decode


def _bayer(code: int) -> Decoder:
    def decode(msg: Image) -> np.ndarray:
        _needs_even(msg, width=True, height=True)
        return cv2.cvtColor(_view(msg, "u1", 1)[:, :, 0], code)

    return decode


def _yuv422(code: int) -> Decoder:
    def decode(msg: Image) -> np.ndarray:
        _needs_even(msg, width=True, height=False)
        return cv2.cvtColor(_view(msg, "u1", 2), code)

    return decode


def _yuv420(code: int) -> Decoder:
    """A plane of luma, then one of interleaved chroma at half the resolution."""

    def decode(msg: Image) -> np.ndarray:
        _needs_even(msg, width=True, height=True)
        planes = _view(msg, "u1", 1, rows=msg.height * 3 // 2)
        return cv2.cvtColor(np.ascontiguousarray(planes[:, :, 0]), code)

    return decode


def _mono8(msg: Image) -> np.ndarray:
    return _grey(_view(msg, "u1", 1)[:, :, 0])


def _mono16(msg: Image) -> np.ndarray:
    return _grey((_view(msg, "u2", 1)[:, :, 0] >> 8).astype(np.uint8))


def _depth(dtype: str, per_m: float) -> Decoder:
    def decode(msg: Image) -> np.ndarray:
        depth_m = _view(msg, dtype, 1)[:, :, 0].astype(np.float32) / per_m
        measured = (depth_m > 0) & (depth_m < DEPTH_RANGE_M)  # False for NaN too
        near = 1.0 - np.where(measured, depth_m, DEPTH_RANGE_M) / DEPTH_RANGE_M
        return _grey(np.rint(255.0 * near).astype(np.uint8))

    return decode


def _grey(values: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(values), cv2.COLOR_GRAY2RGB)


def _needs_even(msg: Image, *, width: bool, height: bool) -> None:
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
