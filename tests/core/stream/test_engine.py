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

"""Many streams on one engine: each says, bit for bit, what it would say alone."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
import threading
import time
from typing import Any

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from small_stream import chunk_at, FPS, frame_at, small_config
from svlm_core.cache.segments import HEAD, Role
from svlm_core.config import StreamConfig
from svlm_core.errors import CacheFullError, ConfigError, EngineClosedError, NumericsError, SourceError
from svlm_core.events import KIND_ANSWER, KIND_COMMENTARY, KIND_RESET
from svlm_core.frames import Chunk, Frame, FrameLedger
from svlm_core.model.adapter import StreamModel
from svlm_core.stream.budget import ChunkBudget
from svlm_core.stream.commentator import Commentator
from svlm_core.stream.engine import Engine, EngineStream
from svlm_core.stream.query import Query
from svlm_core.stream.result import ChunkResult
from svlm_core.stream.sampling import Sampler
from svlm_core.stream.session import StreamSession
import torch

WAIT_S = 20.0  # for an answer that must come
FOR_EVER_S = 3600.0  # no batch forms by time-out


@dataclass
class Recorder:
    """Samples as the settings say, and keeps the logits."""

    config: StreamConfig
    logits: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._sampler = Sampler(self.config, torch.device("cpu"))

    def __call__(self, logits: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        self.logits.append(logits.clone())
        return self._sampler(logits, counts)


CONFIGS = [
    small_config(),
    small_config(prompt="another prompt, and a longer one", temperature=1.5, top_k=40, sampling_seed=3),
    small_config(policy="window", max_visual_tokens=12, text_window_tokens=5),
    small_config(policy="window-recompute", vision_window_s=3.0),
    small_config(policy="native-positions", previous_text="long ago it was said", repetition_penalty=1.3),
    small_config(policy="full", max_new_tokens=3, full_capacity_tokens=4000),
    small_config(policy="last-frames", time_text=False),
]
SIDES_PX = [56, 56, 112, 56, 84, 56, 28]


def camera_chunk(camera: int, index: int) -> Chunk:
    """Chunk `index` of camera `camera`, each of its own pictures and size."""
    first = 1000 * camera + index * FPS
    return Chunk(index, tuple(frame_at(first + k, side_px=SIDES_PX[camera]) for k in range(FPS)))


@pytest.fixture(scope="module")
def alone(small_model: StreamModel) -> list[tuple[list[ChunkResult], list[torch.Tensor]]]:
    """What each camera says, and its logits, when it has an engine for itself."""
    told = []
    for camera, config in enumerate(CONFIGS):
        recorder = Recorder(config)
        with Engine(small_model) as engine:
            stream = engine.open(config, recorder)
            told.append(([stream.step(camera_chunk(camera, i)) for i in range(8)], recorder.logits))
    return told


def said(results: list[ChunkResult]) -> list[tuple[int, ...]]:
    return [result.token_ids for result in results]


@pytest.mark.parametrize("threads", [1, 2])
def test_batched_equals_single_bit_for_bit(
    small_model: StreamModel, alone: list[tuple[list[ChunkResult], list[torch.Tensor]]], threads: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        recorders = [Recorder(config) for config in CONFIGS]
        together: list[list[ChunkResult]] = [[] for _ in CONFIGS]
        with Engine(small_model, batch_wait_s=FOR_EVER_S) as engine:
            streams = [
                engine.open(config, recorder) for config, recorder in zip(CONFIGS, recorders, strict=True)
            ]
            for index in range(8):
                futures = [stream.submit(camera_chunk(k, index)) for k, stream in enumerate(streams)]
                for results, future in zip(together, futures, strict=True):
                    results.append(future.result(WAIT_S))
    finally:
        torch.set_num_threads(before)
    for camera, (results, logits) in enumerate(alone):
        assert said(together[camera]) == said(results)
        assert all(map(torch.equal, recorders[camera].logits, logits)), f"camera {camera}"


def test_batched_equals_the_session_that_runs_alone(
    small_model: StreamModel, alone: list[tuple[list[ChunkResult], list[torch.Tensor]]]
) -> None:
    for camera, config in enumerate(CONFIGS):
        recorder = Recorder(config)
        session = StreamSession(small_model, config, recorder)
        results = [session.step(camera_chunk(camera, index)) for index in range(8)]
        assert said(results) == said(alone[camera][0])
        for own, batched in zip(recorder.logits, alone[camera][1], strict=True):
            torch.testing.assert_close(own, batched, rtol=0, atol=1e-4)


ACTIONS = ("step", "step", "step", "join", "leave", "pause", "resume", "reset")


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(plan=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 6)), min_size=8, max_size=16))
def test_joining_leaving_pausing_and_resetting_touch_nobody_else(
    small_model: StreamModel, plan: list[tuple[str, int]]
) -> None:
    histories: list[
        tuple[int, list[int], list[tuple[int, ...]]]
    ] = []  # camera, chunks since its reset, words
    plan = [("join", 0), ("join", 1), *plan]
    with Engine(small_model) as engine:
        open_: dict[int, tuple[EngineStream, list[int], list[tuple[int, ...]]]] = {}
        paused: set[int] = set()

        def join(camera: int) -> None:
            open_[camera] = (engine.open(CONFIGS[camera]), [], [])
            histories.append((camera, *open_[camera][1:]))

        for action, camera in plan:
            if action == "join" and camera not in open_:
                join(camera)
            elif action == "leave" and camera in open_:
                open_.pop(camera)[0].close()
                paused.discard(camera)
            elif action == "reset" and camera in open_:
                stream, _, _ = open_[camera]
                stream.reset()
                open_[camera] = (stream, [], [])
                histories.append((camera, *open_[camera][1:]))
            elif action == "pause" and camera in open_:
                open_[camera][0].pause()
                paused.add(camera)
            elif action == "resume" and camera in paused:
                open_[camera][0].resume()
                paused.discard(camera)
            elif action == "step":
                active = {k: v for k, v in open_.items() if k not in paused}
                futures = {
                    k: stream.submit(camera_chunk(k, len(chunks)))
                    for k, (stream, chunks, _) in active.items()
                }
                for k, future in futures.items():
                    _, chunks, words = active[k]
                    chunks.append(len(chunks))
                    words.append(future.result(WAIT_S).token_ids)
    for camera, chunks, words in histories:
        session = StreamSession(small_model, CONFIGS[camera])
        assert words == [session.step(camera_chunk(camera, index)).token_ids for index in chunks]


class Gate:
    """A choice that waits: the model's thread stands still inside a step until the gate is opened."""

    def __init__(self, word: int, closed: bool = True) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        self.chosen = 0
        self._word = word
        if not closed:
            self.open.set()

    def __call__(self, logits: torch.Tensor, counts: torch.Tensor) -> int:
        self.chosen += 1
        self.reached.set()
        assert self.open.wait(WAIT_S)
        return self._word


