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

"""Decompression as bags need it: bounded, and of what there is when the rest was cut off."""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Any

MAX_MESSAGE_BYTES = 1 << 30  # of a message or a chunk, unpacked: a few kilobytes can claim any size
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_BLOCK_BYTES = 1 << 16


class BrokenDataError(Exception):
    """Bytes that do not unpack to what they claim to be; the message says why."""


def inflate(data: bytes, compression: str, limit_bytes: int = MAX_MESSAGE_BYTES) -> bytes:
    """Unpack as much as there is.

    Args:
        data: compressed bytes, perhaps cut off.
        compression: "zstd", "lz4" (its frame format), or "" for none.
        limit_bytes: what lies beyond it is left out.

    Raises:
        BrokenDataError: damaged, or compressed in another way.
    """
    if not compression:
        return data[:limit_bytes]
    if compression not in ("zstd", "lz4"):
        raise BrokenDataError(f"unknown compression {compression[:40]!r}")
    decompressor = _zstd().ZstdDecompressor() if compression == "zstd" else _lz4().LZ4FrameDecompressor()
    try:
        return bytes(decompressor.decompress(data, limit_bytes))
    except (_zstd().ZstdError, RuntimeError) as error:  # lz4 knows RuntimeError only
        raise BrokenDataError(f"damaged {compression} data ({error})") from error


def inflate_file(path: Path, out: Path) -> str:
    """Unpack a zstd file to `out`, as far as it goes.

    Returns:
        Why it does not go to its end, "" when it does.
    """
    with path.open("rb") as packed, out.open("wb") as written:
        decompressor = _zstd().ZstdDecompressor()
        try:
            while block := packed.read(_BLOCK_BYTES):
                while block:
                    if decompressor.eof:  # a file may be several frames, one after another
                        decompressor = _zstd().ZstdDecompressor()
                    written.write(decompressor.decompress(block))
                    block = decompressor.unused_data
        except _zstd().ZstdError as error:
            return f"damaged zstd data ({error})"
    return "" if decompressor.eof else "the compressed file is cut off"


def _zstd() -> Any:
    """Python's zstd module, or its backport."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def _lz4() -> Any:
    import lz4.frame

    return lz4.frame
