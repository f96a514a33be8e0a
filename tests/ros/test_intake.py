"""Frames into chunks, new streams, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from svlm_core.config import StreamConfig
from svlm_core.errors import SourceError
from svlm_core.frames import NS_PER_S, FrameLedger
from svlm_ros.intake import CameraChunk, Intake


def picture(width: int = 32) -> np.ndarray:
    return np.zeros((32, width, 3), np.uint8)


class Setup:
    """An intake of 1 s chunks at 2 frames per second, and its ledger."""

    def __init__(self) -> None:
        self.ledger = FrameLedger()
        self.intake = Intake(StreamConfig(), self.ledger, "/camera")

    def push(self, at_s: float, width: int = 32, arrived_s: float = 0.0) -> str:
        return self.intake.push(picture(width), round(at_s * NS_PER_S), "lens", arrived_s)

    def take(self) -> CameraChunk:
        chunk = self.intake.take()
        assert chunk is not None
        return chunk


def test_a_chunk_knows_when_its_newest_frame_arrived_and_from_where() -> None:
    setup = Setup()
    setup.push(10.0, arrived_s=1.0)
    setup.push(10.1, arrived_s=1.1)  # faster than the model's rate: not part of the chunk
    setup.push(10.5, arrived_s=1.5)
    chunk = setup.take()
    assert (chunk.stream, chunk.index, chunk.frame_id, chunk.arrived_s) == (0, 0, "lens", 1.5)
    assert chunk.reason == ""
    assert [frame.stamp_ns for frame in chunk.frames] == [10 * NS_PER_S, 10 * NS_PER_S + NS_PER_S // 2]


def test_a_chunk_closed_by_a_later_frame_keeps_its_own_arrival_time() -> None:
    setup = Setup()
    setup.push(0.0, arrived_s=1.0)
    setup.push(1.1, arrived_s=2.1)
    chunk = setup.take()
    assert (len(chunk.frames), chunk.arrived_s) == (1, 1.0)


def test_time_that_jumps_back_begins_a_new_stream_with_that_frame() -> None:
    setup = Setup()
    assert setup.push(100.0) == setup.push(100.5) == setup.push(101.0) == ""
    assert "jumped back by 98.0 s" in setup.push(3.0)
    assert setup.push(3.5) == ""
    chunk = setup.take()
    assert (chunk.stream, chunk.index) == (1, 0)
    assert chunk.reason == "/camera: time jumped back by 98.0 s"
    assert [frame.stamp_ns for frame in chunk.frames] == [3 * NS_PER_S, 3 * NS_PER_S + NS_PER_S // 2]
    assert setup.ledger.received == 5
    assert setup.ledger.dropped == {"stale": 3}


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
    assert (chunk.stream, chunk.rgb().shape) == (1, (2, 32, 64, 3))
    assert setup.ledger.dropped == {"stale": 2, "size": 1}


def test_a_picture_of_one_pixel_is_counted_as_broken_and_raised() -> None:
    setup = Setup()
    with pytest.raises(SourceError, match="too small"):
        setup.intake.push(np.zeros((1, 1, 3), np.uint8), 0, "lens", 0.0)
    assert setup.ledger.dropped == {"broken": 1}
    assert setup.ledger.pending == 0


def test_closing_wakes_whoever_waits() -> None:
    setup = Setup()
    setup.intake.close()
    assert setup.intake.take() is None


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
    while (chunk := setup.intake.take()) is not None:
        setup.ledger.use(len(chunk.frames))
        used += len(chunk.frames)
    ledger = setup.ledger
    assert (ledger.received, ledger.used) == (500, used)
    assert set(ledger.dropped) == {"rate", "stale", "size", "late"}
    assert 0 <= ledger.pending <= 2  # only the chunk being filled
