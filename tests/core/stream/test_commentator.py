"""Chunks in, events out."""

from __future__ import annotations

import time
from typing import Any

import pytest
from small_stream import Script, chunk_at, small_config

from svlm_core.events import KIND_COMMENTARY, KIND_GAP, KIND_RESET, CommentaryEvent
from svlm_core.frames import NS_PER_S, Chunk, FrameLedger
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.commentator import Commentator
from svlm_core.stream.protocol import Protocol
from svlm_core.stream.session import StreamSession

HALF_NS = NS_PER_S // 2


class Setup:
    """A commentator whose model says the given words, and the ledger of its camera."""

    def __init__(self, model: StreamModel, *words: str, **changes: Any) -> None:
        config = small_config(**changes)
        self.ledger = FrameLedger()
        script = Script(Protocol.from_config(config, model.tokenizer), *words)
        self.session = StreamSession(model, config, script)
        self.commentator = Commentator(self.session, self.ledger, "cam", "lens")

    def take(self, index: int, dropped: dict[str, int] | None = None) -> list[CommentaryEvent]:
        """Hand over chunk `index`; before it, some frames were dropped."""
        return self.take_chunk(chunk_at(index), dropped)

    def take_chunk(self, chunk: Chunk, dropped: dict[str, int] | None = None) -> list[CommentaryEvent]:
        for reason, frames in (dropped or {}).items():
            for _ in range(frames):
                self.ledger.receive()
            self.ledger.drop(reason, frames)
        for _ in chunk.frames:
            self.ledger.receive()
        return self.commentator.take(chunk)


