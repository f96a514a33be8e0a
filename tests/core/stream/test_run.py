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

"""Sources through a session: recorded ones wait for the model, live ones do not."""

from __future__ import annotations

from collections.abc import Iterator
import threading

import pytest
from small_stream import FPS, frame_at, Script, small_config
from svlm_core.errors import CacheFullError, QueryError, SourceError
from svlm_core.events import CommentaryEvent, KIND_ANSWER, KIND_COMMENTARY, KIND_GAP
from svlm_core.frames import Frame
from svlm_core.model.adapter import StreamModel
from svlm_core.sources.paced import Paced
from svlm_core.sources.source import Source
from svlm_core.stream.protocol import Protocol
from svlm_core.stream.query import Query, TimedQuery
from svlm_core.stream.run import StreamRun
from svlm_core.stream.session import StreamSession

WAIT_S = 30  # far longer than anything takes: only a failing test waits so long


class Listed(Source):
    """Gives frames; may wait before some of them, and may break behind the last."""

    fps = float(FPS)

    def __init__(
        self,
        frames: list[Frame],
        live: bool = False,
        breaks: Exception | None = None,
        gates: dict[int, threading.Event] | None = None,
    ) -> None:
        self.name = "listed"
        self.live = live
        self.frames_total: int | None = len(frames)
        self.taken = threading.Event()  # whoever reads has dealt with the last frame
        self.closed = threading.Event()
        self._frames, self._breaks, self._gates = frames, breaks, gates or {}

    def __iter__(self) -> Iterator[Frame]:
        for number, frame in enumerate(self._frames):
            if number in self._gates:
                self._gates[number].wait(WAIT_S)
            if self.closed.is_set():
                return
            yield frame
        self.taken.set()
        if self._breaks:
            raise self._breaks

    def close(self) -> None:
        self.closed.set()
        for gate in self._gates.values():
            gate.set()


def frames(count: int, fps: float = FPS) -> list[Frame]:
    return [frame_at(number, fps) for number in range(count)]


def session(model: StreamModel, words: int = 0) -> StreamSession:
    """A session that says "w" about each of the first chunks, however slow the machine is."""
    config = small_config(chunk_budget_s=3600.0)
    return StreamSession(model, config, Script(Protocol.from_config(config, model.tokenizer), *["w"] * words))


def until_it_breaks(run: StreamRun) -> tuple[list[int], list[CommentaryEvent], Exception | None]:
    """Chunk numbers, events, and the error that ended the run."""
    numbers: list[int] = []
    events: list[CommentaryEvent] = []
    try:
        for chunk, said in run:
            numbers.append(chunk.index)
            events += said
    except Exception as error:
        return numbers, events, error
    return numbers, events, None


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "svlm-source"]


def test_a_recorded_source_waits_every_chunk_is_understood(small_model: StreamModel) -> None:
    run = StreamRun(Listed(frames(61, fps=10)), session(small_model, words=7))
    numbers, events, error = until_it_breaks(run)
    assert (numbers, error) == (list(range(7)), None)
    assert [(event.seq, event.kind, event.chunk_index) for event in events] == [
        (k, KIND_COMMENTARY, k) for k in range(7)
    ]
    assert {event.camera for event in events} == {"listed"}
    summary = run.summary()
    assert (summary.frames_received, summary.frames_used) == (61, 13)
    assert summary.frames_dropped == {"rate": 48}
    assert sum(event.frames_dropped.get("rate", 0) for event in events) == 48


def test_a_recording_with_a_hole_has_a_gap_event(small_model: StreamModel) -> None:
    run = StreamRun(Listed(frames(4) + [frame_at(k) for k in range(12, 16)]), session(small_model, words=4))
    numbers, events, _ = until_it_breaks(run)
    assert numbers == [0, 1, 6, 7]
    assert [(event.seq, event.kind) for event in events] == [
        (0, KIND_COMMENTARY),
        (1, KIND_COMMENTARY),
        (2, KIND_GAP),
        (3, KIND_COMMENTARY),
        (4, KIND_COMMENTARY),
    ]


