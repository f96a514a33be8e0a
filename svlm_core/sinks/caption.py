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

"""The strip under a picture that holds the words about it."""

from __future__ import annotations

import cv2
import numpy as np

LINES = 3
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BACKGROUND, _INK = (16, 16, 16), (240, 240, 240)


class CaptionStrip:
    """Draws text, wrapped to LINES lines, on a strip as wide as the picture."""

    def __init__(self, width_px: int) -> None:
        """Choose the size of the letters by the width of the picture."""
        self.width_px = width_px
        self._scale = max(0.5, width_px / 1280)
        self._thickness = max(1, round(2 * self._scale))
        (_, letter_px), below_px = cv2.getTextSize("Ag", _FONT, self._scale, self._thickness)
        self._line_px = letter_px + below_px + round(6 * self._scale)
        self._margin_px = round(12 * self._scale)
        self._baseline_px = self._margin_px + letter_px
        self.height_px = LINES * self._line_px + 2 * self._margin_px

    def draw(self, text: str) -> np.ndarray:
        """The strip with the text on it, uint8 RGB [height_px, width_px, 3]; "" gives an empty strip."""
        strip = np.full((self.height_px, self.width_px, 3), _BACKGROUND, np.uint8)
        for i, line in enumerate(self.wrap(text)):
            at = (self._margin_px, self._baseline_px + i * self._line_px)
            cv2.putText(strip, line, at, _FONT, self._scale, _INK, self._thickness, cv2.LINE_AA)
        return strip

    def wrap(self, text: str) -> list[str]:
        """Break the text into at most LINES lines that fit; of a longer text the end is kept."""
        lines: list[str] = []
        for word in text.split():
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and self._fits(longer):
                lines[-1] = longer
                continue
            # a script without spaces, or a very long word, is broken where the line ends
            while word and not self._fits(word):
                cut = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or self._fits(word[:n]))
                lines.append(word[:cut])
                word = word[cut:]
            lines.append(word)
        return [line for line in lines if line][-LINES:]

    def _fits(self, text: str) -> bool:
        (width, _), _ = cv2.getTextSize(text, _FONT, self._scale, self._thickness)
        return width <= self.width_px - 2 * self._margin_px