def test_words_become_an_event_about_the_moment_of_their_frames(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a", "b")
    setup.take(0)
    (event,) = setup.take(1)
    assert (event.text, event.kind, event.seq, event.chunk_index) == ("b", KIND_COMMENTARY, 1, 1)
    assert (event.camera, event.frame_id) == ("cam", "lens")
    assert (event.stamp_oldest_ns, event.stamp_newest_ns) == (NS_PER_S, NS_PER_S + HALF_NS)
    assert (event.frames_used, event.frames_dropped) == (2, {})
    assert event.latency_ms > 0


def test_silence_is_no_event_but_is_counted(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a", " ...", "", "b")
    events = [event for index in range(4) for event in setup.take(index)]
    assert [(event.seq, event.text, event.chunk_index) for event in events] == [(0, "a", 0), (1, "b", 3)]
    summary = setup.commentator.summary()
    assert (summary.chunks, summary.silent_chunks, summary.events) == (4, 2, 2)


def test_missing_chunks_are_a_gap_event_before_the_words(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a", "b", "", "c")
    setup.take(0)
    gap, words = setup.take(5, {"stale": 8})
    assert (gap.text, gap.kind, gap.seq, gap.chunk_index, gap.frames_used) == ("", KIND_GAP, 1, 5, 0)
    assert (gap.stamp_oldest_ns, gap.stamp_newest_ns) == (HALF_NS, 5 * NS_PER_S), "from sight to sight"
    assert gap.frames_dropped == {"stale": 8} and gap.latency_ms == 0.0
    assert (words.seq, words.text, words.frames_dropped) == (2, "b", {})
    (silent_gap,) = setup.take(7)
    assert (silent_gap.kind, silent_gap.seq) == (KIND_GAP, 3), "a gap is told in silence too"
    assert [(event.kind, event.seq) for event in setup.take(8)] == [(KIND_COMMENTARY, 4)]


def test_a_gap_behind_a_frame_stamped_zero_begins_there(small_model: StreamModel) -> None:
    setup = Setup(small_model)
    setup.take_chunk(Chunk(0, chunk_at(0).frames[:1]))
    (gap,) = setup.take(3)
    assert (gap.stamp_oldest_ns, gap.stamp_newest_ns) == (0, 3 * NS_PER_S)


def test_a_stream_that_begins_late_begins_with_a_gap(small_model: StreamModel) -> None:
    gap, words = Setup(small_model, "a").take(2)
    assert (gap.kind, gap.seq, words.seq) == (KIND_GAP, 0, 1)
    assert (gap.stamp_oldest_ns, gap.stamp_newest_ns) == (2 * NS_PER_S, 2 * NS_PER_S)


def test_every_dropped_frame_is_reported_exactly_once(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a", "", "b", "", "c", "")
    drops = [{}, {"rate": 3}, {"rate": 1, "late": 2}, {"stale": 4}, {}, {"rate": 5}]
    events = [event for index, dropped in enumerate(drops) for event in setup.take(index, dropped)]
    assert [(event.text, event.frames_dropped) for event in events] == [
        ("a", {}),
        ("b", {"rate": 4, "late": 2}),
        ("c", {"stale": 4}),
    ]
    summary = setup.commentator.summary()
    assert summary.frames_dropped == {"rate": 9, "late": 2, "stale": 4}, "5 more since the last event"
    assert summary.frames_received == summary.frames_used + sum(summary.frames_dropped.values()) == 12 + 15


def test_latency_counts_from_the_arrival_of_the_newest_frame(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a", "b", chunk_budget_s=3600.0)
    (late,) = setup.commentator.take(chunk_at(0), time.monotonic() - 60)
    (quick,) = setup.commentator.take(chunk_at(1))
    assert 60e3 <= late.latency_ms < 120e3
    assert 0 < quick.latency_ms < 60e3
    summary = setup.commentator.summary()
    assert quick.latency_ms < summary.latency_ms_p50 < summary.latency_ms_p99 <= late.latency_ms + 1e-3


@pytest.mark.parametrize("budget_s, words", [(0.0, "a"), (30.0, "a"), (3600.0, "abc")])
def test_a_live_chunk_that_is_late_ends_at_its_budget_which_is_its_length_unless_set(
    small_model: StreamModel, budget_s: float, words: str
) -> None:
    setup = Setup(small_model, "abc", chunk_budget_s=budget_s)
    (event,) = setup.commentator.take(chunk_at(0), time.monotonic() - 60)
    assert event.text == words


def test_a_recorded_chunk_has_all_the_time_it_needs(small_model: StreamModel) -> None:
    setup = Setup(small_model, "abc", chunk_budget_s=0.001)
    (event,) = setup.commentator.take(chunk_at(0))
    assert event.text == "abc"


def test_the_summary_before_the_first_chunk_is_empty(small_model: StreamModel) -> None:
    setup = Setup(small_model)
    summary = setup.commentator.summary()
    assert (summary.chunks, summary.events, summary.latency_ms_p50, summary.cache_tokens) == (0, 0, 0.0, 0)
    assert setup.commentator.last is None


def test_the_last_result_and_the_cache_can_be_looked_at(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a")
    setup.take(0)
    assert setup.commentator.last is not None and setup.commentator.last.text == "a"
    assert setup.commentator.summary().cache_tokens == setup.session.cache_tokens > 0


def test_a_restarted_stream_forgets_and_has_no_gap(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a", "b")
    setup.take(4)
    before = setup.session.cache_tokens
    (reset,) = setup.commentator.restart("other lens", "time jumped back by 3.2 s")
    assert (reset.kind, reset.text, reset.words) == (KIND_RESET, "time jumped back by 3.2 s", "")
    assert (reset.seq, reset.frame_id, reset.chunk_index, reset.frames_used) == (2, "other lens", 0, 0)
    assert reset.stamp_oldest_ns == reset.stamp_newest_ns == 4 * NS_PER_S + HALF_NS, "the last frame before"
    assert setup.session.cache_tokens == 0 < before
    (event,) = setup.take(0)
    assert (event.kind, event.text, event.frame_id) == (KIND_COMMENTARY, "b", "other lens")
    assert event.seq == 3
