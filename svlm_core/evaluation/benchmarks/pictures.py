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

"""Small pictures of moments, for a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import hashlib
from pathlib import Path

from svlm_core.errors import ConfigError
from svlm_core.evaluation.thumbnail import thumbnail
from svlm_core.frames import Frame, NS_PER_S
from svlm_core.sources.source import Source

FOLDER = "pictures"


def picture_path(folder: Path, item: str) -> Path:
    """Where an item's picture lies in a run's folder; ids may hold any character."""
    return folder / FOLDER / f"{hashlib.sha256(item.encode()).hexdigest()[:24]}.jpg"


def keep_picture(folder: Path, item: str, jpeg: bytes) -> None:
    """Write an item's picture; ConfigError when that fails."""
    path = picture_path(folder, item)
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error


class Peeking(Source):
    """Another source; the first frame from each of some moments on is kept as an item's picture."""

    live = False

    def __init__(self, source: Source, moments_s: Mapping[str, float], folder: Path) -> None:
        """Wrap a source.

        Args:
            source: is closed with this one.
            moments_s: by item, seconds by the source's stamps.
            folder: the run's.
        """
        self._source, self._folder = source, folder
        self._waiting = sorted(moments_s.items(), key=lambda item: item[1], reverse=True)
        self.name, self.fps, self.frame_id = source.name, source.fps, source.frame_id
        self.frames_total, self.origin_ns = source.frames_total, source.origin_ns

    def __iter__(self) -> Iterator[Frame]:
        """The frames."""
        for frame in self._source:
            while self._waiting and self._waiting[-1][1] * NS_PER_S <= frame.stamp_ns:
                keep_picture(self._folder, self._waiting.pop()[0], thumbnail(frame.rgb))
            yield frame

    def close(self) -> None:
        """End the iteration at its next frame."""
        self._source.close()
