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

"""A chunk's newest picture with its words under it, as an image message."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import Image
from svlm_core.events import CommentaryEvent
from svlm_core.frames import Frame
from svlm_core.sinks.caption import CaptionStrip
from svlm_ros.conversions import image_from_rgb


class Annotator:
    """Keeps the last words under the picture until there are others."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._strip: CaptionStrip | None = None
        self._text = ""

    def draw(self, frame: Frame, events: Sequence[CommentaryEvent], frame_id: str) -> Image:
        """The picture above its caption, with the frame's stamp."""
        for event in events:
            self._text = event.words or self._text
        width = frame.rgb.shape[1]
        if self._strip is None or self._strip.width_px != width:
            self._strip = CaptionStrip(width)
        rgb = np.vstack([frame.rgb, self._strip.draw(self._text)])
        return image_from_rgb(rgb, frame.stamp_ns, frame_id)
