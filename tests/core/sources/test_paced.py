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

import threading
import time

import cv2
import numpy as np
from svlm_core.sources.folder import ImageFolder
from svlm_core.sources.paced import Paced
from svlm_core.sources.world import WorldSource


def test_no_frame_comes_before_its_time_and_stamps_stay():
    begun_s = time.monotonic()
    arrivals = [(time.monotonic(), frame.stamp_ns) for frame in Paced(WorldSource(0, seconds=1))]
    assert [stamp for _, stamp in arrivals] == [0, 500_000_000]
    assert arrivals[1][0] - begun_s >= 0.5


def test_it_is_live_and_otherwise_like_its_source():
    source = Paced(WorldSource(3, seconds=4))
    assert (source.live, source.name, source.fps, source.frames_total) == (True, "world://3", 2.0, 8)


def test_close_wakes_up_a_wait_for_the_next_frame(tmp_path):
    for name in ("1.png", "2.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((48, 64, 3), np.uint8))
    source, begun, ended = Paced(ImageFolder(tmp_path, fps=0.001)), threading.Event(), threading.Event()

    def watch():
        for _ in source:
            begun.set()
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    assert begun.wait(30)
    source.close()
    assert ended.wait(30)  # the second frame would have been due after 1000 s


def test_the_rate_makes_time_pass_faster_and_stamps_stay():
    source = Paced(WorldSource(0, seconds=4), rate=10.0)
    assert source.position_ns() is None
    begun_s = time.monotonic()
    stamps, positions = [], []
    for frame in source:
        stamps.append(frame.stamp_ns)
        positions.append(source.position_ns())
    took_s = time.monotonic() - begun_s
    assert stamps == [k * 500_000_000 for k in range(8)]
    assert 0.35 <= took_s < 3.5
    assert all(stamp <= position for stamp, position in zip(stamps, positions, strict=True))
    assert positions == sorted(positions)