WORD = 97  # some letter: a turn that never ends by itself


def test_the_newest_waiting_chunk_wins_and_the_others_are_told(small_model: StreamModel) -> None:
    gate = Gate(WORD)
    with Engine(small_model, batch_wait_s=0.0) as engine:
        stream = engine.open(small_config(max_new_tokens=1), gate)
        running = stream.submit(chunk_at(0))
        assert gate.reached.wait(WAIT_S)
        flood = [stream.submit(chunk_at(index)) for index in range(1, 11)]  # ten times too fast
        assert engine.health().waiting == 1
        gate.open.set()
        assert running.result(WAIT_S).token_ids == flood[-1].result(WAIT_S).token_ids == (WORD,)
        assert all(future.cancelled() for future in flood[:-1])
        assert engine.health().chunks == 2
        ids = [i for segment in stream._session.context.segments if segment.chunk == 10 for i in segment.ids]
        assert ids, "the newest chunk is not in the context"


def test_health_answers_while_the_model_is_busy_and_closing_waits_for_one_step_only(
    small_model: StreamModel,
) -> None:
    gate = Gate(WORD)
    engine = Engine(small_model)
    stream = engine.open(small_config(policy="full", max_new_tokens=200), gate)
    endless = stream.submit(chunk_at(0))
    assert gate.reached.wait(WAIT_S)
    waiting = stream.submit(chunk_at(1))
    health = engine.health()
    assert (health.alive, health.streams, health.running, health.waiting) == (True, 1, 1, 1)
    closing = threading.Thread(target=engine.close)
    closing.start()
    with pytest.raises(CancelledError):
        waiting.result(WAIT_S)
    gate.open.set()
    closing.join(WAIT_S)
    assert gate.chosen == 1, "a further step was begun"
    assert endless.result(0).finish == "cancelled" and endless.result(0).token_ids == (WORD,)
    health = engine.health()
    assert (health.alive, health.streams, health.running) == (False, 0, 0)
    with pytest.raises(EngineClosedError):
        stream.submit(chunk_at(2))
    with pytest.raises(EngineClosedError):
        engine.open(small_config())


