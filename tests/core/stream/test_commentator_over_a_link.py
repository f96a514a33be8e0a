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

"""Events of a stream whose model is elsewhere: resets, refused questions, partial words, lost chunks."""

from __future__ import annotations

from collections.abc import Iterator
import random
import threading
from typing import Any

from link_peer import Peer, WAIT_S
import pytest
from small_stream import chunk_at, FPS, frame_at, Script, small_config
from svlm_core.errors import LinkError, QueryError
from svlm_core.events import (
    CommentaryEvent,
    KIND_ANSWER,
    KIND_COMMENTARY,
    KIND_GAP,
    KIND_PARTIAL,
    KIND_RESET,
)
from svlm_core.frames import DROPPED_LINK, Frame, FrameLedger, NS_PER_S
from svlm_core.model.adapter import StreamModel
from svlm_core.offload import wire
from svlm_core.offload.client import Client
from svlm_core.offload.wire import Code, Picture, Restored
from svlm_core.sources.source import Source
from svlm_core.stream.commentator import Commentator
from svlm_core.stream.engine import Engine
from svlm_core.stream.protocol import Protocol
from svlm_core.stream.query import Query
from svlm_core.stream.run import StreamRun
from svlm_core.stream.session import StreamSession


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@pytest.fixture
def client(peer: Peer) -> Iterator[Client]:
    with Client(peer.endpoint, picture=Picture.PNG, partial=True) as client:
        client.wait_until_live(WAIT_S)
        yield client


def frames(seconds: int) -> list[Frame]:
    return [frame_at(k) for k in range(seconds * FPS)]


class Camera(Source):
    """Gives frames, each chunk of them when it is told to, if it is told when."""

    fps, frames_total = float(FPS), None

    def __init__(self, seconds: int, live: bool, gates: dict[int, threading.Event] | None = None) -> None:
        self.name, self.live = "camera", live
        self._frames, self._gates = frames(seconds), gates or {}

    def __iter__(self) -> Iterator[Frame]:
        for number, frame in enumerate(self._frames):
            if gate := self._gates.get(number):
                assert gate.wait(WAIT_S)
            yield frame

    def close(self) -> None:
        for gate in self._gates.values():
            gate.set()


def kinds(events: list[CommentaryEvent]) -> list[tuple[int, str, int]]:
    return [(event.seq, event.kind, event.chunk_index) for event in events]


def test_a_loss_of_memory_is_a_reset_before_the_words_and_behind_the_gap(peer: Peer, client: Client) -> None:
    commentator = Commentator(client, FrameLedger(), "cam")
    events = commentator.take(chunk_at(0))
    peer.epoch, peer.restored = 2, Restored.TEXT
    peer.say(peer.welcome())
    events += commentator.take(chunk_at(4))
    assert kinds(events) == [
        (0, KIND_COMMENTARY, 0),
        (1, KIND_GAP, 4),
        (2, KIND_RESET, 4),
        (3, KIND_COMMENTARY, 4),
    ]
    reset = events[2]
    assert "what was said is kept" in reset.text and reset.words == ""
    assert reset.stamp_oldest_ns == reset.stamp_newest_ns == NS_PER_S // 2, "the last frame before"
    assert kinds(commentator.take(chunk_at(5))) == [(4, KIND_COMMENTARY, 5)]


def test_a_question_that_the_server_refuses_after_all_is_answered_without_words(
    peer: Peer, client: Client
) -> None:
    commentator = Commentator(client, FrameLedger(), "cam")
    commentator.ask(Query("why?", "q1"))
    understand = peer.answers[wire.Chunk]
    peer.answers[wire.Chunk] = lambda chunk: (
        [wire.Error(Code.QUERY, seq=chunk.seq)] if chunk.query else understand(chunk)
    )
    with pytest.raises(QueryError):
        commentator.take(chunk_at(0))
    answer, gap, words = commentator.take(chunk_at(1))
    assert (answer.kind, answer.query_id, answer.text) == (KIND_ANSWER, "q1", "")
    assert (gap.kind, words.kind) == (KIND_GAP, KIND_COMMENTARY)


def test_a_question_stays_when_its_chunk_is_lost(peer: Peer, client: Client) -> None:
    commentator = Commentator(client, FrameLedger(), "cam")
    commentator.ask(Query("why?", "q1"))
    peer.answers[wire.Chunk] = lambda chunk: [wire.Error(Code.INTERNAL, seq=chunk.seq)]
    with pytest.raises(LinkError):
        commentator.take(chunk_at(0))
    peer.answers[wire.Chunk] = peer.understand
    assert [(event.kind, event.query_id) for event in commentator.take(chunk_at(1))] == [
        (KIND_GAP, ""),
        (KIND_ANSWER, "q1"),
    ]


