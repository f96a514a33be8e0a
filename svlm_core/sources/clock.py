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

"""Turns a container's presentation time stamps into nanoseconds that always advance."""

from __future__ import annotations

from fractions import Fraction

from svlm_core.errors import SourceError
from svlm_core.frames import NS_PER_S


class FrameClock:
    """Stamps for the frames of one video: 0 for the first, then strictly increasing.

    The container's own stamps are used wherever they advance. Where one is missing, repeats or jumps back
    (joined recordings, broken muxers), the frame is placed one nominal period after the previous one and the
    stamps that follow count from there, so a bad rate matters only where the stamps are bad too.
    """

    def __init__(self, time_base: Fraction | None, rate: Fraction | None, where: str) -> None:
        """Start before the first frame.

        Args:
            time_base: seconds per unit of the stamps; None when the container has none.
            rate: nominal frames per second; None or 0 when the container does not say.
            where: the file, for messages.
        """
        self._unit_ns = (time_base or 0) * NS_PER_S
        self._rate = rate or Fraction(0)
        self._where = where
        self._frames = 0
        self._newest_ns = 0
        self._newest_pts: int | None = None
        self._anchor_ns, self._anchor_pts = 0, 0  # the pair from which stamps count

    def stamp_ns(self, pts: int | None) -> int:
        """The stamp of the next frame, nanoseconds.

        Args:
            pts: the frame's presentation time in units of the time base; None when it carries none.

        Raises:
            SourceError: neither the frame's stamp nor the nominal rate says when the frame is.
        """
        newest_pts, self._newest_pts = self._newest_pts, pts
        self._frames += 1
        if self._frames > 1:
            if pts is not None and newest_pts is not None and pts > newest_pts and self._unit_ns:
                self._newest_ns = self._anchor_ns + round((pts - self._anchor_pts) * self._unit_ns)
                return self._newest_ns
            self._newest_ns += self._period_ns()
        self._anchor_ns, self._anchor_pts = self._newest_ns, pts or 0
        return self._newest_ns

    def _period_ns(self) -> int:
        if self._rate <= 0:
            raise SourceError(
                f"{self._where}: the container reports a frame rate of {self._rate} and frame {self._frames} "
                "has no usable time stamp; write it again with a rate: ffmpeg -r 25 -i INPUT OUTPUT"
            )
        return max(1, round(NS_PER_S / self._rate))