def test_cancelling_ends_one_chunk_after_the_step_it_is_in(small_model: StreamModel) -> None:
    gate = Gate(WORD)
    with Engine(small_model) as engine:
        stream = engine.open(small_config(max_new_tokens=50), gate)
        future = stream.submit(chunk_at(0))
        assert gate.reached.wait(WAIT_S)
        stream.cancel()
        gate.open.set()
        assert (future.result(WAIT_S).finish, gate.chosen) == ("cancelled", 1)
        after = stream.step(chunk_at(1))
        assert (after.finish, len(after.token_ids)) == ("length", 50), "the next chunk is not cancelled"


def test_a_spent_budget_cuts_at_a_token_and_the_phrase_goes_on(small_model: StreamModel) -> None:
    config = small_config(max_new_tokens=6)
    gate, other = Gate(WORD, closed=False), Gate(WORD, closed=False)
    with Engine(small_model, batch_wait_s=FOR_EVER_S) as engine:
        hurried, patient = engine.open(config, gate), engine.open(config, other)
        for index in range(3):
            late = hurried.submit(chunk_at(index), budget=ChunkBudget(deadline_s=0.0))
            early = patient.submit(chunk_at(index))
            assert (late.result(WAIT_S).finish, late.result().token_ids) == ("deadline", (WORD,))
            assert (early.result(WAIT_S).finish, early.result().token_ids) == ("length", 6 * (WORD,))
        spoken = [
            i for each in hurried._session.context.segments if each.role is Role.SPEECH for i in each.ids
        ]
        assert spoken == 3 * [WORD], "what was cut is not in the context that the next chunk goes on from"


def test_a_batch_forms_when_it_is_full_or_when_the_oldest_chunk_has_waited_long_enough(
    small_model: StreamModel,
) -> None:
    config = small_config(max_new_tokens=4)

    def steps(cameras: int, batch_wait_s: float, silent: int) -> int:
        """Batches run for one chunk of each camera; `silent` more cameras have nothing to say."""
        with Engine(small_model, batch_wait_s=batch_wait_s) as engine:
            streams = [engine.open(config, Gate(WORD, closed=False)) for _ in range(cameras + silent)]
            for future in [stream.submit(chunk_at(0)) for stream in streams[:cameras]]:
                future.result(WAIT_S)
            return engine.health().steps

    single = steps(1, FOR_EVER_S, silent=0)
    assert single == 1 + 4, "vision, and a pass for each token"
    assert steps(5, FOR_EVER_S, silent=0) == single, "five cameras do not run in one batch"
    assert single <= steps(2, 0.05, silent=1) <= 2 * single, "the time-out did not start the batch"


def test_no_batch_waits_for_a_stream_that_is_idle(small_model: StreamModel) -> None:
    config, wait_s = small_config(max_new_tokens=1), 0.5
    with Engine(small_model, batch_wait_s=wait_s) as engine:
        busy, _ = (engine.open(config, Gate(WORD, closed=False)) for _ in range(2))
        took_s = []
        for index in range(5):
            began_s = time.monotonic()
            busy.step(chunk_at(index))
            took_s.append(time.monotonic() - began_s)
        assert took_s[0] >= wait_s, "the other was opened just now, and may be about to begin"
        assert min(took_s) < wait_s / 2


def test_under_overload_the_cameras_take_turns(small_model: StreamModel) -> None:
    order: list[int] = []
    lock = threading.Lock()
    done = threading.Event()
    config = small_config(max_new_tokens=1)
    with Engine(small_model, max_batch=1, batch_wait_s=0.0) as engine:
        streams = [engine.open(config, Gate(WORD, closed=False)) for _ in range(3)]

        def again(camera: int, index: int, future: Future[ChunkResult]) -> None:
            if future.cancelled():
                return
            with lock:
                order.append(camera)
                if len(order) >= 30:
                    done.set()
            if not done.is_set():
                push(camera, index + 1)

        def push(camera: int, index: int) -> None:
            try:
                # camera 0 hands over ten chunks for one of the others
                for repeat in range(10 if camera == 0 else 1):
                    future = streams[camera].submit(chunk_at(10 * index + repeat))
            except EngineClosedError:
                return
            future.add_done_callback(lambda f: again(camera, index, f))

        for camera in range(3):
            push(camera, 0)
        assert done.wait(WAIT_S)
    assert min(order[:30].count(camera) for camera in range(3)) >= 9


