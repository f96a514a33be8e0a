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

"""The frames of a stretch of a video, chosen as a stream of the same video would choose them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from svlm_core.errors import SourceError
from svlm_core.frames import NS_PER_S
from svlm_core.sources.video import Picture, VideoFile


def footage(path: Path, start_s: float, rounds: int, chunk_s: float, fps: float) -> list[np.ndarray]:
    """The frames of each round.

    Slot k of 1/fps seconds takes the first picture from a quarter of a slot before it begins, as
    frames.TimeSlots does. Where a video's rate varies and a slot has no picture of its own, the one taken
    last stands again, as it does when a stream's chunk lacks a frame.

    Args:
        path: of the video.
        start_s: where the first round begins, seconds from the first frame.
        rounds: how many.
        chunk_s: length of a round, seconds.
        fps: frames per second to take.

    Returns:
        One uint8 [T, H, W, 3] for each round, all of one shape.

    Raises:
        SourceError: the video cannot be opened, breaks or ends within the stretch, or changes its size there.
    """
    per_round = max(1, round(chunk_s * fps))
    slot_ns = round(chunk_s * NS_PER_S) // per_round
    start_ns = round(start_s * NS_PER_S)
    shown: list[np.ndarray | None] = [None] * (rounds * per_round)
    before: Picture | None = None
    early_s = slot_ns / 4 / NS_PER_S
    for picture in VideoFile(path).between(max(0.0, start_s - early_s), start_s + rounds * chunk_s - early_s):
        slot = (4 * (picture.stamp_ns - start_ns) + slot_ns) // (4 * slot_ns)
        if slot < 0:
            before = picture
        elif slot < len(shown) and shown[slot] is None:
            shown[slot] = picture.frame().rgb
    last = next((rgb for rgb in shown if rgb is not None), None)
    if before is not None and (last is None or shown[0] is None):
        last = before.frame().rgb
    if last is None:
        raise SourceError(f"{path}: not one picture from {start_s:.1f} s on")
    for slot, rgb in enumerate(shown):
        last = last if rgb is None else rgb
        shown[slot] = last
    pictures = [rgb for rgb in shown if rgb is not None]
    if len({rgb.shape for rgb in pictures}) > 1:
        raise SourceError(f"{path}: the pictures change their size after {start_s:.1f} s")
    return [np.stack(pictures[k : k + per_round]) for k in range(0, len(pictures), per_round)]
