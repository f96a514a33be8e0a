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

"""How long a video really is: what its header says is not always there."""

from __future__ import annotations

from dataclasses import dataclass
import math
from pathlib import Path

from svlm_core.errors import SourceError
from svlm_core.sources.video import VideoFile


@dataclass(frozen=True)
class Probe:
    """A video that can be opened.

    Attributes:
        length_s: how long its pictures go on, seconds.
        damage: why it ends sooner than it should, "" when it does not.
    """

    length_s: float
    damage: str = ""


def probe(path: Path) -> Probe:
    """Go through a video's packets, without decoding more than its first picture.

    Raises:
        SourceError: it is no video, it is empty, or not even its first picture can be decoded.
    """
    if path.is_file() and not path.stat().st_size:
        raise SourceError(f"{path}: the file is empty (0 bytes)")
    video = VideoFile(path)
    next(video.between(0.0, math.inf)).frame()
    return Probe(*video.measure())