def test_partial_words_have_the_number_of_what_they_become(peer: Peer, client: Client) -> None:
    def speak(chunk: wire.Chunk) -> list[Any]:
        said = [wire.Partial(chunk.epoch, chunk.seq, text) for text in ("red", "red stops")]
        return [*said, peer.result(chunk, "red stops now")]

    peer.answers[wire.Chunk] = speak
    heard: list[CommentaryEvent] = []
    commentator = Commentator(client, FrameLedger(), "cam", hear=heard.append)
    events = [*commentator.take(chunk_at(0)), *commentator.take(chunk_at(3))]
    assert kinds(events) == [(0, KIND_COMMENTARY, 0), (1, KIND_GAP, 3), (2, KIND_COMMENTARY, 3)]
    assert [(event.seq, event.text, event.kind) for event in heard] == [
        (0, "red", KIND_PARTIAL),
        (0, "red stops", KIND_PARTIAL),
        (2, "red", KIND_PARTIAL),
        (2, "red stops", KIND_PARTIAL),
    ]
    assert {event.words for event in heard} == {""}, "no words of their own"
    assert heard[-1].stamp_newest_ns == events[-1].stamp_newest_ns and heard[0].latency_ms > 0
    assert commentator.summary().events == 3


@pytest.mark.parametrize("many", [False, True], ids=["session", "engine"])
def test_a_model_in_this_process_says_partial_words_too(small_model: StreamModel, many: bool) -> None:
    config = small_config(chunk_budget_s=3600.0)
    script = Script(Protocol.from_config(config, small_model.tokenizer), "abc")
    heard: list[CommentaryEvent] = []
    with Engine(small_model) as engine:
        stream = engine.open(config, script) if many else StreamSession(small_model, config, script)
        commentator = Commentator(stream, FrameLedger(), "cam", hear=heard.append)
        commentator.ask(Query("what?", "q1"))
        (event,) = commentator.take(chunk_at(0))
    assert (event.kind, event.text) == (KIND_ANSWER, "abc")
    texts = [partial.text for partial in heard]
    assert texts and all(event.text.startswith(text) for text in texts)
    assert {(partial.seq, partial.query_id) for partial in heard} == {(0, "q1")}


# ---- runs ------------------------------------------------------------------------------------------------


def test_a_recording_loses_only_what_the_server_lost(peer: Peer, client: Client) -> None:
    lost = {1, 2}
    understand = peer.answers[wire.Chunk]
    peer.answers[wire.Chunk] = lambda chunk: (
        [wire.Error(Code.INTERNAL, seq=chunk.seq)] if chunk.index in lost else understand(chunk)
    )
    run = StreamRun(Camera(5, live=False), client)
    steps = list(run)
    assert [chunk.index for chunk, _ in steps] == [0, 3, 4]
    events = [event for _, said in steps for event in said]
    assert kinds(events)[1] == (1, KIND_GAP, 3) and events[1].frames_dropped == {DROPPED_LINK: 4}
    summary = run.summary()
    assert (summary.frames_received, summary.frames_used) == (10, 6)
    assert summary.frames_dropped == {DROPPED_LINK: 4}