def test_nan_in_one_stream_is_that_streams_error_alone(
    small_model: StreamModel, alone: list[tuple[list[ChunkResult], list[torch.Tensor]]]
) -> None:
    config = CONFIGS[1]
    recorder = Recorder(CONFIGS[0])
    with Engine(small_model, batch_wait_s=FOR_EVER_S) as engine:
        healthy, broken = engine.open(CONFIGS[0], recorder), engine.open(config)
        results = []
        for index in range(8):
            if index == 4:
                with torch.inference_mode():
                    broken._session.context.arena.values[..., 0, :] = torch.nan
            futures = healthy.submit(camera_chunk(0, index)), broken.submit(camera_chunk(1, index))
            results.append(futures[0].result(WAIT_S))
            if index == 4:
                with pytest.raises(NumericsError, match="NaN or infinite scores"):
                    futures[1].result(WAIT_S)
                assert broken.cache_tokens == 0
            else:
                futures[1].result(WAIT_S)
    assert said(results) == said(alone[0][0])
    assert all(map(torch.equal, recorder.logits, alone[0][1]))


def elongated(index: int) -> Chunk:
    return Chunk(index, (Frame(0, np.zeros((28, 28 * 201, 3), np.uint8)),))


def resized(index: int) -> Chunk:
    return Chunk(index, tuple(frame_at(k, side_px=56 if index < 4 else 280) for k in range(FPS)))


@pytest.mark.parametrize(
    "changes, chunk, error",
    [
        ({"policy": "full", "full_capacity_tokens": 256}, chunk_at, CacheFullError),
        ({"policy": "full", "full_capacity_tokens": 5000}, chunk_at, CacheFullError),
        ({}, elongated, SourceError),
        ({"max_visual_tokens": 100, "max_query_tokens": 0}, resized, CacheFullError),
    ],
    ids=["cache fills up", "cache too large for the model", "frames no model can see", "resolution changes"],
)
def test_bad_input_is_an_error_to_one_stream_alone(
    small_model: StreamModel,
    alone: list[tuple[list[ChunkResult], list[torch.Tensor]]],
    changes: dict[str, Any],
    chunk: Any,
    error: type[Exception],
) -> None:
    recorder = Recorder(CONFIGS[0])
    errors: list[BaseException | None] = []
    with Engine(small_model, batch_wait_s=FOR_EVER_S) as engine:
        healthy, broken = engine.open(CONFIGS[0], recorder), engine.open(small_config(**changes))
        results = []
        for index in range(8):
            futures = healthy.submit(camera_chunk(0, index)), broken.submit(chunk(index))
            results.append(futures[0].result(WAIT_S))
            errors.append(futures[1].exception(WAIT_S))
    assert error in {type(each) for each in errors}
    assert all(each is None or isinstance(each, error) for each in errors)
    assert said(results) == said(alone[0][0])
    assert all(map(torch.equal, recorder.logits, alone[0][1]))


def test_a_choice_that_fails_fails_its_stream_alone(small_model: StreamModel) -> None:
    def broken_choice(logits: torch.Tensor, counts: torch.Tensor) -> int:
        raise ValueError("no choice")

    with Engine(small_model, batch_wait_s=FOR_EVER_S) as engine:
        good = engine.open(small_config(max_new_tokens=2), Gate(WORD, closed=False))
        bad = engine.open(small_config(), broken_choice)
        for index in range(3):
            futures = good.submit(chunk_at(index)), bad.submit(chunk_at(index))
            assert futures[0].result(WAIT_S).token_ids == (WORD, WORD)
            with pytest.raises(ValueError, match="no choice"):
                futures[1].result(WAIT_S)


def test_an_engine_whose_streams_have_all_left_closes(small_model: StreamModel) -> None:
    engine = Engine(small_model)
    stream = engine.open(small_config(max_new_tokens=1), Gate(WORD, closed=False))
    stream.step(chunk_at(0))
    stream.close()
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(WAIT_S)
    assert not closing.is_alive(), "the worker was not told"


QUESTIONS = {2: "how many?", 3: "a longer question, of more tokens", 6: "?"}
CHANGES: dict[int, dict[str, Any]] = {
    3: {"temperature": 2.0, "max_new_tokens": 5},
    5: {"prompt": "something else, please"},
    6: {"sampling_seed": 7, "temperature": 0.0},
}


def asked_and_changed(stream: EngineStream, camera: int, index: int) -> Future[ChunkResult]:
    """Chunk `index` of a camera, with the question and after the change that are due."""
    if index in CHANGES:
        stream.reconfigure(stream.config.replace(CHANGES[index], "test"))
    query = Query(QUESTIONS[index]) if index in QUESTIONS else None
    return stream.submit(camera_chunk(camera, index), query=query)