@pytest.mark.parametrize("live", [False, True], ids=["recorded", "live"])
def test_everything_before_a_break_is_handed_out_then_the_error(small_model: StreamModel, live: bool) -> None:
    source = Listed(frames(5), live, SourceError("listed: cut short at 2.5 s"))
    run = StreamRun(source, session(small_model))
    numbers, _, error = until_it_breaks(run)
    assert isinstance(error, SourceError) and str(error) == "listed: cut short at 2.5 s"
    assert numbers[-1] == 2, "the half-filled chunk before the break was lost"
    assert live or numbers == [0, 1, 2]
    summary = run.summary()
    assert summary.frames_received == 5 == summary.frames_used + sum(summary.frames_dropped.values())


@pytest.mark.parametrize("live", [False, True], ids=["recorded", "live"])
def test_a_change_of_size_ends_the_stream_after_what_came_before(
    small_model: StreamModel, live: bool
) -> None:
    run = StreamRun(Listed([*frames(3), frame_at(3, side_px=84)], live), session(small_model))
    numbers, _, error = until_it_breaks(run)
    assert numbers[-1] == 1
    assert isinstance(error, SourceError) and "56x56 to 84x84 1.5 s into the stream" in str(error)
    summary = run.summary()
    assert summary.frames_dropped.pop("size") == 1
    assert summary.frames_received - 1 == 3 == summary.frames_used + sum(summary.frames_dropped.values())


def test_an_unforeseen_error_in_the_reader_reaches_whoever_iterates(small_model: StreamModel) -> None:
    run = StreamRun(Listed(frames(2), True, ZeroDivisionError("bug")), session(small_model))
    numbers, _, error = until_it_breaks(run)
    assert numbers == [0] and isinstance(error, ZeroDivisionError)


def test_a_live_source_goes_on_without_the_model_which_takes_the_newest(small_model: StreamModel) -> None:
    hold = threading.Event()
    source = Listed(frames(12), live=True, gates={2: hold})
    run = StreamRun(source, session(small_model, words=2))
    steps = iter(run)
    chunk, said = next(steps)
    assert chunk.index == 0
    events = list(said)
    hold.set()
    assert source.taken.wait(WAIT_S)
    chunk, said = next(steps)
    events += said
    assert chunk.index == 5
    assert next(steps, None) is None
    assert [(event.seq, event.kind, event.frames_dropped) for event in events] == [
        (0, KIND_COMMENTARY, {}),
        (1, KIND_GAP, {"stale": 8}),
        (2, KIND_COMMENTARY, {}),
    ]
    summary = run.summary()
    assert (summary.frames_received, summary.frames_used, summary.frames_dropped) == (12, 4, {"stale": 8})


def test_the_latency_of_a_live_chunk_includes_its_wait_for_the_model(small_model: StreamModel) -> None:
    wait_s = 0.25
    hold = threading.Event()
    source = Listed(frames(4), live=True, gates={2: hold})
    steps = iter(StreamRun(source, session(small_model, words=2)))
    next(steps)
    hold.set()
    assert source.taken.wait(WAIT_S)
    threading.Event().wait(wait_s)  # the model is busy
    _, (event,) = next(steps)
    assert event.latency_ms >= wait_s * 1e3


@pytest.mark.parametrize("ending", ["closed", "full"])
def test_the_reader_ends_with_the_stream(small_model: StreamModel, ending: str) -> None:
    others = set(readers())
    never = threading.Event()  # a camera that has nothing more to show until it is closed
    source = Listed(frames(3), live=True, gates={2: never})
    config = small_config(policy="full", full_capacity_tokens=256, previous_text="x" * 256)
    stream = StreamSession(small_model, config) if ending == "full" else session(small_model)
    steps = iter(StreamRun(source, stream))
    if ending == "full":
        with pytest.raises(CacheFullError):
            next(steps)
    else:
        next(steps)
        (reader,) = set(readers()) - others
        assert reader.is_alive()
        steps.close()  # type: ignore[attr-defined]  # what Ctrl-C in the loop's body comes to
    assert source.closed.is_set()
    assert set(readers()) <= others