def test_a_recording_goes_on_where_a_cut_has_stopped_it(peer: Peer, client: Client) -> None:
    cuts = iter([False, True, False, True])
    understand = peer.answers[wire.Chunk]
    peer.answers[wire.Chunk] = lambda chunk: [b"garbage"] if next(cuts, False) else understand(chunk)
    run = StreamRun(Camera(5, live=False), client)
    assert [chunk.index for chunk, _ in run] == [0, 1, 2, 3, 4]
    assert run.summary().frames_dropped == {}
    assert client.state.reconnects == 2


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_link_does_a_recording_is_understood_once_and_in_order(peer: Peer, seed: int) -> None:
    """Results get lost before the server has the chunk or after, memories are lost, the server is busy."""
    chance = random.Random(seed)
    kept: list[wire.Result] = []  # what the server has understood last

    def hello(hello: wire.Hello) -> list[Any]:
        missed = [result for result in kept[-1:] if hello.heard < result.seq]
        return [peer.welcome(), *missed]

    def lose_memory() -> None:
        peer.epoch, peer.restored = peer.epoch + 1, Restored.TEXT

    def chunk(chunk: wire.Chunk) -> list[Any]:
        if chunk.epoch != peer.epoch:
            return [wire.Error(Code.EPOCH, seq=chunk.seq)]
        happens = chance.choice(["well"] * 5 + ["never came", "lost", "forgot", "restarted", "busy", "twice"])
        if happens == "never came":
            return [b"garbage"]
        if happens == "busy":
            return [wire.Error(Code.RATE, seq=chunk.seq, retry_s=0.01)]
        if happens == "forgot":
            lose_memory()
            return [peer.welcome()]
        (result,) = peer.understand(chunk)
        kept.append(result)
        if happens == "restarted":
            lose_memory()
        return {"lost": [b"garbage"], "restarted": [b"garbage"], "twice": [result] * 2}.get(happens, [result])

    peer.answers |= {wire.Hello: hello, wire.Chunk: chunk}
    with Client(peer.endpoint, picture=Picture.PNG) as client:
        client.wait_until_live(WAIT_S)
        run = StreamRun(Camera(30, live=False), client)
        steps = list(run)
        said = client.said_text
    assert [chunk.index for chunk, _ in steps] == list(range(30))
    events = [event for _, events in steps for event in events]
    assert [event.seq for event in events] == list(range(len(events)))
    words = [event.text for event in events if event.kind == KIND_COMMENTARY]
    assert words == [f"chunk {index}" for index in range(30)] and said == " ".join(words)
    assert {event.kind for event in events} <= {KIND_COMMENTARY, KIND_RESET}
    resets = sum(event.kind == KIND_RESET for event in events)
    assert 0 < resets <= peer.epoch - 1, "one for each loss, unless the next one came before a word"
    summary = run.summary()
    assert summary.frames_used == summary.frames_received == 60
    indices = [result.text for result in kept]
    assert indices == words, "and none was understood twice"


def test_a_recording_ends_when_the_server_refuses_the_robot_for_good(peer: Peer, client: Client) -> None:
    peer.answers[wire.Chunk] = lambda chunk: [wire.Error(Code.REVOKED)]
    run = StreamRun(Camera(5, live=False), client)
    with pytest.raises(LinkError, match="revoked"):
        list(run)
    summary = run.summary()
    assert summary.frames_dropped == {DROPPED_LINK: 2} and summary.frames_used == 0


def test_a_camera_goes_on_without_the_server_and_the_gap_is_exact(peer: Peer, client: Client) -> None:
    """Chunk 0 is understood; 1 and 2 come too late, one after the other; 3 is understood."""
    client.reconfigure(client.config.replace({"chunk_budget_s": 0.1}, "test"))
    second, third, fourth = (threading.Event() for _ in range(3))
    source = Camera(4, live=True, gates={2: second, 4: third, 6: fourth})
    run = StreamRun(source, client)
    steps = iter(run)
    assert next(steps)[0].index == 0
    understand = peer.answers[wire.Chunk]
    peer.answers[wire.Chunk] = lambda chunk: [wire.Error(Code.RATE, seq=chunk.seq, retry_s=0.2)]
    ledger = run._ledger

    def let_go() -> None:
        for gate, dropped in ((second, 2), (third, 4)):
            gate.set()
            while ledger.dropped[DROPPED_LINK] < dropped:
                pass
        peer.answers[wire.Chunk] = understand
        client.reconfigure(client.config.replace({"chunk_budget_s": WAIT_S}, "test"))
        fourth.set()

    thread = threading.Thread(target=let_go)
    thread.start()
    chunk, (gap, words) = next(steps)
    thread.join()
    assert chunk.index == 3 and list(steps) == []
    assert (gap.kind, gap.frames_dropped) == (KIND_GAP, {DROPPED_LINK: 4})
    assert (gap.stamp_oldest_ns, gap.stamp_newest_ns) == (NS_PER_S // 2, 3 * NS_PER_S)
    assert words.text == "chunk 3"
    summary = run.summary()
    assert summary.frames_received == summary.frames_used + sum(summary.frames_dropped.values()) == 8


def test_a_question_whose_time_comes_while_the_link_is_down_is_asked_later(
    peer: Peer, client: Client
) -> None:
    from svlm_core.stream.query import TimedQuery

    refusals = iter([True])
    peer.answers[wire.Check] = lambda check: [wire.Done(check.id, peer.epoch)]
    run = StreamRun(Camera(4, live=False), client, [TimedQuery("why?", "q1", 0.0)])
    peer.answers[wire.Check] = lambda check: (
        [wire.Error(Code.SCHEMA, id=check.id)] if next(refusals, False) else [wire.Done(check.id, peer.epoch)]
    )
    events = [event for _, said in run for event in said]
    assert [(event.kind, event.chunk_index) for event in events][:2] == [
        (KIND_COMMENTARY, 0),
        (KIND_ANSWER, 1),
    ]
