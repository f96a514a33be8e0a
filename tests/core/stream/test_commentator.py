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

"""Chunks in, events out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
import threading
import time
from typing import Any

import numpy as np
import pytest
from small_stream import chunk_at, Script, small_config
from svlm_core.errors import CacheFullError, ConfigError, NumericsError, QueryError, SourceError
from svlm_core.events import CommentaryEvent, KIND_ANSWER, KIND_COMMENTARY, KIND_GAP, KIND_RESET
from svlm_core.frames import Chunk, Frame, FrameLedger, NS_PER_S
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.commentator import Commentator, MAX_WAITING_QUERIES
from svlm_core.stream.protocol import Protocol
from svlm_core.stream.query import Query
from svlm_core.stream.result import ChunkResult
from svlm_core.stream.session import StreamSession
import torch

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


def told(events: list[CommentaryEvent]) -> list[tuple[str, str, str]]:
    return [(event.kind, event.query_id, event.text) for event in events]


def test_a_question_is_answered_by_the_words_of_the_next_chunk(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a", "b", "c")
    setup.take(0)
    setup.commentator.ask(Query("what?", "q1"))
    (answer,) = setup.take(1)
    assert (answer.kind, answer.query_id, answer.text, answer.words) == (KIND_ANSWER, "q1", "b", "b")
    assert (answer.seq, answer.chunk_index, answer.frames_used) == (1, 1, 2)
    assert (answer.stamp_oldest_ns, answer.stamp_newest_ns) == (NS_PER_S, NS_PER_S + HALF_NS)
    assert answer.latency_ms > 0
    assert told(setup.take(2)) == [(KIND_COMMENTARY, "", "c")]


def test_several_questions_are_answered_one_a_chunk_oldest_first(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a", "b", "c", "d")
    for text, query_id in (("who?", "q1"), ("what?", "q2"), ("what?", "q1")):
        setup.commentator.ask(Query(text, query_id))
    answers = [answer for index in range(4) for answer in setup.take(index)]
    assert told(answers) == [
        (KIND_ANSWER, "q1", "a"),
        (KIND_ANSWER, "q2", "b"),
        (KIND_ANSWER, "q1", "c"),
        (KIND_COMMENTARY, "", "d"),
    ]


@pytest.mark.parametrize("said", ["", " ..."], ids=["nothing", "silence"])
def test_an_answer_without_words_is_an_event_too(small_model: StreamModel, said: str) -> None:
    setup = Setup(small_model, said)
    setup.commentator.ask(Query("what?", "q1"))
    assert told(setup.take(0)) == [(KIND_ANSWER, "q1", "")]
    assert setup.commentator.summary().silent_chunks == 1


def test_an_answer_comes_after_the_gap_before_it(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a")
    setup.commentator.ask(Query("what?", "q1"))
    assert told(setup.take(3)) == [(KIND_GAP, "", ""), (KIND_ANSWER, "q1", "a")]


def test_an_answer_that_is_cut_goes_on_as_commentary_with_the_questions_id(small_model: StreamModel) -> None:
    setup = Setup(small_model, "long answer that goes on and on", max_new_tokens=12)
    setup.commentator.ask(Query("what?", "q1"))
    events = [event for index in range(4) for event in setup.take(index)]
    assert [(event.kind, event.query_id) for event in events] == [
        (KIND_ANSWER, "q1"),
        (KIND_COMMENTARY, "q1"),
        (KIND_COMMENTARY, "q1"),
    ]
    assert "".join(event.text for event in events).replace(" ", "") == "longanswerthatgoesonandon"


def test_an_answer_is_cut_by_the_deadline_like_any_words(small_model: StreamModel) -> None:
    setup = Setup(small_model, "ab", "c")
    setup.commentator.ask(Query("what?", "q1"))
    first = setup.commentator.take(chunk_at(0), time.monotonic() - 60)
    rest = [event for index in (1, 2, 3) for event in setup.take(index)]
    assert told(first) == [(KIND_ANSWER, "q1", "a")]
    assert told(rest) == [(KIND_COMMENTARY, "q1", "b"), (KIND_COMMENTARY, "", "c")]


def test_a_question_in_a_chunk_that_no_model_can_see_waits_for_the_next(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a")
    setup.commentator.ask(Query("what?", "q1"))
    with pytest.raises(SourceError):
        setup.take_chunk(Chunk(0, (Frame(0, np.zeros((28, 28 * 201, 3), np.uint8)),)))
    assert told(setup.take(1)) == [(KIND_GAP, "", ""), (KIND_ANSWER, "q1", "a")]


def test_a_question_that_finds_a_full_cache_waits(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a", policy="full", full_capacity_tokens=256, previous_text="x" * 256)
    setup.commentator.ask(Query("what?", "q1"))
    with pytest.raises(CacheFullError):
        setup.take(0)
    assert told(setup.commentator.dismiss()) == [(KIND_ANSWER, "q1", "")]


def test_a_chunk_that_is_cancelled_before_the_model_read_it_leaves_its_question(
    small_model: StreamModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(small_model, "a")
    setup.commentator.ask(Query("what?", "q1"))
    encode = small_model.encode_vision

    def cancel_meanwhile(vision: Any) -> torch.Tensor:
        setup.commentator.cancel()
        return encode(vision)

    monkeypatch.setattr(small_model, "encode_vision", cancel_meanwhile)
    assert setup.take(0) == []
    monkeypatch.undo()
    assert told(setup.take(1)) == [(KIND_ANSWER, "q1", "a")]


def test_scores_that_are_not_finite_are_a_reset_and_answer_the_question_without_words(
    small_model: StreamModel,
) -> None:
    setup = Setup(small_model, "a", "", "b")
    setup.take(0)
    for query_id in ("q1", "q2"):
        setup.commentator.ask(Query("what?", query_id))
    with torch.inference_mode():
        setup.session.context.arena.values[..., 0, :] = torch.nan
    with pytest.raises(NumericsError) as caught:
        setup.take(1)
    events = setup.take(2)
    assert told(events) == [
        (KIND_RESET, "", str(caught.value)),
        (KIND_ANSWER, "q1", ""),
        (KIND_GAP, "", ""),
        (KIND_ANSWER, "q2", "b"),
    ]
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert [event.chunk_index for event in events] == [1, 1, 2, 2]


def test_a_question_that_comes_while_a_chunk_fails_is_put_to_the_next(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a", "", "b")
    setup.take(0)
    with torch.inference_mode():
        setup.session.context.arena.values[..., 0, :] = torch.nan
    step = setup.session.step

    def ask_meanwhile(*arguments: Any) -> ChunkResult:
        setup.commentator.ask(Query("what?", "q1"))
        return step(*arguments)

    setup.session.step = ask_meanwhile  # type: ignore[method-assign]
    with pytest.raises(NumericsError):
        setup.take(1)
    setup.session.step = step  # type: ignore[method-assign]
    assert [(kind, query_id) for kind, query_id, _ in told(setup.take(2))] == [
        (KIND_RESET, ""),
        (KIND_GAP, ""),
        (KIND_ANSWER, "q1"),
    ]


def test_what_is_owed_is_handed_out_when_no_chunk_will_come(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a")
    setup.take(0)
    for query_id in ("q1", "q2"):
        setup.commentator.ask(Query("what?", query_id))
    with torch.inference_mode():
        setup.session.context.arena.values[..., 0, :] = torch.nan
    with pytest.raises(NumericsError):
        setup.take(1)
    events = setup.commentator.dismiss()
    assert [(event.kind, event.query_id, event.seq) for event in events] == [
        (KIND_RESET, "", 1),
        (KIND_ANSWER, "q1", 2),
        (KIND_ANSWER, "q2", 3),
    ]
    assert setup.commentator.dismiss() == []


def test_a_restart_hands_out_what_is_owed_and_questions_wait_on(small_model: StreamModel) -> None:
    setup = Setup(small_model, "a", "", "b")
    setup.take(0)
    setup.commentator.ask(Query("what?", "q1"))
    with torch.inference_mode():
        setup.session.context.arena.values[..., 0, :] = torch.nan
    with pytest.raises(NumericsError):
        setup.take(1)
    setup.commentator.ask(Query("where?", "q2"))
    events = setup.commentator.restart("lens", "the bag starts over")
    assert [(event.kind, event.query_id, event.seq) for event in events] == [
        (KIND_RESET, "", 1),
        (KIND_ANSWER, "q1", 2),
        (KIND_RESET, "", 3),
    ]
    assert told(setup.take(0)) == [(KIND_ANSWER, "q2", "b")]


def test_a_cut_answer_does_not_go_on_in_another_stream(small_model: StreamModel) -> None:
    setup = Setup(small_model, "long answer", max_new_tokens=5)
    setup.commentator.ask(Query("what?", "q1"))
    setup.take(0)
    setup.commentator.restart("lens", "time jumped back by 3.2 s")
    (event,) = setup.take(0)
    assert (event.kind, event.query_id) == (KIND_COMMENTARY, "")


def test_a_restart_before_the_first_chunk_has_no_last_frame(small_model: StreamModel) -> None:
    (reset,) = Setup(small_model).commentator.restart("lens", "asked to")
    assert (reset.stamp_oldest_ns, reset.stamp_newest_ns, reset.seq) == (0, 0, 0)


def test_a_question_that_is_too_long_is_refused_when_it_is_asked(small_model: StreamModel) -> None:
    setup = Setup(small_model, max_query_tokens=3)
    with pytest.raises(QueryError, match="max_query_tokens allows 3"):
        setup.commentator.ask(Query("what?", "q1"))
    assert setup.take(0) == []


def test_no_more_questions_wait_than_can_be_answered_in_time(small_model: StreamModel) -> None:
    setup = Setup(small_model)
    for number in range(MAX_WAITING_QUERIES):
        setup.commentator.ask(Query("what?", str(number)))
    with pytest.raises(QueryError, match=f"{MAX_WAITING_QUERIES} questions wait for an answer already"):
        setup.commentator.ask(Query("what?", "late"))
    assert told(setup.take(0)) == [(KIND_ANSWER, "0", "")]
    setup.commentator.ask(Query("what?", "again"))
    answers = setup.commentator.dismiss()
    assert [answer.query_id for answer in answers] == [
        *map(str, range(1, MAX_WAITING_QUERIES)),
        "again",
    ]
    assert [answer.seq for answer in answers] == list(range(1, 1 + MAX_WAITING_QUERIES))
    assert setup.commentator.dismiss() == []


def test_questions_from_many_threads_are_each_answered_once(small_model: StreamModel) -> None:
    setup = Setup(small_model)
    answered: list[str] = []
    one_answered = threading.Condition()

    def ask(thread: int) -> None:
        for number in range(6):
            with one_answered:
                while True:
                    try:
                        setup.commentator.ask(Query("what?", f"{thread}.{number}"))
                        break
                    except QueryError:  # too many wait
                        assert one_answered.wait(20.0)

    with ThreadPoolExecutor(4) as askers:
        asking = [askers.submit(ask, thread) for thread in range(4)]
        for index in range(1000):
            events = setup.take(index)
            with one_answered:
                answered += [event.query_id for event in events if event.kind == KIND_ANSWER]
                one_answered.notify_all()
            if len(answered) == 24:
                break
        for each in asking:
            each.result()
    assert answered and sorted(answered) == [
        f"{thread}.{number}" for thread in range(4) for number in range(6)
    ]
    for thread in range(4):
        own = [query_id for query_id in answered if query_id.startswith(f"{thread}.")]
        assert own == sorted(own), "a thread's questions were answered out of order"


def test_settings_change_before_the_next_chunk_and_a_bad_change_is_refused(small_model: StreamModel) -> None:
    setup = Setup(small_model, "abcdef", "abcdef")
    config = setup.session.config
    (whole,) = setup.take(0)
    setup.commentator.reconfigure(config.replace({"max_new_tokens": 2}, "test"))
    (cut,) = setup.take(1)
    assert (whole.text, cut.text) == ("abcdef", "ab")
    with pytest.raises(ConfigError, match="fps cannot change"):
        setup.commentator.reconfigure(config.replace({"fps": 4.0}, "test"))


def test_a_live_change_of_the_budget_counts_for_the_next_chunk(small_model: StreamModel) -> None:
    setup = Setup(small_model, "abc", chunk_budget_s=1.0)
    setup.commentator.reconfigure(setup.session.config.replace({"chunk_budget_s": 3600.0}, "test"))
    (event,) = setup.commentator.take(chunk_at(0), time.monotonic() - 60)
    assert event.text == "abc"
