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

"""Small pictures for a report."""

from __future__ import annotations

import cv2
import numpy as np

THUMBNAIL_PX = 168  # width
_JPEG_QUALITY = 82


def thumbnail(rgb: np.ndarray, width_px: int = THUMBNAIL_PX) -> bytes:
    """A frame, uint8 [H, W, 3], as a small JPEG."""
    scale = width_px / rgb.shape[1]
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    size = (width_px, max(1, round(rgb.shape[0] * scale)))
    bgr = cv2.cvtColor(cv2.resize(rgb, size, interpolation=smooth), cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return jpeg.tobytes()
