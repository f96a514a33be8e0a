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

"""What every source of frames offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

from svlm_core.frames import Frame

_Self = TypeVar("_Self", bound="Source")


class Source(Protocol):
    """An iterator of frames and a context manager; sources inherit from it.

    Opening a source checks what can be checked at once; what breaks later raises SourceError while iterating,
    after every good frame before the break has been handed out.

    Attributes:
        name: short name for events and messages ("clip.mp4", "camera 0").
        live: True when frames come at their own pace and are lost if nobody takes them.
        fps: nominal frames per second; 0.0 when the source does not say. The stamps of the frames decide.
        frames_total: frames to expect, an estimate; None when endless or not known.
        frame_id: the camera's coordinate frame, where the source knows it (recorded image headers).
        origin_ns: the stamp at which the recording begins; cameras stamp by the clock and leave it at 0.
        broken: messages passed over so far because they were no pictures.
    """

    name: str
    live: bool
    fps: float
    frames_total: int | None
    frame_id: str = ""
    origin_ns: int = 0
    broken: int = 0

    def __iter__(self) -> Iterator[Frame]:
        """The frames, oldest first.

        Raises:
            SourceError: the source broke; the message says where.
        """
        ...

    def close(self) -> None:
        """End the iteration at its next frame. May be called twice, and from another thread."""
        ...

    def __enter__(self: _Self) -> _Self:
        """The source itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the source."""
        self.close()
