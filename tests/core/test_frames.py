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

"""Frames, chunks and the mailbox: what is kept, what is lost, and that every frame is counted."""

from __future__ import annotations

from fractions import Fraction
import math
import threading

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
from properties import invariant
import pytest
from svlm_core.errors import SourceError
from svlm_core.frames import (
    Chunk,
    Chunker,
    DROPPED_LATE,
    DROPPED_RATE,
    DROPPED_SIZE,
    DROPPED_STALE,
    Frame,
    FrameLedger,
    LatestMailbox,
    MIN_SIDE_PX,
    NS_PER_S,
)

PICTURE = np.zeros((MIN_SIDE_PX, MIN_SIDE_PX, 3), np.uint8)
EPOCH_NS = 1_700_000_000 * NS_PER_S  # a camera that counts from 1970


def frame(at_s: float, rgb: np.ndarray = PICTURE) -> Frame:
    return Frame(EPOCH_NS + round(at_s * NS_PER_S), rgb, "camera 0")


def seconds(chunk: Chunk) -> list[float]:
    return [(frame.stamp_ns - EPOCH_NS) / NS_PER_S for frame in chunk.frames]


def push_all(chunker: Chunker, times_s: list[float]) -> list[Chunk]:
    return [chunk for at_s in times_s for chunk in chunker.push(frame(at_s))]


@pytest.mark.parametrize(
    "rgb",
    [PICTURE.astype(np.float32), PICTURE[..., 0], PICTURE[..., :2], PICTURE[None]],
    ids=["float", "grey", "two channels", "a batch"],
)
def test_a_frame_that_is_not_a_picture_is_refused_with_what_it_is(rgb: np.ndarray) -> None:
    with pytest.raises(SourceError) as caught:
        Frame(0, rgb, "clip.mp4")
    assert str(caught.value) == (
        f"clip.mp4: a frame must be uint8 [H, W, 3], got {rgb.dtype} {list(rgb.shape)}"
    )


@pytest.mark.parametrize("shape", [(MIN_SIDE_PX - 1, 64, 3), (64, MIN_SIDE_PX - 1, 3), (0, 0, 3)])
def test_a_frame_too_small_to_be_seen_is_refused_with_its_size(shape: tuple[int, int, int]) -> None:
    with pytest.raises(SourceError, match=f"frame: a {shape[1]}x{shape[0]} picture is too small.* 28 px"):
        Frame(0, np.zeros(shape, np.uint8))


def test_a_chunk_gives_its_pictures_oldest_first() -> None:
    pictures = [np.full_like(PICTURE, value) for value in (1, 2)]
    rgb = Chunk(0, tuple(frame(k / 2, picture) for k, picture in enumerate(pictures))).rgb()
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, np.stack(pictures))


