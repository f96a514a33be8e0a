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

"""A stretch of another source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from svlm_core.frames import Frame, NS_PER_S
from svlm_core.sources.source import Source


class Clip(Source):
    """The frames of a recorded source between two moments; their stamps count from the first.

    What comes before is decoded and passed over; what comes after is never asked for.
    """

    live = False

    def __init__(self, source: Source, start_s: float, end_s: float | None = None) -> None:
        """Take a stretch.

        Args:
            source: a recorded one; is closed with the clip.
            start_s: where it begins, seconds since the recording's beginning.
            end_s: where it ends; a frame at this very moment is not in it. None for the recording's end.
        """
        self._source = source
        self._start_ns = source.origin_ns + round(start_s * NS_PER_S)
        self._end_ns = None if end_s is None else source.origin_ns + round(end_s * NS_PER_S)
        self.name, self.fps, self.frame_id = source.name, source.fps, source.frame_id
        self.frames_total = None

    def __iter__(self) -> Iterator[Frame]:
        """The frames; SourceError where the source breaks before the clip's end."""
        for frame in self._source:
            if self._end_ns is not None and frame.stamp_ns >= self._end_ns:
                return
            if frame.stamp_ns >= self._start_ns:
                yield replace(frame, stamp_ns=frame.stamp_ns - self._start_ns)

    def close(self) -> None:
        """End the iteration at its next frame."""
        self._source.close()
