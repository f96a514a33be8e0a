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

"""How a link stands, by the clock of the test: no sockets, no waiting."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from svlm_core.offload import wire
from svlm_core.offload.link import (
    Connect,
    CONNECT_S,
    CONNECTING,
    Disconnect,
    FINAL_RETRY_S,
    Link,
    LIVE,
    MUTE,
    REFUSED,
    Send,
    STALLED,
)
from svlm_core.offload.wire import Code, DEAD_AFTER_S, HEARTBEAT_S

WELCOME = wire.Welcome(wire.VERSION, 1, wire.Restored.NOTHING, -1, {}, "tiny", 1)


def link(now_s: float = 0.0) -> Link:
    return Link(now_s, chance=lambda: 0.0)


def live(now_s: float = 0.0) -> Link:
    it = link(now_s)
    assert it.tick(now_s) == [Connect()]
    it.connected(now_s)
    (ping,) = it.heard(WELCOME, now_s)
    assert it.state.name == LIVE and isinstance(ping, Send)
    return it


def run_until(it: Link, end_s: float) -> list[tuple[float, object]]:
    """Let time pass; all that the link does by itself, and when."""
    done = []
    while it.next_s < end_s:
        now_s = it.next_s
        done += [(now_s, action) for action in it.tick(now_s)]
    return done


def test_it_connects_at_once_and_is_live_when_welcome() -> None:
    it = live(5.0)
    assert (it.state.since_s, it.state.reconnects, it.state.reason) == (5.0, 0, "")


def test_a_peer_that_listens_and_says_nothing_is_given_up_and_tried_again() -> None:
    it = link()
    assert it.tick(0.0) == [Connect()]
    assert it.next_s == CONNECT_S
    it.connected(0.5)
    actions = run_until(it, 0.5 + DEAD_AFTER_S)
    assert {type(action) for _, action in actions} == {Send}, "signs of life, before the Welcome too"
    assert it.tick(0.5 + DEAD_AFTER_S) == [Disconnect()]
    assert (it.state.name, it.state.reason) == (CONNECTING, "the server does not answer")
    assert it.tick(it.next_s) == [Connect()]


def test_a_server_that_answers_but_is_not_ready_is_waited_for() -> None:
    it = link()
    it.tick(0.0)
    it.connected(0.0)
    for second in range(1, 60):
        (ping,) = it.tick(float(second))
        it.heard(wire.Pong(ping.message.n), second + 0.1)
    assert it.state.name == CONNECTING and "prepares" in it.state.reason
    it.heard(WELCOME, 60.5)
    assert it.state.name == LIVE


def test_silence_is_noticed_and_heartbeats_are_as_often_as_promised() -> None:
    it = live()
    said_s = [at_s for at_s, action in run_until(it, DEAD_AFTER_S) if isinstance(action, Send)]
    assert said_s == [HEARTBEAT_S, 2 * HEARTBEAT_S]
    assert it.tick(DEAD_AFTER_S) == [Disconnect()]
    assert (it.state.name, it.state.since_s) == (STALLED, DEAD_AFTER_S)
    assert it.next_s < DEAD_AFTER_S + 1.0, "and then it is quick"


def test_any_message_is_a_sign_of_life_and_pongs_measure_the_round_trip() -> None:
    it = live()
    (ping,) = it.tick(HEARTBEAT_S)
    it.heard(wire.Pong(ping.message.n), HEARTBEAT_S + 0.02)
    assert it.state.round_trip_ms == pytest.approx(20.0)
    it.heard(wire.Pong(ping.message.n), HEARTBEAT_S + 0.9)
    it.heard(wire.Pong(4711), HEARTBEAT_S + 0.9)
    assert it.state.round_trip_ms == pytest.approx(20.0), "a Pong that nobody asked for measures nothing"
    assert run_until(it, HEARTBEAT_S + 0.9 + DEAD_AFTER_S)[-1][1] != Disconnect()
    assert it.state.name == LIVE


@pytest.mark.parametrize("news", [wire.Pong(0), WELCOME], ids=["it goes on", "another has taken over"])
def test_a_server_whose_model_does_not_answer_is_stalled_on_a_connection_that_stands(
    news: wire.FromServer,
) -> None:
    it = live()
    assert it.heard(wire.Pong(0, ready=False), 1.0) == []
    assert (it.state.name, it.state.reason, it.state.since_s) == (STALLED, MUTE, 1.0)
    for second in range(1, 60):
        (ping,) = it.tick(float(second))
        it.heard(wire.Pong(ping.message.n, ready=False), second + 0.1)
    assert (it.state.name, it.state.since_s) == (STALLED, 1.0)
    assert it.heard(news, 60.5) == []
    assert (it.state.name, it.state.reason, it.state.reconnects) == (LIVE, "", 0)


def test_a_server_that_ends_is_not_live_because_its_model_is() -> None:
    it = live()
    it.heard(wire.Error(Code.ENDING, retry_s=3.0), 1.0)
    it.heard(wire.Pong(1), 1.1)
    assert it.state.name == REFUSED


def test_it_comes_back_and_counts() -> None:
    it = live()
    assert it.broke("the connection broke", 1.0) == [Disconnect()]
    assert (it.state.name, it.state.reason) == (STALLED, "the connection broke")
    assert it.tick(it.next_s) == [Connect()]
    it.heard(WELCOME, 2.0)
    assert (it.state.name, it.state.reconnects, it.state.reason) == (LIVE, 1, "")
    it.heard(WELCOME, 2.5)
    assert it.state.reconnects == 1, "sent again on the same connection"


def test_attempts_become_patient_but_stay_frequent() -> None:
    it = link()
    attempts = []
    for _ in range(50):
        attempts.append(it.next_s)
        assert it.tick(it.next_s) == [Connect()]
        it.broke("nothing answers", attempts[-1])
    waits = [round(after - before, 6) for before, after in pairwise(attempts)]
    assert waits == sorted(waits) and waits[0] < waits[-1] <= 1.0


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (wire.Error(Code.FULL, retry_s=7.0), 7.0),
        (wire.Error(Code.FULL, seq=3, retry_s=7.0), 7.0),
        (wire.Error(Code.ENDING, retry_s=5.0), 5.0),
        (wire.Error(Code.REVOKED), FINAL_RETRY_S),
        (wire.Error(Code.VERSION), FINAL_RETRY_S),
        (wire.Error(Code.CONFIG, field="temperature"), FINAL_RETRY_S),
        (wire.Error(Code.INTERNAL), 2.0),
    ],
)
def test_a_refusal_is_named_and_tried_again_when_the_server_says(error: wire.Error, wait_s: float) -> None:
    it = link()
    it.tick(0.0)
    it.connected(0.0)
    assert it.heard(error, 1.0) == [Disconnect()]
    assert it.state.name == REFUSED and it.state.reason
    assert error.field in it.state.reason
    assert it.state.final is (wait_s == FINAL_RETRY_S)
    assert it.next_s == pytest.approx(1.0 + wait_s)
    assert it.tick(it.next_s) == [Connect()]
    assert it.state.name == REFUSED, "until something else is known"
    it.heard(WELCOME, 20.0)
    assert it.state.name == LIVE and not it.state.final


def test_a_server_that_ends_is_listened_to_until_it_is_gone() -> None:
    it = live()
    assert it.heard(wire.Error(Code.ENDING, retry_s=5.0), 1.0) == [], "the chunk in work is answered yet"
    assert it.state.name == REFUSED
    assert it.broke("the connection broke", 2.0) == [Disconnect()]
    assert (it.state.name, it.next_s) == (REFUSED, 6.0), "it said when to come again"


def test_what_is_about_one_message_is_not_about_the_link() -> None:
    it = live()
    for code in (Code.RATE, Code.ORDER, Code.IMAGE, Code.NUMERICS, Code.INTERNAL, Code.EPOCH):
        assert it.heard(wire.Error(code, seq=1), 0.5) == []
    assert it.heard(wire.Error(Code.QUERY, id=1), 0.5) == []
    assert it.state.name == LIVE


@pytest.mark.parametrize("error", [wire.Error(Code.SESSION), wire.Error(Code.SESSION, seq=4)])
def test_a_server_that_has_restarted_behind_the_connection_is_greeted_again(error: wire.Error) -> None:
    it = live()
    assert it.heard(error, 1.0) == [Disconnect()]
    assert it.state.name == STALLED
    assert it.tick(it.next_s) == [Connect()]


def test_a_refusal_says_only_what_is_meant_for_people() -> None:
    it = link()
    it.tick(0.0)
    it.heard(wire.Error(Code.CONFIG, field="\x1b[2Jfps"), 0.1)
    assert it.state.reason == "the server refuses a setting"


def test_one_broken_handshake_is_not_taken_for_a_wrong_key() -> None:
    it = link()
    it.tick(0.0)
    it.doubted("another key", 0.1)
    assert it.state.name == CONNECTING
    it.tick(it.next_s)
    it.doubted("another key", 1.0)
    assert (it.state.name, it.state.reason, it.state.final) == (REFUSED, "another key", True)


EVENTS = st.sampled_from(
    [
        "tick",
        "connected",
        "broke",
        "doubted",
        wire.Pong(1),
        wire.Pong(0, ready=False),
        WELCOME,
        wire.Error(Code.FULL, retry_s=3.0),
        wire.Error(Code.ENDING, retry_s=3.0),
        wire.Error(Code.REVOKED),
        wire.Error(Code.SESSION),
        wire.Error(Code.SCHEMA),
        wire.Error(Code.RATE, seq=1),
        wire.Done(1, 1),
    ]
)


@given(st.lists(st.tuples(st.floats(0.0, 5.0), EVENTS), max_size=60), st.floats(0.0, 1e6))
@settings(max_examples=100, deadline=None)
def test_whatever_happens_it_always_has_a_next_step(
    happenings: list[tuple[float, object]], now_s: float
) -> None:
    """Never stuck: left alone it connects again; live only while it was welcome; one socket at a time."""
    it, has_socket, seen = Link(now_s, chance=lambda: 0.5), False, Counter[str]()

    def act(actions: list[object]) -> None:
        nonlocal has_socket
        for action in actions:
            if isinstance(action, Send):
                assert has_socket, "nothing to send it on"
            else:
                has_socket = isinstance(action, Connect)
            seen[type(action).__name__] += 1

    for passed_s, event in happenings:
        now_s += passed_s
        while it.next_s <= now_s:
            act(it.tick(it.next_s))
        if event == "tick":
            act(it.tick(now_s))
        elif not has_socket:
            continue  # nothing can arrive
        elif event == "connected":
            act(it.connected(now_s))
        elif event == "broke":
            act(it.broke("broke", now_s))
        elif event == "doubted":
            act(it.doubted("doubt", now_s))
        else:
            act(it.heard(event, now_s))
        assert it.state.since_s <= now_s
        assert it.state.reconnects <= seen["Connect"]
        assert it.state.name in (CONNECTING, LIVE, STALLED, REFUSED)
        assert it.state.name != LIVE or has_socket
        assert it.state.name in (LIVE, CONNECTING) or it.state.reason, "whatever is wrong has a reason"
        assert not it.state.final or it.state.name == REFUSED
        assert it.next_s - now_s <= 2 * FINAL_RETRY_S
    connects = seen["Connect"]
    end_s = now_s + 3 * FINAL_RETRY_S
    while it.next_s < end_s:
        act(it.tick(it.next_s))
    assert seen["Connect"] > connects, "left alone, it tries again"
    assert it.state.name != LIVE, "nobody has answered"