def test_questions_and_changes_of_one_stream_touch_nobody_else(
    small_model: StreamModel, alone: list[tuple[list[ChunkResult], list[torch.Tensor]]]
) -> None:
    busy = (1, 4)  # the cameras that are asked and changed; they use the sampler of their settings
    expected = {}
    for camera in busy:
        with Engine(small_model) as engine:
            stream = engine.open(CONFIGS[camera])
            results = [asked_and_changed(stream, camera, index).result(WAIT_S) for index in range(8)]
            expected[camera] = said(results), stream.said_text
    assert all(expected[camera][0][:2] == said(alone[camera][0])[:2] for camera in busy)
    assert all(expected[camera][0] != said(alone[camera][0]) for camera in busy)
    recorders = {camera: Recorder(CONFIGS[camera]) for camera in range(len(CONFIGS)) if camera not in busy}
    together: list[list[ChunkResult]] = [[] for _ in CONFIGS]
    with Engine(small_model, batch_wait_s=FOR_EVER_S) as engine:
        streams = [engine.open(config, recorders.get(camera)) for camera, config in enumerate(CONFIGS)]
        for index in range(8):
            futures = [
                asked_and_changed(stream, camera, index)
                if camera in busy
                else stream.submit(camera_chunk(camera, index))
                for camera, stream in enumerate(streams)
            ]
            for results, future in zip(together, futures, strict=True):
                results.append(future.result(WAIT_S))
        for camera in busy:
            assert (said(together[camera]), streams[camera].said_text) == expected[camera]
    for camera, recorder in recorders.items():
        assert said(together[camera]) == said(alone[camera][0])
        assert all(map(torch.equal, recorder.logits, alone[camera][1])), f"camera {camera}"


def test_an_engine_answers_and_changes_like_the_session_that_runs_alone(small_model: StreamModel) -> None:
    config = CONFIGS[1]
    session = StreamSession(small_model, config)
    with Engine(small_model) as engine:
        stream = engine.open(config)
        for index in range(8):
            if index in CHANGES:
                session.reconfigure(session.config.replace(CHANGES[index], "test"))
            query = Query(QUESTIONS[index]) if index in QUESTIONS else None
            own = session.step(camera_chunk(1, index), query=query)
            assert asked_and_changed(stream, 1, index).result(WAIT_S).token_ids == own.token_ids
            assert stream.said_text == session.said_text
            assert stream.config == session.config
        with pytest.raises(ConfigError, match="fps cannot change"):
            stream.reconfigure(stream.config.replace({"fps": 4.0}, "test"))


def test_a_change_while_a_chunk_is_in_work_counts_from_the_next_one_on(small_model: StreamModel) -> None:
    gate = Gate(WORD)
    config = small_config(max_new_tokens=6)
    with Engine(small_model) as engine:
        stream = engine.open(config, gate)
        running = stream.submit(chunk_at(0))
        assert gate.reached.wait(WAIT_S)
        stream.reconfigure(config.replace({"max_new_tokens": 2, "prompt": "other"}, "test"))
        gate.open.set()
        assert len(running.result(WAIT_S).token_ids) == 6
        assert stream.said_text == "once" + small_model.tokenizer.decode(6 * [WORD])
        assert len(stream.step(chunk_at(1)).token_ids) == 2
        (query,) = [s.ids for s in stream._session.context.segments if s.role is Role.QUERY]
        assert "other" in small_model.tokenizer.decode(query)
        chunks = {segment.chunk for segment in stream._session.context.segments}
        assert chunks == {HEAD, 1}, "the stream did not begin anew"


def test_a_commentator_asks_and_restarts_on_an_engine_too(small_model: StreamModel) -> None:
    with Engine(small_model) as engine:
        gates = [Gate(WORD, closed=False), Gate(WORD, closed=False)]
        first, other = (
            Commentator(engine.open(small_config(max_new_tokens=1), gate), FrameLedger(), name)
            for name, gate in zip(("first", "other"), gates, strict=True)
        )
        first.ask(Query("what?", "q1"))
        first.ask(Query("what?", "q2"))
        told = [(e.kind, e.query_id, e.camera) for e in (*first.take(chunk_at(0)), *other.take(chunk_at(0)))]
        assert told == [(KIND_ANSWER, "q1", "first"), (KIND_COMMENTARY, "", "other")]
        (reset,) = first.restart("lens", "asked to")
        assert (reset.kind, reset.seq) == (KIND_RESET, 1)
        assert [(event.kind, event.query_id) for event in first.take(chunk_at(0))] == [(KIND_ANSWER, "q2")]
