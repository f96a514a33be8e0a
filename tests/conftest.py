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

"""What all tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
import signal

import av
import numpy as np
import pytest

WriteVideo = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _sigint_as_in_a_terminal() -> Iterator[None]:
    """A job that a script starts in the background ignores SIGINT, and so would the processes tests start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def write_video(tmp_path: Path) -> WriteVideo:
    """Writes a small video; frame k is grey of value 4 k, so that order and content can be checked."""

    def write(
        name: str = "clip.mp4",
        frames: int = 30,
        rate: Fraction | int = 10,
        codec: str = "libx264",
        pts: list[int] | None = None,
        size: tuple[int, int] = (64, 48),
        noise: bool = False,
    ) -> Path:
        path = tmp_path / name
        rng = np.random.default_rng(0)
        options = {"movflags": "faststart"} if name.endswith(".mp4") else {}
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream(codec, rate=rate)
            stream.width, stream.height = size
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for k in range(frames):
                rgb = np.full((size[1], size[0], 3), min(4 * k, 255), np.uint8)
                if noise:  # pictures that need bytes, so that a cut in the file cuts through them
                    rgb = rng.integers(0, 256, rgb.shape, dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
                frame.pts = k if pts is None else pts[k]
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write
