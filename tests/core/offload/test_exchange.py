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

"""What is asked, answered, asked again and given up: by the clock of the test, without a socket."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import asdict, replace
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import msgspec
import pytest
from svlm_core.config import StreamConfig
from svlm_core.errors import CacheFullError, ConfigError, LinkError, NumericsError, QueryError
from svlm_core.offload import wire
from svlm_core.offload.exchange import CANCEL_S, Exchange
from svlm_core.offload.flight import Answer, Flight, LATE_S, PATIENCE_S
from svlm_core.offload.link import LinkState, LIVE, REFUSED, STALLED
from svlm_core.offload.wire import Code, DEAD_AFTER_S, Restored
from svlm_core.stream.result import ChunkResult

CONFIG = StreamConfig(temperature=0.0, previous_text="once")
UP, DOWN = LinkState(LIVE), LinkState(STALLED, "the server does not answer")


class Robot:
    """An exchange and what came of it."""

    def __init__(self, overrides: dict[str, Any] | None = None) -> None:
        self.exchange = Exchange("session", "camera", overrides or {})
        self.answers: list[Answer] = []
        self.now_s = 0.0

    def welcome(self, epoch: int = 1, last: int = -1, restored: Restored = Restored.CACHE) -> None:
        self.exchange.stand(UP)
        self.hear(wire.Welcome(wire.VERSION, epoch, restored, last, asdict(CONFIG), "tiny", 1, 64))

    def hear(self, message: Any) -> None:
        self.exchange.receive(message, self.now_s)

    def submit(self, index: int = 0, deadline_s: float | None = None) -> Flight:
        header = wire.Chunk(0, 0, index, [0], 56, 56, wire.Picture.PNG)
        flight = Flight(header, (b"picture",), deadline_s, self.answers.append)
        self.exchange.submit(flight)
        return flight

    def sent(self) -> list[Any]:
        """What is due now."""
        return [message for message, _ in self.exchange.due(self.now_s)]

    def send(self, index: int = 0, deadline_s: float | None = None) -> wire.Chunk:
        self.submit(index, deadline_s)
        (chunk,) = self.sent()
        return chunk

    def answer(self, chunk: wire.Chunk, text: str = "words", **changes: Any) -> None:
        rest = ([1], 2, 3, 4, "end", {"decode": 5.0}, 6.0)
        result = wire.Result(chunk.epoch, chunk.seq, text, *rest)
        self.hear(msgspec.structs.replace(result, **changes))


@pytest.fixture
def robot() -> Robot:
    robot = Robot()
    robot.welcome()
    return robot


def test_a_chunk_is_sent_once_and_its_result_is_that_of_a_stream_here(robot: Robot) -> None:
    chunk = robot.send(3)
    assert (chunk.epoch, chunk.seq, chunk.index, chunk.budget_ms) == (1, 0, 3, 0.0)
    assert robot.sent() == []
    robot.now_s = 0.1
    robot.answer(chunk)
    (result,) = robot.answers
    stages = {"decode": 5.0, "link": pytest.approx(94.0)}
    assert result == ChunkResult("words", (1,), 2, 3, "end", stages)
    assert (robot.exchange.cache_tokens, robot.exchange.capacity_tokens) == (3, 4)
    assert str(robot.exchange.said) == "once words"
    assert robot.exchange.next_s == math.inf


def test_the_first_hello_asks_for_the_overrides_the_next_for_what_was_agreed() -> None:
    robot = Robot({"temperature": 0.5})
    hello = robot.exchange.hello()
    assert (hello.settings, hello.heard, hello.said) == ({"temperature": 0.5}, -1, "")
    robot.welcome()
    robot.answer(robot.send())
    hello = robot.exchange.hello()
    assert (hello.settings, hello.heard, hello.said) == (asdict(CONFIG), 0, "once words")


def test_settings_of_a_newer_server_are_passed_over_and_wrong_ones_refused(robot: Robot) -> None:
    robot.hear(wire.Welcome(wire.VERSION, 1, Restored.CACHE, -1, {"fps": 4.0, "later": 1}, "tiny", 1))
    assert robot.exchange.config is not None and robot.exchange.config.fps == 4.0
    with pytest.raises(ConfigError, match="fps"):
        robot.hear(wire.Welcome(wire.VERSION, 1, Restored.CACHE, -1, {"fps": "many"}, "tiny", 1))


# ---- deadlines -------------------------------------------------------------------------------------------


def test_nothing_is_sent_when_its_time_is_over(robot: Robot) -> None:
    robot.exchange.stand(DOWN)
    robot.submit(deadline_s=1.0)
    assert robot.sent() == [] and robot.exchange.next_s == 1.0
    robot.now_s = 1.0
    assert robot.sent() == []
    (error,) = robot.answers
    assert isinstance(error, LinkError) and not error.final
    assert "in time" in str(error) and "does not answer" in str(error)
    robot.welcome()
    assert robot.sent() == []


def test_what_is_left_of_the_time_goes_with_the_chunk(robot: Robot) -> None:
    robot.now_s = 10.25
    assert robot.send(deadline_s=11.0).budget_ms == pytest.approx(750.0)


def test_without_a_deadline_it_waits_for_the_link(robot: Robot) -> None:
    robot.exchange.stand(DOWN)
    robot.submit()
    robot.now_s = 1e6
    assert robot.sent() == [] and robot.answers == [] and robot.exchange.next_s == math.inf
    robot.welcome()
    assert [chunk.index for chunk in robot.sent()] == [0]


def test_a_refusal_that_somebody_must_mend_ends_the_waiting(robot: Robot) -> None:
    robot.submit()
    robot.exchange.stand(LinkState(REFUSED, "the key was revoked", final=True))
    robot.sent()
    (error,) = robot.answers
    assert isinstance(error, LinkError) and error.final and str(error) == "the key was revoked"


# ---- cuts ------------------------------------------------------------------------------------------------


def test_a_chunk_in_flight_outlives_a_cut_and_its_result_is_heard(robot: Robot) -> None:
    chunk = robot.send(deadline_s=1.0)
    robot.exchange.stand(DOWN)
    robot.now_s = 30.0
    assert robot.sent() == [] and robot.answers == []
    robot.welcome(last=chunk.seq)
    robot.answer(chunk)
    assert [answer.text for answer in robot.answers] == ["words"]


def test_a_chunk_that_the_server_never_had_is_sent_again_if_there_is_time(robot: Robot) -> None:
    first = robot.send()
    robot.exchange.stand(DOWN)
    robot.welcome()
    (again,) = robot.sent()
    assert (again.index, again.seq) == (first.index, first.seq + 1)
    robot.answer(again)
    assert len(robot.answers) == 1


def test_a_chunk_that_the_server_never_had_is_lost_if_there_is_no_time(robot: Robot) -> None:
    robot.send(deadline_s=1.0)
    robot.exchange.stand(DOWN)
    robot.now_s = 5.0
    robot.welcome()
    assert robot.sent() == []
    assert isinstance(robot.answers[0], LinkError)


def test_a_result_that_is_promised_and_never_comes_is_given_up(robot: Robot) -> None:
    chunk = robot.send()
    robot.exchange.stand(DOWN)
    robot.welcome(last=chunk.seq)
    robot.sent()
    assert robot.exchange.next_s == DEAD_AFTER_S
    robot.now_s = DEAD_AFTER_S
    robot.sent()
    assert [str(error) for error in robot.answers] == ["the chunk's result was lost"]


@pytest.mark.parametrize(("deadline_s", "limit_s"), [(2.0, 2.0 + LATE_S), (None, PATIENCE_S)])
def test_a_chunk_that_is_never_answered_is_lost_and_the_next_one_goes(
    robot: Robot, deadline_s: float | None, limit_s: float
) -> None:
    chunk = robot.send(0, deadline_s)
    assert robot.exchange.next_s == limit_s
    robot.now_s = limit_s - 1.0
    assert robot.sent() == [] and not robot.answers
    robot.now_s = limit_s
    assert robot.sent() == [wire.Cancel(chunk.epoch, chunk.seq)]
    assert [str(error) for error in robot.answers] == [
        f"the server has not answered the chunk for {limit_s:.0f} s"
    ]
    later = robot.send(1, limit_s + 1.0)
    robot.answer(chunk, "late")
    robot.answer(later, "words")
    assert robot.answers[1].text == "words", "what comes late is about nothing that somebody waits for"
    assert str(robot.exchange.said) == "once late words"


def test_while_the_link_is_down_a_chunk_that_was_sent_is_waited_for(robot: Robot) -> None:
    chunk = robot.send(0)
    robot.exchange.stand(DOWN)
    assert robot.exchange.next_s == math.inf
    robot.now_s = 2 * PATIENCE_S
    assert robot.sent() == [] and not robot.answers
    robot.welcome(last=chunk.seq)
    robot.answer(chunk)
    assert robot.answers[0].text == "words"


def test_numbers_go_on_where_the_server_is(robot: Robot) -> None:
    robot.welcome(last=41)
    assert robot.send().seq == 42


def test_a_result_is_told_once_and_only_for_its_own_chunk(robot: Robot) -> None:
    chunk = robot.send()
    robot.answer(chunk, epoch=chunk.epoch + 1)
    robot.answer(chunk, seq=chunk.seq + 1)
    assert robot.answers == [] and str(robot.exchange.said) == "once"
    robot.answer(chunk)
    robot.answer(chunk)
    assert len(robot.answers) == 1 and str(robot.exchange.said) == "once words"


def test_partial_words_are_told_only_for_the_chunk_in_work(robot: Robot) -> None:
    chunk = robot.send()
    for epoch, seq in ((chunk.epoch, chunk.seq), (chunk.epoch, chunk.seq + 1), (chunk.epoch + 1, chunk.seq)):
        robot.hear(wire.Partial(epoch, seq, f"{epoch} {seq}"))
    assert robot.answers == ["1 0"]


# ---- memory ----------------------------------------------------------------------------------------------


def test_words_from_before_a_loss_come_before_the_news_of_it(robot: Robot) -> None:
    """A chunk was understood, then its result was lost in a cut, and the memory with the server."""
    robot.answer(robot.send(0))
    chunk = robot.send(1)
    robot.exchange.stand(DOWN)
    robot.welcome(epoch=2, last=chunk.seq, restored=Restored.TEXT)
    assert robot.exchange.cache_tokens == 0
    robot.answer(chunk)
    robot.answer(robot.send(2))
    assert [answer.forgot != "" for answer in robot.answers] == [False, False, True]


@pytest.mark.parametrize(("restored", "kept"), [(Restored.TEXT, "is kept"), (Restored.NOTHING, "nothing")])
def test_a_loss_of_memory_is_told_with_the_next_result(robot: Robot, restored: Restored, kept: str) -> None:
    robot.answer(robot.send(0))
    robot.welcome(epoch=2, last=0, restored=restored)
    chunk = robot.send(1)
    assert chunk.epoch == 2
    robot.answer(chunk)
    robot.answer(robot.send(2))
    assert [answer.forgot != "" for answer in robot.answers] == [False, True, False]
    assert kept in robot.answers[1].forgot


def test_a_cut_without_a_loss_is_no_loss_and_nothing_is_lost_before_the_first_chunk(robot: Robot) -> None:
    robot.welcome(epoch=2)
    robot.answer(robot.send(0))
    robot.welcome(epoch=2, last=0)
    robot.answer(robot.send(1))
    assert [answer.forgot for answer in robot.answers] == ["", ""]


def test_a_chunk_for_a_memory_that_is_lost_goes_to_the_next_one(robot: Robot) -> None:
    chunk = robot.send()
    robot.hear(wire.Error(Code.EPOCH, seq=chunk.seq))
    robot.now_s = 10.0
    assert robot.sent() == [], "the Welcome is on its way"
    robot.welcome(epoch=2)
    (again,) = robot.sent()
    assert (again.epoch, again.index) == (2, chunk.index)


def test_scores_that_are_not_finite_are_the_error_of_a_stream_here(robot: Robot) -> None:
    robot.answer(robot.send(0))
    robot.hear(wire.Error(Code.NUMERICS, seq=robot.send(1).seq))
    assert isinstance(robot.answers[1], NumericsError)
    assert str(robot.exchange.said) == "once", "as a session that begins anew"
    robot.welcome(epoch=2, last=1, restored=Restored.NOTHING)
    robot.answer(robot.send(2))
    assert robot.answers[2].forgot == "", "which the error has told"


def test_a_reset_is_no_loss_and_no_chunk_overtakes_it(robot: Robot) -> None:
    robot.answer(robot.send(0))
    done: Future[wire.Done] = Future()
    robot.exchange.reset(done)
    (reset,) = robot.sent()
    robot.submit(0)
    assert robot.sent() == []
    robot.hear(wire.Done(reset.id, 2))
    assert done.result(0).epoch == 2
    (chunk,) = robot.sent()
    assert chunk.epoch == 2
    robot.answer(chunk)
    assert robot.answers[1].forgot == "" and str(robot.exchange.said) == "once words"


def test_a_reset_while_the_link_is_down_comes_first_when_it_is_back(robot: Robot) -> None:
    robot.answer(robot.send(0))
    robot.exchange.stand(DOWN)
    robot.exchange.reset(Future())
    robot.submit(0)
    assert robot.sent() == []
    assert robot.exchange.hello().said == "once"
    robot.welcome(epoch=1, last=0)
    (reset,) = robot.sent()
    robot.hear(wire.Done(reset.id, 2))
    assert isinstance(robot.sent()[0], wire.Chunk)


# ---- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.CACHE, CacheFullError),
        (Code.QUERY, QueryError),
        (Code.IMAGE, LinkError),
        (Code.ORDER, LinkError),
        (Code.INTERNAL, LinkError),
    ],
)
def test_a_chunk_that_is_refused_fails_in_plain_words(robot: Robot, code: Code, kind: type) -> None:
    robot.hear(wire.Error(code, seq=robot.send().seq))
    (error,) = robot.answers
    assert type(error) is kind and str(error)
    assert isinstance(robot.send(1), wire.Chunk), "the next one is sent"


@pytest.mark.parametrize("code", [Code.RATE, Code.CREDIT])
def test_a_server_that_is_busy_is_asked_again_while_there_is_time(robot: Robot, code: Code) -> None:
    chunk = robot.send(deadline_s=3.0)
    robot.hear(wire.Error(code, seq=chunk.seq, retry_s=2.0))
    assert robot.sent() == [] and robot.exchange.next_s == 2.0
    robot.now_s = 2.0
    (again,) = robot.sent()
    assert again.seq > chunk.seq and again.budget_ms == pytest.approx(1000.0)
    robot.hear(wire.Error(code, seq=again.seq, retry_s=2.0))
    robot.now_s = 3.0
    assert robot.sent() == [] and isinstance(robot.answers[0], LinkError)


def test_errors_about_other_chunks_are_not_about_this_one(robot: Robot) -> None:
    chunk = robot.send()
    robot.hear(wire.Error(Code.INTERNAL, seq=chunk.seq + 7))
    robot.hear(wire.Error(Code.INTERNAL))
    robot.hear(wire.Error(Code.INTERNAL, id=99))
    assert robot.answers == []


# ---- cancelling ------------------------------------------------------------------------------------------


def test_a_chunk_in_work_is_cancelled_at_the_server_and_its_result_waited_for(robot: Robot) -> None:
    flight = robot.submit()
    (chunk,) = robot.sent()
    robot.exchange.cancel(flight, 0.0)
    robot.exchange.cancel(flight, 0.1)
    assert robot.sent() == [wire.Cancel(chunk.epoch, chunk.seq)]
    robot.answer(chunk, "wor", finish="cancelled")
    assert robot.answers[0].finish == "cancelled"


def test_a_cancelled_chunk_that_is_not_answered_is_left(robot: Robot) -> None:
    flight = robot.submit()
    robot.sent()
    robot.exchange.cancel(flight, 1.0)
    robot.sent()
    robot.now_s = robot.exchange.next_s
    assert robot.now_s == 1.0 + CANCEL_S
    robot.sent()
    assert isinstance(robot.answers[0], LinkError)


@pytest.mark.parametrize("sent", [False, True])
def test_while_the_link_is_down_cancelling_works_at_once(robot: Robot, sent: bool) -> None:
    flight = robot.submit()
    if sent:
        robot.sent()
    robot.exchange.stand(DOWN)
    robot.exchange.cancel(flight, 0.0)
    assert robot.sent() == [] and isinstance(robot.answers[0], LinkError)


# ---- requests and settings -------------------------------------------------------------------------------


def test_a_request_is_asked_again_after_a_cut_until_nobody_waits(robot: Robot) -> None:
    done: Future[wire.Done] = Future()
    robot.exchange.ask(lambda number: wire.Size(number, 100, 200), done)
    (size,) = robot.sent()
    robot.welcome()
    assert robot.sent() == [size]
    done.cancel()
    robot.welcome()
    assert robot.sent() == []
    robot.hear(wire.Done(size.id, 1, 56, 56))


def test_a_question_that_is_too_long_is_refused_as_here(robot: Robot) -> None:
    done: Future[wire.Done] = Future()
    robot.exchange.ask(lambda number: wire.Check(number, "why"), done)
    (check,) = robot.sent()
    robot.hear(wire.Error(Code.QUERY, id=check.id))
    with pytest.raises(QueryError):
        done.result(0)


def test_settings_go_over_before_the_next_chunk(robot: Robot) -> None:
    done: Future[None] = Future()
    robot.exchange.reconfigure(replace(CONFIG, temperature=0.5, prompt="say"), done)
    robot.submit()
    configure, chunk = robot.sent()
    assert configure.settings == {"temperature": 0.5, "prompt": "say"} and isinstance(chunk, wire.Chunk)
    assert not done.done()
    robot.hear(wire.Done(configure.id, 1))
    assert done.done() and robot.sent() == []


def test_settings_that_the_server_refuses_are_taken_back(robot: Robot) -> None:
    done: Future[None] = Future()
    robot.exchange.reconfigure(replace(CONFIG, prompt="too long"), done)
    (configure,) = robot.sent()
    robot.hear(wire.Error(Code.CONFIG, id=configure.id, field="prompt"))
    with pytest.raises(ConfigError, match="prompt"):
        done.result(0)
    assert robot.exchange.config == CONFIG and robot.sent() == []


def test_settings_changed_while_the_link_is_down_go_over_after_the_welcome(robot: Robot) -> None:
    robot.exchange.stand(DOWN)
    done: Future[None] = Future()
    robot.exchange.reconfigure(replace(CONFIG, temperature=0.5), done)
    assert done.done() and robot.sent() == []
    assert robot.exchange.hello().settings == asdict(CONFIG), "what was agreed: else the memory would be lost"
    robot.welcome()
    (configure,) = robot.sent()
    assert configure.settings == {"temperature": 0.5}


def test_a_change_that_a_cut_has_swallowed_is_sent_again(robot: Robot) -> None:
    robot.exchange.reconfigure(replace(CONFIG, temperature=0.5), Future())
    robot.sent()
    robot.welcome()
    (configure,) = robot.sent()
    assert configure.settings == {"temperature": 0.5}


@pytest.mark.parametrize("retry_s", [0.0, 2.0])
def test_requests_that_the_server_has_no_time_for_are_asked_again(robot: Robot, retry_s: float) -> None:
    done: Future[wire.Done] = Future()
    robot.exchange.reset(done)
    (reset,) = robot.sent()
    robot.hear(wire.Error(Code.RATE, id=reset.id, retry_s=retry_s))
    robot.submit()
    assert robot.sent() == [] and 0.0 < robot.exchange.next_s <= 2.0
    robot.now_s = robot.exchange.next_s
    assert robot.sent() == [reset]
    robot.hear(wire.Error(Code.INTERNAL, id=reset.id))
    assert robot.sent() == [] and not done.done()
    robot.welcome(epoch=2)
    assert robot.sent() == [reset]


def test_a_cancelled_chunk_is_not_sent_again(robot: Robot) -> None:
    flight = robot.submit()
    (chunk,) = robot.sent()
    robot.exchange.cancel(flight, 0.0)
    robot.sent()
    robot.hear(wire.Error(Code.CREDIT, seq=chunk.seq))
    robot.now_s = 0.2
    assert robot.sent() == []
    robot.now_s = CANCEL_S
    assert robot.sent() == [] and isinstance(robot.answers[0], LinkError)


def test_closing_fails_all_that_waits(robot: Robot) -> None:
    robot.submit()
    request: Future[wire.Done] = Future()
    change: Future[None] = Future()
    robot.exchange.ask(lambda number: wire.Check(number, "why"), request)
    robot.exchange.reconfigure(replace(CONFIG, temperature=0.5), change)
    robot.exchange.close(LinkError("closed"))
    assert [str(error) for error in (*robot.answers, request.exception(0), change.exception(0))] == [
        "closed"
    ] * 3


# ---- whatever happens ------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["submit", "submit live", "cut", "welcome", "lost", "answer", "refuse", "busy", "epoch", "cancel"]
        ),
        st.floats(0.0, 2.0),
    ),
    max_size=80,
)


@given(STEPS)
@settings(max_examples=100, deadline=None)
def test_each_chunk_has_one_end_and_nothing_is_sent_late_or_twice(steps: list[tuple[str, float]]) -> None:
    """A server that may have had a chunk, or not, when the link is cut; a robot with one chunk at a time."""
    robot, epoch, ends = Robot(), 1, []
    robot.welcome()
    flight: Flight | None = None
    at_server: wire.Chunk | None = None  # understood, not answered
    index, last, seqs, understood = 0, -1, [], []

    def pump() -> None:
        nonlocal at_server
        for message, _ in robot.exchange.due(robot.now_s):
            if isinstance(message, wire.Chunk):
                assert robot.exchange._link.name == LIVE
                assert flight is not None
                assert flight.deadline_s is None or robot.now_s < flight.deadline_s
                assert message.epoch == epoch
                seqs.append(message.seq)
                at_server = message

    for step, passed_s in steps:
        robot.now_s += passed_s
        pump()
        busy = flight is not None and len(robot.answers) < index
        if step.startswith("submit") and not busy:
            flight = robot.submit(index, robot.now_s + 1.0 if step == "submit live" else None)
            index += 1
        elif step == "cut":
            robot.exchange.stand(DOWN)
        elif step in ("welcome", "lost"):
            if at_server is not None and step == "welcome":
                last = at_server.seq
            epoch += step == "lost"
            robot.welcome(epoch=epoch, last=last)
            if at_server is not None and step == "welcome":
                understood.append(at_server.index)
                robot.answer(at_server)
            at_server = None
        elif robot.exchange._link.name == LIVE and at_server is not None:
            seq = at_server.seq
            if step == "answer":
                last = seq
                understood.append(at_server.index)
                robot.answer(at_server)
            elif step in ("refuse", "busy"):
                robot.hear(wire.Error(Code.INTERNAL if step == "refuse" else Code.CREDIT, seq=seq))
            elif step == "epoch":
                epoch += 1
                robot.welcome(epoch=epoch, last=last)
                robot.hear(wire.Error(Code.EPOCH, seq=seq))
            at_server = at_server if step == "cancel" else None
        if step == "cancel" and flight is not None:
            robot.exchange.cancel(flight, robot.now_s)
        pump()
        assert len(robot.answers) <= index
    ends = [type(answer) for answer in robot.answers]
    assert len(ends) in (index, index - 1), "each chunk has one end, but the one in flight"
    assert seqs == sorted(set(seqs)), "numbers grow"
    assert len(understood) == len(set(understood)), "no chunk is understood twice"
    robot.exchange.close(LinkError("closed"))
    assert len(robot.answers) == index
