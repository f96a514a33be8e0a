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

"""A clip of the world on disk: an MP4 and its truth."""

from __future__ import annotations

from collections.abc import Callable
import itertools
from pathlib import Path

import av
from svlm_core.errors import ConfigError
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds, SIZE_PX, WORLD_FPS
from svlm_core.world.truth import truth_line

_CRF = "10"  # nearly lossless: the digits are small
_KEY_S = 4  # between key frames: whoever reads from the middle begins at one


def write_clip(seed: int, length_s: int, out: Path, progress: Callable[[int], object]) -> Path:
    """Write `out` (H.264) and, beside it, `.jsonl` with one object a second.

    Args:
        seed: which world.
        length_s: length, seconds.
        out: the video.
        progress: called with the number of new seconds.

    Returns:
        The path of the truth.

    Raises:
        ConfigError: a number is out of range, or a file cannot be written.
    """
    if seed < 0 or length_s < 1:
        raise ConfigError(
            f"--seed must not be negative and --seconds must be at least 1; got {seed} and {length_s}"
        )
    truth_path = out.with_suffix(".jsonl")
    if truth_path == out:
        raise ConfigError(f"{out}: this is where the truth goes; name the video, for example {out.stem}.mp4")
    renderer = Renderer(seed)
    try:
        with truth_path.open("w", encoding="utf-8") as truth, av.open(str(out), "w") as container:
            options = {"crf": _CRF, "tune": "fastdecode", "g": str(_KEY_S * WORLD_FPS)}
            stream = container.add_stream("libx264", rate=WORLD_FPS, options=options)
            stream.width = stream.height = SIZE_PX
            stream.pix_fmt = "yuv444p"  # half-size colour would smear discs of 20 pixels
            for second in itertools.islice(seconds(seed, None), length_s):
                truth.write(truth_line(second) + "\n")
                for rgb in renderer.frames(second):
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
                progress(1)
            container.mux(stream.encode())
    except (OSError, av.FFmpegError) as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})") from error
    except ValueError as error:  # PyAV knows no format by that suffix
        raise ConfigError(f"{out}: cannot be written ({error})") from error
    return truth_path
