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

"""Test frames: chunk(i) is 2 RGB frames of 280x280, made by integer arithmetic only.

Run as a script it prints the hash of chunks 0..39, to compare with the README.
"""

import hashlib

import numpy as np

SIZE = 280


def frame(i, f):
    """Frame f (0 or 1) of chunk i: (280, 280, 3) uint8."""
    t = 2 * i + f
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.int64)
    phases = np.stack([2 * x + 11 * t, 2 * y + x + 7 * t, 3 * y - x + 2000 + 13 * t], -1)
    img = np.abs(phases % 510 - 255)  # a triangle wave, 0..255
    for k in range(4):
        w, h = 34 + 19 * k, 88 - 17 * k
        x0, y0 = (37 * i + 5 * f + 83 * k) % (SIZE - w), (53 * i + 3 * f + 61 * k) % (SIZE - h)
        colour = [(90 * k + 29 * i) % 256, (200 - 60 * k + 41 * i) % 256, (20 + 70 * k + 59 * i) % 256]
        img[y0 : y0 + h, x0 : x0 + w] = colour
    return img.astype(np.uint8)


def chunk(i):
    """The two frames of chunk i: (2, 280, 280, 3) uint8."""
    return np.stack([frame(i, 0), frame(i, 1)])


if __name__ == "__main__":
    h = hashlib.sha256()
    for i in range(40):
        h.update(chunk(i).tobytes())
    print("chunks 0..39 sha256", h.hexdigest())
