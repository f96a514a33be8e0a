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

"""A chunk's frames as they go over the wire."""

from __future__ import annotations

from dataclasses import dataclass

from svlm_core.errors import ConfigError, SourceError
from svlm_core.frames import Chunk
from svlm_core.offload import images, wire


@dataclass(frozen=True)
class CodedFrames:
    """A chunk's frames, coded.

    Attributes:
        pictures: one for each frame.
        height: of every picture, pixels.
        width: of every picture, pixels.
        encode_ms: what making them took.
    """

    pictures: tuple[bytes, ...]
    height: int
    width: int
    encode_ms: float = 0.0


def check_fits(chunk: Chunk) -> None:
    """Make sure that a chunk's frames are within the limits of a message, as far as their size tells.

    Raises:
        SourceError: they are not.
    """
    frames, (height, width) = len(chunk.frames), chunk.frames[0].size_px
    what = f"a chunk of {frames} frames of {width}x{height}"
    if frames > wire.MAX_IMAGES:
        raise SourceError(f"{what} is more than a link takes: {wire.MAX_IMAGES}; lower chunk_s or fps")
    if max(height, width) > wire.MAX_SIDE_PX:
        raise SourceError(f"{what} is wider or higher than a link takes: {wire.MAX_SIDE_PX} px")
    if frames * height * width > wire.MAX_CHUNK_PIXELS:
        raise SourceError(
            f"{what} has more pixels than a link takes: {wire.MAX_CHUNK_PIXELS}; lower chunk_s or fps, or "
            "have the camera send smaller pictures"
        )


def code(chunk: Chunk, picture: wire.Picture, quality: int, size_px: tuple[int, int]) -> CodedFrames:
    """Code a chunk's frames.

    Args:
        chunk: the frames.
        picture: how.
        quality: of JPEG, 1 to 100.
        size_px: height and width to scale them to.

    Raises:
        SourceError: they are too many bytes for a message.
    """
    try:
        pictures = images.encode([frame.rgb for frame in chunk.frames], picture, quality, size_px)
    except ConfigError as error:
        raise SourceError(str(error)) from None
    total = sum(map(len, pictures))
    if total > wire.MAX_MESSAGE_BYTES - wire.MAX_HEADER_BYTES:
        raise SourceError(
            f"a chunk of {len(pictures)} pictures takes {total} bytes, and a message holds "
            f"{wire.MAX_MESSAGE_BYTES}: send JPEG, or smaller pictures"
        )
    return CodedFrames(tuple(pictures), *size_px)
