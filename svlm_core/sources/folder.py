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

"""Folders of pictures."""

from __future__ import annotations

from collections.abc import Iterator
import math
from pathlib import Path
import re
import threading

from svlm_core.errors import SourceError
from svlm_core.frames import Frame, NS_PER_S
from svlm_core.sources.image_bytes import decode_image
from svlm_core.sources.source import Source

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class ImageFolder(Source):
    """The pictures of one folder in natural order (img_2 before img_10), at a fixed frame rate."""

    live = False

    def __init__(self, path: str | Path, fps: float = 2.0) -> None:
        """List the folder.

        Args:
            path: the folder; folders inside it and hidden files are not looked at.
            fps: pictures per second; picture k is stamped k / fps.

        Raises:
            SourceError: not a folder, no picture in it, or fps is not a positive number.
        """
        self._folder = Path(path)
        if not math.isfinite(fps) or fps <= 0:
            raise SourceError(f"{self._folder}: the frame rate of an image folder must be above 0, got {fps}")
        if not self._folder.is_dir():
            raise SourceError(f"{self._folder}: there is no such folder")
        self._files = sorted(
            (
                file
                for file in self._folder.iterdir()
                if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
            ),
            key=lambda file: natural_key(file.name),
        )
        if not self._files:
            raise SourceError(f"{self._folder}: there is no picture in this folder ({', '.join(SUFFIXES)})")
        self.name = self._folder.resolve().name
        self.fps = fps
        self.frames_total: int | None = len(self._files)
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        """The pictures; a file that cannot be read raises SourceError with its name."""
        for k, file in enumerate(self._files):
            if self._closed.is_set():
                return
            try:
                data = file.read_bytes()
            except OSError as error:
                raise SourceError(f"{file}: cannot be read ({error.strerror})") from error
            yield Frame(round(k * NS_PER_S / self.fps), decode_image(data, str(file)), str(file))

    def close(self) -> None:
        """End the iteration at its next picture."""
        self._closed.set()


def natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sorts runs of digits by value; names that differ only in case or leading zeros keep a fixed order."""
    parts = re.split(r"([0-9]+)", name.lower())
    # even places are text, odd places digits: like is always compared with like
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)], name