def test_a_full_cache_ends_a_recorded_stream_at_that_chunk(small_model: StreamModel) -> None:
    config = small_config(policy="full", full_capacity_tokens=256)
    run = StreamRun(Listed(frames(40)), StreamSession(small_model, config))
    numbers, _, error = until_it_breaks(run)
    assert isinstance(error, CacheFullError)
    assert numbers == list(range(len(numbers))) and 1 < len(numbers) < 20
    assert run.summary().frames_used == FPS * len(numbers)


def test_nothing_is_read_before_the_iteration_begins(small_model: StreamModel) -> None:
    source = Listed(frames(2))
    run = StreamRun(source, session(small_model))
    assert run.summary().frames_received == 0 and not source.taken.is_set()


@pytest.mark.parametrize("live", [False, True], ids=["recorded", "live"])
def test_questions_are_asked_in_the_chunk_of_their_time_one_a_chunk(
    small_model: StreamModel, live: bool
) -> None:
    times_s = {
        "early": 0.0,
        "end of 2": 2.99,
        "same": 2.5,
        "at 5": 5.0,
        "last": 6.5,
        "too late": 6.9,
        "never": 7.0,
    }
    queries = [TimedQuery("what?", query_id, at_s) for query_id, at_s in times_s.items()]
    gates = {2 * k: threading.Event() for k in range(1, 7)}  # each chunk is taken before the next one comes
    run = StreamRun(Listed(frames(14), live, gates=gates if live else None), session(small_model), queries)
    answers = []
    for chunk, events in run:
        answers += [(event.query_id, event.chunk_index) for event in events if event.kind == KIND_ANSWER]
        if 2 * chunk.index + 2 in gates:
            gates[2 * chunk.index + 2].set()
    assert answers == [("early", 0), ("same", 2), ("end of 2", 3), ("at 5", 5), ("last", 6)]
    assert [query.query_id for query in run.unasked] == ["too late", "never"]


def test_a_question_too_long_is_refused_before_anything_is_read(small_model: StreamModel) -> None:
    source = Listed(frames(2))
    with pytest.raises(QueryError, match="max_query_tokens allows 64"):
        StreamRun(source, session(small_model), [TimedQuery("x" * 65, at_s=1.0)])
    assert not source.taken.is_set()


def test_whoever_has_a_run_can_ask_while_it_runs(small_model: StreamModel) -> None:
    run = StreamRun(Listed(frames(6)), session(small_model, words=3))
    told = []
    for chunk, events in run:
        told += [(event.kind, event.query_id) for event in events]
        if chunk.index == 0:
            run.commentator.ask(Query("what?", "q1"))
    assert told == [(KIND_COMMENTARY, ""), (KIND_ANSWER, "q1"), (KIND_COMMENTARY, "")]


def test_a_timed_question_waits_when_too_many_others_do(small_model: StreamModel) -> None:
    run = StreamRun(Listed(frames(40)), session(small_model), [TimedQuery("what?", "timed")])
    for number in range(16):
        run.commentator.ask(Query("what?", str(number)))
    answers = [event.query_id for _, events in run for event in events if event.kind == KIND_ANSWER]
    assert answers == [*map(str, range(16)), "timed"] and not run.unasked


class Damaged(Listed):
    """Passes over one message before its third frame and two behind its last."""

    frame_id = "lens"

    def __iter__(self) -> Iterator[Frame]:
        for number, frame in enumerate(super().__iter__()):
            self.broken += number == 2
            yield frame
        self.broken += 2


@pytest.mark.parametrize("paced", [False, True])
def test_messages_that_are_no_picture_are_accounted_for(paced: bool, small_model: StreamModel) -> None:
    source: Source = Damaged(frames(4))
    run = StreamRun(Paced(source) if paced else source, session(small_model, words=2))
    _, events, error = until_it_breaks(run)
    assert error is None
    summary = run.summary()
    assert (summary.frames_received, summary.frames_used) == (7, 4)
    assert summary.frames_dropped == {"broken": 3}
    assert {event.frame_id for event in events} == {"lens"}
    assert run.last is not None and run.last.text == events[-1].text