@invariant
@given(
    layout=st.sampled_from([(1.0, 2.0), (1.0, 1.0), (2.0, 2.0), (0.5, 4.0), (1.0, 25.0), (10.0, 0.1)]),
    steps_ms=st.lists(
        st.one_of(st.integers(0, 120), st.integers(-400, 1500), st.sampled_from([5000, -20000])), max_size=80
    ),
)
def test_the_first_frame_of_every_slot_is_kept_and_every_frame_is_counted(
    layout: tuple[float, float], steps_ms: list[int]
) -> None:
    chunk_s, fps = layout
    slots = round(chunk_s * fps)
    ledger = FrameLedger()
    chunker = Chunker(chunk_s, fps, ledger)
    expected: dict[int, int] = {}  # slot of the stream -> stamp of its first frame
    late, at_ms, newest_ms = 0, 0, 0
    chunks: list[Chunk] = []
    for k, step_ms in enumerate(steps_ms):
        at_ms = at_ms + step_ms if k else 0
        newest_ms = max(newest_ms, at_ms)
        for chunk in chunker.push(frame(at_ms / 1000)):
            ledger.use(len(chunk.frames))
            chunks.append(chunk)
        if at_ms < newest_ms:
            late += 1
        else:
            slot = math.floor(Fraction(at_ms, 1000) * Fraction(fps) + Fraction(1, 4))
            expected.setdefault(slot, EPOCH_NS + at_ms * 1_000_000)
        assert ledger.received == k + 1 == ledger.used + ledger.dropped.total() + ledger.pending
        assert ledger.pending < slots, "a chunk with all its frames was held back"
    for chunk in chunker.flush():
        ledger.use(len(chunk.frames))
        chunks.append(chunk)
    kept = {}
    for chunk in chunks:
        for each in chunk.frames:
            in_chunk = [slot for slot, stamp_ns in expected.items() if stamp_ns == each.stamp_ns]
            kept[in_chunk[0]] = each.stamp_ns
            assert in_chunk[0] // slots == chunk.index
    assert kept == expected
    assert [chunk.index for chunk in chunks] == sorted({slot // slots for slot in expected})
    assert ledger.pending == 0
    assert ledger.dropped[DROPPED_LATE] == late
    assert ledger.dropped[DROPPED_RATE] == len(steps_ms) - late - len(expected)


@invariant
@given(
    layout=st.sampled_from([(1.0, 2.0), (1.0, 3.0), (0.5, 4.0), (1.0, 30.0), (3.0, 1.0)]),
    jitters=st.lists(st.floats(-0.249, 0.249), min_size=1, max_size=60),
)
def test_jitter_below_a_quarter_of_a_slot_loses_no_frame_of_the_nominal_rate(
    layout: tuple[float, float], jitters: list[float]
) -> None:
    chunk_s, fps = layout
    slots = round(chunk_s * fps)
    ledger = FrameLedger()
    chunker = Chunker(chunk_s, fps, ledger)
    times_s = [0.0, *((k + jitter) / fps for k, jitter in enumerate(jitters, 1))]
    chunks = push_all(chunker, times_s) + chunker.flush()
    assert ledger.dropped.total() == 0
    counts = [len(chunk.frames) for chunk in chunks]
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert sum(counts) == len(times_s)
    assert set(counts[:-1]) <= {slots}


def test_a_frame_more_than_a_quarter_of_a_slot_early_loses_to_the_one_before() -> None:
    ledger = FrameLedger()
    assert push_all(Chunker(1.0, 2.0, ledger), [0.0, 0.37]) == []
    assert ledger.dropped == {DROPPED_RATE: 1}


def test_a_fast_source_gives_the_first_frame_of_each_slot() -> None:
    chunks = push_all(Chunker(1.0, 2.0, FrameLedger()), [k / 10 for k in range(20)])
    assert [seconds(chunk) for chunk in chunks] == [[0.0, 0.4], [0.9, 1.4]]


def test_a_chunk_is_complete_with_its_last_slot_and_does_not_wait_for_the_next_frame() -> None:
    chunker = Chunker(1.0, 2.0, FrameLedger())
    assert chunker.push(frame(0.0)) == []
    (chunk,) = chunker.push(frame(0.5))
    assert (chunk.index, seconds(chunk)) == (0, [0.0, 0.5])


def test_a_gap_in_the_stream_is_a_gap_in_the_numbers() -> None:
    chunker = Chunker(1.0, 2.0, FrameLedger())
    chunks = push_all(chunker, [0.0, 0.5, 1.0, 7.0, 9.5]) + chunker.flush()
    assert [(chunk.index, seconds(chunk)) for chunk in chunks] == [
        (0, [0.0, 0.5]),
        (1, [1.0]),
        (7, [7.0]),
        (9, [9.5]),
    ]


def test_one_frame_can_complete_two_chunks() -> None:
    chunker = Chunker(1.0, 2.0, FrameLedger())
    chunker.push(frame(0.0))
    assert [(c.index, seconds(c)) for c in chunker.push(frame(3.5))] == [(0, [0.0]), (3, [3.5])]


def test_a_frame_older_than_one_already_seen_is_dropped_as_late() -> None:
    ledger = FrameLedger()
    chunks = push_all(Chunker(1.0, 2.0, ledger), [0.0, 0.2, 0.1, -5.0, 0.5])
    assert [seconds(chunk) for chunk in chunks] == [[0.0, 0.5]]
    assert ledger.dropped == {DROPPED_RATE: 1, DROPPED_LATE: 2}


def test_a_change_of_size_is_refused_with_both_sizes_and_the_time_and_what_came_before_survives() -> None:
    ledger = FrameLedger()
    chunker = Chunker(1.0, 2.0, ledger)
    chunker.push(frame(0.0, np.zeros((48, 64, 3), np.uint8)))
    with pytest.raises(SourceError) as caught:
        chunker.push(frame(12.3, np.zeros((32, 40, 3), np.uint8)))
    assert str(caught.value) == "camera 0: the size changed from 64x48 to 40x32 12.3 s into the stream"
    assert ledger.dropped == {DROPPED_SIZE: 1}
    assert [seconds(chunk) for chunk in chunker.flush()] == [[0.0]]


def test_flushing_twice_gives_nothing_twice() -> None:
    chunker = Chunker(1.0, 2.0, FrameLedger())
    chunker.push(frame(0.0))
    assert len(chunker.flush()) == 1
    assert chunker.flush() == []


def test_the_ledgers_drops_are_a_copy() -> None:
    ledger = FrameLedger()
    ledger.drop(DROPPED_RATE, 2)
    ledger.dropped[DROPPED_RATE] += 5
    assert ledger.dropped == {DROPPED_RATE: 2}


def test_the_newest_chunk_wins_and_the_others_are_counted_as_stale() -> None:
    ledger = FrameLedger()
    mailbox = LatestMailbox(ledger)
    for index, frames in enumerate([2, 1, 2]):
        mailbox.put(Chunk(index, tuple(frame(index) for _ in range(frames))))
    chunk = mailbox.get()
    assert chunk is not None and chunk.index == 2
    assert ledger.dropped == {DROPPED_STALE: 3}
    assert mailbox.get(timeout_s=0) is None and not mailbox.closed


def test_what_is_inside_when_the_mailbox_closes_can_still_be_fetched() -> None:
    mailbox = LatestMailbox(FrameLedger())
    mailbox.put(Chunk(4, (frame(0.0),)))
    mailbox.close()
    assert not mailbox.closed
    chunk = mailbox.get()
    assert chunk is not None and chunk.index == 4
    assert mailbox.closed and mailbox.get() is None


def test_closing_wakes_a_waiting_reader() -> None:
    mailbox = LatestMailbox(FrameLedger())
    got: list[Chunk | None] = []
    reader = threading.Thread(target=lambda: got.append(mailbox.get()), daemon=True)
    reader.start()
    mailbox.close()
    reader.join(10)
    assert got == [None]


def test_a_producer_and_a_consumer_account_for_every_frame() -> None:
    ledger = FrameLedger()
    mailbox = LatestMailbox(ledger)
    sizes = [int(n) for n in np.random.default_rng(0).integers(1, 4, 500)]
    taken: list[Chunk] = []

    def consume() -> None:
        while (chunk := mailbox.get()) is not None:
            ledger.use(len(chunk.frames))
            taken.append(chunk)

    consumer = threading.Thread(target=consume, daemon=True)
    consumer.start()
    for index, size in enumerate(sizes):
        for _ in range(size):
            ledger.receive()
        mailbox.put(Chunk(index, tuple(frame(index) for _ in range(size))))
    mailbox.close()
    consumer.join(10)
    numbers = [chunk.index for chunk in taken]
    assert numbers == sorted(set(numbers)), "a chunk came twice or out of order"
    assert numbers[-1] == len(sizes) - 1, "the newest chunk was lost"
    assert ledger.used == sum(sizes[index] for index in numbers)
    assert ledger.dropped[DROPPED_STALE] == sum(sizes) - ledger.used
    assert ledger.pending == 0
