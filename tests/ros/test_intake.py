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

"""Pictures into chunks, new streams, and what is counted."""

from __future__ import annotations

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.frames import FrameLedger, NS_PER_S
from svlm_ros.conversions import compressed_from_rgb, image_from_rgb
from svlm_ros.intake import CameraChunk, Intake
from svlm_ros.pictures import SealedPicture


class Setup:
    """An intake of 1 s chunks at 2 frames per second, and its ledger."""

    def __init__(self) -> None:
        self.ledger = FrameLedger()
        self.intake = Intake(StreamConfig(), self.ledger, "/camera")

    def push(self, at_s: float, width: int = 32, arrived_s: float = 0.0) -> str:
        stamp_ns = round(at_s * NS_PER_S)
        msg = image_from_rgb(np.zeros((32, width, 3), np.uint8), stamp_ns, "lens")
        return self.intake.push(SealedPicture(msg, (32, width), stamp_ns, arrived_s, "/camera"), "lens")

    def take(self) -> CameraChunk:
        chunk = self.intake.take()
        assert chunk is not None
        return chunk


def stamps_s(chunk: CameraChunk) -> list[float]:
    return [picture.stamp_ns / NS_PER_S for picture in chunk.frames]


def test_a_chunk_knows_its_pictures_and_the_camera() -> None:
    setup = Setup()
    setup.push(10.0, arrived_s=1.0)
    setup.push(10.1, arrived_s=1.1)  # faster than the model's rate: not part of the chunk
    setup.push(10.5, arrived_s=1.5)
    chunk = setup.take()
    assert (chunk.stream, chunk.restarted, chunk.index, chunk.frame_id) == (0, "", 0, "lens")
    assert stamps_s(chunk) == [10.0, 10.5]
    assert [picture.arrived_s for picture in chunk.frames] == [1.0, 1.5]


def test_time_that_jumps_back_begins_a_new_stream_with_that_frame() -> None:
    setup = Setup()
    assert setup.push(100.0) == setup.push(100.5) == setup.push(101.0) == ""
    assert "jumped back by 98.0 s" in setup.push(3.0)
    announced = setup.take()
    assert (announced.stream, announced.frames) == (1, ())
    assert "jumped back by 98.0 s" in announced.restarted
    assert setup.push(3.5) == ""
    chunk = setup.take()
    assert (chunk.stream, chunk.index, stamps_s(chunk)) == (1, 0, [3.0, 3.5])
    assert setup.ledger.received == 5
    assert setup.ledger.dropped == {"stale": 3}


def test_a_chunk_that_replaces_the_announcement_still_carries_the_reason() -> None:
    setup = Setup()
    setup.push(100.0)
    setup.intake.restart("because")
    setup.push(0.0)
    setup.push(0.5)
    chunk = setup.take()
    assert (chunk.stream, chunk.restarted, len(chunk.frames)) == (1, "because", 2)


def test_a_clock_that_is_set_back_begins_a_new_stream_once() -> None:
    setup = Setup()
    setup.push(100.0)
    assert setup.intake.rewind(round(99.5 * NS_PER_S)) == ""
    assert "jumped back by 90.0 s" in setup.intake.rewind(10 * NS_PER_S)
    assert setup.push(10.1) == ""  # the pictures that follow are news to nobody
    assert setup.intake.rewind(10 * NS_PER_S) == ""
    assert "jumped back" in setup.push(2.0)
    assert setup.intake.rewind(2 * NS_PER_S) == ""  # nor is the clock, if the pictures came first


def test_a_frame_that_is_only_a_little_late_is_dropped_and_the_stream_goes_on() -> None:
    setup = Setup()
    setup.push(0.0)
    setup.push(0.5)
    assert setup.push(0.2) == ""
    assert setup.take().stream == 0
    assert setup.ledger.dropped == {"late": 1}


def test_a_new_size_begins_a_new_stream_with_the_next_frame() -> None:
    setup = Setup()
    setup.push(0.0)
    setup.push(0.5)
    assert "32x32 to 64x32" in setup.push(1.0, width=64)
    setup.push(1.5, width=64)
    setup.push(2.0, width=64)
    chunk = setup.take()
    assert (chunk.stream, [picture.size_px for picture in chunk.frames]) == (1, [(32, 64)] * 2)
    assert "32x32 to 64x32" in chunk.restarted
    assert setup.ledger.dropped == {"stale": 2, "size": 1}


def test_hurry_hands_over_what_there_is() -> None:
    setup = Setup()
    setup.intake.hurry()  # nothing to hand over
    setup.push(0.0)
    setup.intake.hurry()
    assert stamps_s(setup.take()) == [0.0]
    setup.push(0.5)  # belongs to the second that was cut short
    setup.push(1.0)
    setup.push(1.5)
    assert (chunk := setup.take()).index == 1 and stamps_s(chunk) == [1.0, 1.5]
    assert setup.ledger.dropped == {"rate": 1}


def test_closing_wakes_whoever_waits_and_leaves_nothing_uncounted() -> None:
    setup = Setup()
    for at_s in (0.0, 0.5, 1.0):  # a chunk that waits, and one being filled
        setup.push(at_s)
    setup.intake.close()
    assert setup.intake.take() is None
    setup.push(1.5)
    assert setup.ledger.received == 4
    assert setup.ledger.dropped == {"stopped": 4}


def test_what_waits_can_be_discarded_but_not_a_restart() -> None:
    setup = Setup()
    setup.push(0.0)
    setup.intake.restart("because")
    setup.push(0.0)
    setup.push(0.5)
    setup.intake.discard("disabled")
    announced = setup.take()
    assert (announced.stream, announced.restarted, announced.frames) == (1, "because", ())
    assert setup.ledger.dropped == {"stale": 1, "disabled": 2}
    assert setup.ledger.pending == 0


def test_a_picture_that_cannot_be_decoded_is_counted_when_the_chunk_is_opened() -> None:
    setup = Setup()
    setup.push(0.0)
    good = compressed_from_rgb(np.zeros((32, 32, 3), np.uint8), 0, "lens", 90)
    good.data = bytes(good.data).replace(
        b"\xff\xdb", b"\xff\xfe", 1
    )  # without its table it cannot be decoded
    setup.intake.push(SealedPicture(good, (32, 32), NS_PER_S // 2, 0.0, "/camera"), "lens")
    chunk, broken = setup.take().open(setup.ledger)
    assert chunk is not None and len(chunk.frames) == 1
    assert broken
    assert setup.ledger.dropped == {"broken": 1}


def test_every_frame_is_accounted_for_over_jumps_sizes_and_rates() -> None:
    setup = Setup()
    rng = np.random.default_rng(0)
    at_s = 50.0
    used = 0
    for number in range(500):
        at_s += float(rng.choice([0.1, 0.25, 0.5, 3.0, -0.2, -20.0], p=[0.3, 0.2, 0.4, 0.04, 0.04, 0.02]))
        setup.push(max(at_s, 0.0), width=int(rng.choice([32, 64], p=[0.98, 0.02])))
        if number % 10 == 9 and setup.ledger.pending > 2:
            frames = len(setup.take().frames)
            setup.ledger.use(frames)
            used += frames
    setup.intake.close()
    ledger = setup.ledger
    assert (ledger.received, ledger.used, ledger.pending) == (500, used, 0)
    assert set(ledger.dropped) == {"rate", "stale", "size", "late", "stopped"}
