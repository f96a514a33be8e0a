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

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, RuleBasedStateMachine
import pytest
from svlm_core.offload import backend, wire
from svlm_core.offload.actions import Came, Dropped, Forget, Landed, Order, Parted, Reply, Save
from svlm_core.offload.outcome import Ended, Lost
from svlm_core.offload.record import Record
from svlm_core.offload.session import CREDITS, MAX_REQUESTS
from svlm_core.offload.sessions import FULL_RETRY_S, Sessions
from svlm_core.offload.wire import Code, Restored

FIRST_EPOCH = 1000
KEEP_CACHE_S = 120.0
ALL_SETTINGS: wire.Settings = {"fps": 2.0, "prompt": ""}


class Server:
    """Sessions, the journal that their Saves make, and a worker that answers when told to."""

    def __init__(self, rooms: int = 2, workers: tuple[str, ...] = ("0",), journal: Any = None) -> None:
        self.journal: dict[str, Record] = journal if journal is not None else {}
        self.sessions = Sessions(workers, rooms, KEEP_CACHE_S, self.journal.get, lambda: FIRST_EPOCH)
        self.unwritten: dict[str, Record | None] = {}  # each session's record before the newest one
        self.now_s = 0.0
        self.done: list[Any] = []  # all actions, in order
        for worker in workers:
            self.carry_out(self.sessions.worker_ready(worker, "tiny"))

    def carry_out(self, actions: list[Any]) -> list[Any]:
        for action in actions:
            if isinstance(action, Save):
                name = action.record.name
                self.unwritten[name] = self.journal.get(name)
                self.journal[name] = action.record
            elif isinstance(action, Forget):
                self.journal.pop(action.name, None)
        for reply in (a for a in actions if isinstance(a, Reply) and isinstance(a.message, wire.Result)):
            session = self.sessions.of(reply.connection)
            assert session is not None
            assert self.journal[session.name].result == reply.message
        self.done += actions
        return actions

    def robot(self, connection: bytes, message: Any, user: str = "key") -> list[Any]:
        return self.carry_out(self.sessions.receive(connection, user, message, [b"picture"], self.now_s))

    def worker(self, message: Any) -> list[Any]:
        return self.carry_out(self.sessions.hear("0", message, self.now_s))

    def tick(self, *mute: str) -> list[Any]:
        return self.carry_out(self.sessions.tick(self.now_s, mute))

    def hello(self, connection: bytes = b"c", name: str = "s", **fields: Any) -> wire.Welcome:
        """Say Hello, open the stream if it is new, and take the Welcome."""
        actions = self.robot(connection, wire.Hello(wire.VERSION, name, **fields))
        actions += self.open_all(actions)
        return next(m for m in told(actions, connection) if isinstance(m, wire.Welcome))

    def open_all(self, actions: list[Any]) -> list[Any]:
        """What the worker says to the Opens among these."""
        opens = [a.message for a in actions if isinstance(a, Order) and isinstance(a.message, backend.Open)]
        return [a for one in opens for a in self.worker(backend.Opened(one.stream, ALL_SETTINGS))]

    def chunk(self, connection: bytes, epoch: int, seq: int, index: int | None = None) -> list[Any]:
        return self.robot(connection, chunk(epoch, seq, index))

    def answer(self, actions: list[Any], said: str = "said") -> list[Any]:
        """The worker understands the chunk that was ordered."""
        task = ordered(actions, wire.Chunk)
        return self.worker(backend.Answer(task.stream, result(task.message), said))

    def refuse(self, actions: list[Any], code: Code) -> list[Any]:
        """The worker does not understand the chunk that was ordered."""
        task = ordered(actions, wire.Chunk)
        return self.worker(backend.Answer(task.stream, wire.Error(code, seq=task.message.seq)))


def chunk(epoch: int, seq: int, index: int | None = None) -> wire.Chunk:
    return wire.Chunk(epoch, seq, seq if index is None else index, [0], 56, 56, wire.Picture.JPEG)


def result(message: wire.Chunk) -> wire.Result:
    return wire.Result(0, message.seq, f"text {message.seq}", [1], 2, 3, 4, "end", {"decode": 1.0}, 0.0)


def told(actions: list[Any], connection: bytes = b"c") -> list[Any]:
    return [a.message for a in actions if isinstance(a, Reply) and a.connection == connection]


def ordered(actions: list[Any], kind: type) -> backend.Task:
    return next(
        a.message
        for a in actions
        if isinstance(a, Order) and isinstance(getattr(a.message, "message", 0), kind)
    )


def orders(actions: list[Any], kind: type) -> list[Any]:
    return [a.message for a in actions if isinstance(a, Order) and isinstance(a.message, kind)]


def codes(actions: list[Any], connection: bytes = b"c") -> list[Code]:
    return [m.code for m in told(actions, connection) if isinstance(m, wire.Error)]


def test_a_result_is_sent_and_then_written_down() -> None:
    server = Server()
    welcome = server.hello()
    assert (welcome.epoch, welcome.restored, welcome.last, welcome.credits) == (1000, "nothing", -1, CREDITS)
    server.now_s = 1.0
    work = server.chunk(b"c", 1000, 0)
    server.now_s = 1.25
    actions = server.answer(work, "text 0")
    assert [type(action) for action in actions] == [Reply, Save, Landed]
    (sent,) = told(actions)
    assert (sent.seq, sent.epoch, sent.server_ms) == (0, 1000, 250.0)
    assert actions[1].record == Record("s", "key", 1000, 0, "text 0", sent)


@pytest.mark.parametrize(
    ("epoch", "seq", "index", "code"),
    [
        (999, 6, 6, Code.EPOCH),
        (1001, 6, 6, Code.EPOCH),
        (1000, 5, 6, Code.ORDER),  # replayed
        (1000, 3, 6, Code.ORDER),  # reordered
        (1000, 6, 5, Code.ORDER),
    ],
)
def test_stale_replayed_and_reordered_chunks_are_refused(
    epoch: int, seq: int, index: int, code: Code
) -> None:
    server = Server()
    server.hello()
    server.answer(server.chunk(b"c", 1000, 5))
    actions = server.chunk(b"c", epoch, seq, index)
    assert told(actions) == [wire.Error(code, seq=seq)]
    assert actions[1:] == [Came("key", 1), Dropped("key", 1, code)]
    assert not orders(actions, backend.Task)
    server.answer(server.chunk(b"c", 1000, 6))  # the right one is served


def test_a_second_chunk_in_flight_is_refused() -> None:
    server = Server()
    server.hello()
    work = server.chunk(b"c", 1000, 0)
    assert codes(server.chunk(b"c", 1000, 1)) == [Code.CREDIT]
    assert told(server.answer(work))[0].seq == 0
    assert not codes(server.chunk(b"c", 1000, 1))


def test_whoever_has_not_said_hello_is_not_served() -> None:
    server = Server()
    for message in (wire.Ping(1), wire.Reset(2), chunk(0, 0), wire.Bye()):
        assert codes(server.robot(b"c", message)) == [Code.SESSION]


def test_a_session_belongs_to_a_key_even_after_a_restart() -> None:
    server = Server()
    server.hello()
    assert codes(server.robot(b"d", wire.Hello(wire.VERSION, "s"), "another"), b"d") == [Code.TAKEN]
    again = Server(journal=server.journal)
    assert codes(again.robot(b"d", wire.Hello(wire.VERSION, "s"), "another"), b"d") == [Code.TAKEN]
    assert again.hello(b"e").epoch == 1001


def test_a_newer_connection_of_the_same_key_takes_over() -> None:
    server = Server()
    server.hello(b"old")
    actions = server.robot(b"new", wire.Hello(wire.VERSION, "s"))
    assert codes(actions, b"old") == [Code.TAKEN]
    assert told(actions, b"new")[0].restored is Restored.NOTHING  # it never had a chunk
    assert Parted("s", Ended.TAKEN) in actions
    assert codes(server.robot(b"old", wire.Ping(1)), b"old") == [Code.SESSION]


def test_after_a_cut_the_stream_goes_on_and_the_unheard_result_is_sent_again() -> None:
    server = Server()
    server.hello(b"old")
    work = server.chunk(b"old", 1000, 0)
    server.now_s = wire.DEAD_AFTER_S + 0.1
    server.carry_out(server.sessions.tick(server.now_s))
    assert not told(server.answer(work), b"old")
    welcome, resent = told(server.robot(b"new", wire.Hello(wire.VERSION, "s", heard=-1)), b"new")
    assert (welcome.epoch, welcome.restored, welcome.last) == (1000, Restored.CACHE, 0)
    assert (resent.seq, resent.text) == (0, "text 0")
    (welcome,) = told(server.robot(b"newer", wire.Hello(wire.VERSION, "s", heard=0)), b"newer")
    assert welcome.last == 0


def test_a_hello_waits_for_the_chunk_in_work_so_that_last_is_true() -> None:
    server = Server()
    server.hello(b"old")
    work = server.chunk(b"old", 1000, 0)
    assert not told(server.robot(b"new", wire.Hello(wire.VERSION, "s")), b"new")
    assert told(server.robot(b"new", wire.Ping(7)), b"new") == [wire.Pong(7, ready=False)]
    welcome, resent = told(server.answer(work), b"new")
    assert (welcome.last, resent.seq) == (0, 0)


def test_a_hello_that_waits_hears_nothing_of_a_chunk_that_failed() -> None:
    server = Server()
    server.hello(b"old")
    work = server.chunk(b"old", 1000, 0)
    server.robot(b"new", wire.Hello(wire.VERSION, "s"))
    (welcome,) = told(server.refuse(work, Code.IMAGE), b"new")
    assert welcome.last == -1


def test_a_restart_keeps_what_was_said_and_says_so() -> None:
    server = Server()
    server.hello()
    server.answer(server.chunk(b"c", 1000, 4), "once")
    again = Server(journal=server.journal)
    actions = again.robot(b"c", wire.Hello(wire.VERSION, "s", heard=3))
    assert orders(actions, backend.Open)[0].said == "once"
    welcome, resent = told(again.open_all(actions))
    assert (welcome.epoch, welcome.restored, welcome.last) == (1001, Restored.TEXT, 4)
    assert (resent.seq, resent.epoch) == (4, 1000)
    assert codes(again.chunk(b"c", 1001, 4)) == [Code.ORDER]
    assert not codes(again.chunk(b"c", 1001, 5, 0))


@pytest.mark.parametrize(("word", "goes_on_from"), [("once twice", "once twice"), ("", "once")])
def test_a_result_that_was_sent_and_not_written_is_known_from_the_robot(word: str, goes_on_from: str) -> None:
    server = Server()
    server.hello()
    server.answer(server.chunk(b"c", 1000, 4), "once")
    server.answer(server.chunk(b"c", 1000, 5), "once twice")
    again = Server(journal={name: record for name, record in server.unwritten.items() if record})
    actions = again.robot(b"c", wire.Hello(wire.VERSION, "s", heard=5, said=word))
    assert orders(actions, backend.Open)[0].said == goes_on_from
    (welcome,) = told(again.open_all(actions))
    assert (welcome.epoch, welcome.restored, welcome.last) == (1001, Restored.HELLO, 5)
    assert codes(again.chunk(b"c", 1001, 5)) == [Code.ORDER]


def test_a_server_that_has_forgotten_takes_the_robots_word() -> None:
    server = Server()
    actions = server.robot(b"c", wire.Hello(wire.VERSION, "s", heard=9, said="once"))
    assert orders(actions, backend.Open)[0].said == "once"
    (welcome,) = told(server.open_all(actions))
    assert (welcome.restored, welcome.last) == (Restored.HELLO, 9)


def test_full_refuses_the_newcomer_alone() -> None:
    server = Server(rooms=1)
    server.hello(b"a", "first")
    (error,) = told(server.robot(b"b", wire.Hello(wire.VERSION, "second")), b"b")
    assert (error.code, error.retry_s) == (Code.FULL, FULL_RETRY_S)
    assert not codes(server.chunk(b"a", 1000, 0), b"a")
    server.robot(b"a", wire.Bye())
    assert server.hello(b"b", "second")


def test_a_newcomer_gets_the_room_of_who_is_away_for_longest() -> None:
    server = Server(rooms=2)
    for number, name in enumerate(("first", "second")):
        server.now_s = float(number)
        server.hello(name.encode(), name)
        server.answer(server.chunk(name.encode(), 1000, 0), name)
    for name in ("first", "second"):
        server.now_s += 1
        server.carry_out(server.sessions.leave(name.encode(), Ended.SILENT, server.now_s))
    server.hello(b"c", "third")
    assert server.hello(b"d", "second").restored is Restored.CACHE
    server.robot(b"c", wire.Bye())
    assert server.hello(b"e", "first").restored is Restored.TEXT


def test_a_cache_is_kept_for_a_while() -> None:
    server = Server()
    server.hello()
    server.answer(server.chunk(b"c", 1000, 0))
    server.carry_out(server.sessions.leave(b"c", Ended.SILENT, 0.0))
    server.carry_out(server.sessions.tick(KEEP_CACHE_S))
    assert len(server.sessions) == 1
    actions = server.carry_out(server.sessions.tick(KEEP_CACHE_S + 0.1))
    assert orders(actions, backend.Close) and not len(server.sessions)
    assert server.hello().restored is Restored.TEXT


def test_bye_forgets() -> None:
    server = Server()
    server.hello()
    server.answer(server.chunk(b"c", 1000, 0))
    actions = server.robot(b"c", wire.Bye())
    assert orders(actions, backend.Close) and not server.journal and not len(server.sessions)


def test_a_lost_worker_costs_what_was_seen() -> None:
    server = Server()
    server.hello()
    server.answer(server.chunk(b"c", 1000, 0), "once")
    server.chunk(b"c", 1000, 1)
    server.robot(b"c", wire.Check(8, "why?"))
    actions = server.carry_out(server.sessions.worker_lost("0"))
    assert told(actions) == [wire.Error(Code.INTERNAL, seq=1), wire.Error(Code.INTERNAL, id=8)]
    assert Dropped("key", 1, Lost.WORKER) in actions
    assert codes(server.chunk(b"c", 1000, 2)) == [Code.EPOCH]
    assert told(server.robot(b"c", wire.Ping(3))) == [wire.Pong(3)]
    actions = server.carry_out(server.sessions.worker_ready("0", "tiny"))
    assert orders(actions, backend.Open)[0].said == "once"
    (welcome,) = told(server.open_all(actions))
    assert (welcome.epoch, welcome.restored, welcome.last) == (1001, Restored.TEXT, 0)
    assert not codes(server.chunk(b"c", 1001, 2, 0))


def test_a_robot_is_told_when_its_chunks_are_not_understood_and_when_they_are_again() -> None:
    server = Server()
    server.hello()
    assert server.tick() == []
    work = server.chunk(b"c", 1000, 0)
    assert told(server.tick("0")) == [wire.Pong(0, ready=False)], "its worker does not answer"
    assert server.tick("0") == [], "once"
    assert told(server.robot(b"c", wire.Ping(3))) == [wire.Pong(3, ready=False)]
    assert told(server.tick()) == [wire.Pong(0)]
    assert [type(message) for message in told(server.answer(work))] == [wire.Result]
    server.carry_out(server.sessions.worker_lost("0"))
    assert told(server.tick()) == [wire.Pong(0, ready=False)]
    assert told(server.robot(b"c", wire.Ping(4))) == [wire.Pong(4, ready=False)]
    actions = server.carry_out(server.sessions.worker_ready("0", "tiny"))
    assert [type(message) for message in told(server.open_all(actions))] == [wire.Welcome]
    assert server.tick() == [], "the Welcome has told it"


def test_a_robot_that_waits_for_its_welcome_is_told_by_it_alone() -> None:
    server = Server()
    server.hello()
    server.chunk(b"c", 1000, 0)
    server.robot(b"new", wire.Hello(wire.VERSION, "s"))  # waits for the chunk in work
    assert server.tick() == server.tick("0") == []
    assert told(server.robot(b"new", wire.Ping(7)), b"new") == [wire.Pong(7, ready=False)]


def test_a_robot_that_begins_again_with_other_settings_is_told_what_becomes_of_its_chunk() -> None:
    server = Server()
    server.hello()
    server.chunk(b"c", 1000, 0)
    actions = server.robot(b"c", wire.Hello(wire.VERSION, "s", settings={"temperature": 0.5}))
    assert told(actions) == [wire.Error(Code.EPOCH, seq=0)], "it wanted so: no fault of the server"
    assert Dropped("key", 1, Lost.ENDED) in actions


def test_late_answers_about_an_old_memory_are_ignored() -> None:
    server = Server()
    server.hello()
    work = server.chunk(b"c", 1000, 0)
    server.carry_out(server.sessions.worker_lost("0"))
    assert not server.answer(work)


def test_an_error_inside_the_worker_costs_what_was_seen() -> None:
    server = Server()
    server.hello()
    server.answer(server.chunk(b"c", 1000, 0), "once")
    actions = server.refuse(server.chunk(b"c", 1000, 1), Code.INTERNAL)
    assert codes(actions) == [Code.INTERNAL]
    assert orders(actions, backend.Close) and orders(actions, backend.Open)[0].said == "once"
    (welcome,) = told(server.open_all(actions))
    assert (welcome.epoch, welcome.restored) == (1001, Restored.TEXT)


def test_scores_that_are_not_finite_cost_everything() -> None:
    server = Server()
    server.hello()
    server.answer(server.chunk(b"c", 1000, 0), "once")
    error, welcome = told(server.refuse(server.chunk(b"c", 1000, 1), Code.NUMERICS))
    assert (error.code, error.seq) == (Code.NUMERICS, 1)
    assert (welcome.epoch, welcome.restored) == (1001, Restored.NOTHING)
    assert server.journal["s"].said is None


def test_no_memory_for_a_cache_ends_the_newcomer() -> None:
    server = Server()
    server.hello(b"a", "first")
    server.hello(b"b", "second")
    actions = server.refuse(server.chunk(b"b", 1000, 0), Code.FULL)
    (error,) = told(actions, b"b")
    assert (error.code, error.seq, error.retry_s) == (Code.FULL, 0, FULL_RETRY_S)
    assert len(server.sessions) == 1 and not told(actions, b"a")
    assert codes(server.robot(b"b", wire.Ping(1)), b"b") == [Code.SESSION]


def test_reset_begins_a_new_memory() -> None:
    server = Server()
    server.hello()
    server.answer(server.chunk(b"c", 1000, 0), "once")
    task = ordered(server.robot(b"c", wire.Reset(5)), wire.Reset)
    assert codes(server.chunk(b"c", 1000, 1)) == [Code.EPOCH]
    (done,) = told(server.worker(backend.Answer(task.stream, wire.Done(5, 0))))
    assert done == wire.Done(5, 1001)
    assert server.journal["s"].said is None
    assert not codes(server.chunk(b"c", 1001, 1, 0))


def test_what_a_cancelled_chunk_of_the_old_memory_said_is_not_kept() -> None:
    server = Server()
    server.hello()
    work = server.chunk(b"c", 1000, 0)
    server.robot(b"c", wire.Reset(5))
    (late,) = told(server.answer(work, "old"))
    assert late.epoch == 1000
    assert server.journal["s"].said is None


def test_settings_that_changed_are_told_and_kept() -> None:
    server = Server()
    server.hello(settings={"prompt": ""})
    task = ordered(server.robot(b"c", wire.Configure(5, {"prompt": "x"})), wire.Configure)
    changed = {**ALL_SETTINGS, "prompt": "x"}
    server.worker(backend.Answer(task.stream, wire.Done(5, 0), settings=changed))
    assert server.hello(b"d", settings={"prompt": ""}).settings == changed  # as of its first Hello
    assert server.hello(b"e", settings={"prompt": "x"}).settings == changed
    actions = server.robot(b"f", wire.Hello(wire.VERSION, "s", settings={"prompt": "y"}))
    assert orders(actions, backend.Open)[0].settings == {"prompt": "y"}
    assert orders(actions, backend.Close)


def test_a_hello_with_wrong_settings_is_refused() -> None:
    server = Server()
    opened = orders(server.robot(b"c", wire.Hello(wire.VERSION, "s")), backend.Open)[0]
    actions = server.worker(backend.Refused(opened.stream, Code.CONFIG, "fps"))
    assert told(actions) == [wire.Error(Code.CONFIG, field="fps")]
    assert not len(server.sessions) and not server.journal


def test_requests_that_wait_are_bounded() -> None:
    server = Server()
    server.hello()
    for number in range(MAX_REQUESTS):
        assert not codes(server.robot(b"c", wire.Check(number, "why?")))
    assert codes(server.robot(b"c", wire.Check(99, "why?"))) == [Code.RATE]


def test_cancel_is_of_the_chunk_in_work_only() -> None:
    server = Server()
    server.hello()
    server.chunk(b"c", 1000, 3)
    assert not server.robot(b"c", wire.Cancel(1000, 2))
    assert not server.robot(b"c", wire.Cancel(999, 3))
    assert ordered(server.robot(b"c", wire.Cancel(1000, 3)), wire.Cancel)


def test_partial_words_go_to_those_who_asked_for_them() -> None:
    server = Server()
    server.hello(b"a", "first", partial=True)
    server.hello(b"b", "second")
    for connection in (b"a", b"b"):
        task = ordered(server.chunk(connection, 1000, 0), wire.Chunk)
        assert task.partial == (connection == b"a")
        late = server.worker(backend.Answer(task.stream, wire.Partial(999, 0, "of an earlier chunk")))
        assert told(late, connection) == []
        actions = server.worker(backend.Answer(task.stream, wire.Partial(1000, 0, "so far")))
        assert told(actions, connection) == ([wire.Partial(1000, 0, "so far")] if connection == b"a" else [])


def test_draining_answers_what_is_in_work_and_nothing_else() -> None:
    server = Server()
    server.hello(b"a", "first")
    server.hello(b"b", "second")
    work = server.chunk(b"a", 1000, 0)
    actions = server.carry_out(server.sessions.drain())
    assert codes(actions, b"a") == codes(actions, b"b") == [Code.ENDING]
    assert codes(server.chunk(b"b", 1000, 0), b"b") == [Code.ENDING]
    assert codes(server.robot(b"c", wire.Hello(wire.VERSION, "third"))) == [Code.ENDING]
    assert server.sessions.in_work == 1
    assert told(server.answer(work), b"a")[0].seq == 0
    assert server.sessions.in_work == 0


def test_sessions_are_spread_over_the_workers() -> None:
    server = Server(rooms=4, workers=("0", "1"))
    for name in "abcd":
        server.robot(name.encode(), wire.Hello(wire.VERSION, name))
    assert Counter(a.worker for a in server.done if isinstance(a, Order)) == {"0": 2, "1": 2}


ERRORS = [Code.IMAGE, Code.CACHE, Code.NUMERICS, Code.INTERNAL, Code.FULL]


class Link(RuleBasedStateMachine):
    """Robots, networks and workers that do anything at any time; what must hold all the same."""

    names = st.sampled_from(["s0", "s1"])
    connections = st.sampled_from([b"c0", b"c1", b"c2"])
    often = st.sampled_from([True, True, True, False])
    rarely = st.sampled_from([False, False, False, True])
    users = st.sampled_from(["key"] * 7 + ["other"])

    @initialize()
    def begin(self) -> None:
        self.server = Server(rooms=2)
        self.epochs: dict[str, int] = defaultdict(int)  # newest that a robot was told
        self.heard: dict[tuple[bytes, str], int] = {}  # newest Result over a connection
        self.accepted: dict[str, int] = {}
        self.tasks: list[Any] = []
        self.count: Counter[str] = Counter()
        self.up = True

    def note(self, actions: list[Any]) -> None:
        """Check every action as the front would carry it out."""
        server = self.server
        for action in actions:
            if isinstance(action, Order):
                message = action.message
                if isinstance(message, backend.Open):
                    self.tasks.append(message)
                elif isinstance(message, backend.Task):
                    self.tasks.append(message)
                    if isinstance(message.message, wire.Chunk):
                        name = self.name_of(message.stream)
                        assert message.message.seq > self.accepted.get(name, -1)
                        self.accepted[name] = message.message.seq
                        assert server.sessions.in_work <= len(server.sessions) * CREDITS
            elif isinstance(action, Reply) and isinstance(action.message, wire.Welcome):
                session = server.sessions.of(action.connection)
                assert session is not None
                assert action.message.epoch >= self.epochs[session.name]
                self.epochs[session.name] = action.message.epoch
                assert server.journal[session.name].epoch == action.message.epoch
            self.count[type(action).__name__] += 1

    def name_of(self, stream: int) -> str:
        return next(s.name for s in self.server.sessions._by_name.values() if s.stream == stream)

    @rule(connection=connections, name=names, user=users, heard=st.integers(-1, 8), opens=often)
    def hello(self, connection: bytes, name: str, user: str, heard: int, opens: bool) -> None:
        known = self.server.sessions._by_name.get(name)
        record = self.server.journal.get(name)
        self.note(self.server.robot(connection, wire.Hello(wire.VERSION, name, heard=heard), user))
        if known is None and name in self.server.sessions._by_name:
            # what was accepted and not understood, as a chunk there was no memory for, may come again
            self.accepted[name] = max(record.last if record else -1, heard)

        while opens and self.up and any(isinstance(task, backend.Open) for task in self.tasks):
            self.answer(None)

    @rule(data=st.data(), back=st.sampled_from([0, 0, 0, 1]), ahead=st.sampled_from([-1, 0, 1, 1, 1, 2]))
    def send_chunk(self, data: st.DataObject, back: int, ahead: int) -> None:
        attached = sorted(self.server.sessions._by_connection)
        connection = data.draw(st.sampled_from(attached) if attached else self.connections)
        session = self.server.sessions.of(connection)
        epoch, newest = (session.epoch, session.newest) if session else (FIRST_EPOCH, 0)
        seq = max(0, newest + ahead)
        index = max(seq, session.index + 1) if session else seq
        actions = self.server.chunk(connection, epoch - back, seq, index)
        served = [a for a in actions if isinstance(a, Order)]
        assert bool(served) != bool(codes(actions, connection))  # served or refused, never both or neither
        assert not (served and (back or seq <= newest))
        self.note(actions)

    @rule(connection=connections, message=st.sampled_from([wire.Reset(1), wire.Check(2, "?"), wire.Ping(3)]))
    def request(self, connection: bytes, message: Any) -> None:
        self.note(self.server.robot(connection, message))

    @rule(connection=connections)
    def bye(self, connection: bytes) -> None:
        session = self.server.sessions.of(connection)
        self.note(self.server.robot(connection, wire.Bye()))
        if session is not None:  # a session of that name is another one from now on
            self.accepted.pop(session.name, None)
            self.epochs.pop(session.name, None)

    @rule(connection=connections)
    def cut(self, connection: bytes) -> None:
        self.note(
            self.server.carry_out(self.server.sessions.leave(connection, Ended.SILENT, self.server.now_s))
        )

    @rule(seconds=st.sampled_from([0.1, 1.0, 1.0, 4.0, 130.0]))
    def wait(self, seconds: float) -> None:
        self.server.now_s += seconds
        self.note(self.server.carry_out(self.server.sessions.tick(self.server.now_s)))

    @rule(code=st.sampled_from([None] * 5 + ERRORS))
    def worker_answers(self, code: Code | None) -> None:
        if self.tasks and self.up:
            self.answer(code)

    def answer(self, code: Code | None) -> None:
        """The worker carries out the oldest task, or refuses a chunk."""
        task = self.tasks.pop(0)
        if isinstance(task, backend.Open):
            said: Any = backend.Opened(task.stream, ALL_SETTINGS)
        elif not isinstance(task.message, wire.Chunk):
            said = backend.Answer(task.stream, wire.Done(task.message.id, 0))
        elif code is None:
            said = backend.Answer(task.stream, result(task.message), "said")
        else:
            said = backend.Answer(task.stream, wire.Error(code, seq=task.message.seq))
        self.note(self.server.worker(said))

    @rule(unlucky=rarely)
    def worker_dies(self, unlucky: bool) -> None:
        if unlucky:
            self.up, self.tasks = False, []
            self.note(self.server.carry_out(self.server.sessions.worker_lost("0")))

    @rule()
    def worker_comes_back(self) -> None:
        if not self.up:
            self.up = True
            self.note(self.server.carry_out(self.server.sessions.worker_ready("0", "tiny")))

    @rule(unlucky=rarely, unwritten=st.booleans())
    def server_is_killed(self, unlucky: bool, unwritten: bool) -> None:
        """What is not in the journal is gone, and so may be what should have been written down next."""
        if not unlucky:
            return
        for name, before in self.server.unwritten.items() if unwritten else ():
            current = self.server.journal.get(name)
            if current and before and before.epoch == current.epoch and before.last < current.last:
                self.server.journal[name] = before
        in_work = self.server.sessions.in_work
        now_s = self.server.now_s
        self.server = Server(rooms=2, journal=self.server.journal)
        self.server.now_s = now_s
        self.count["Dropped"] += in_work
        self.tasks, self.up = [], True
        self.accepted = {name: record.last for name, record in self.server.journal.items()}
        self.epochs = defaultdict(int, {n: e for n, e in self.epochs.items() if n in self.server.journal})

    @invariant()
    def every_chunk_is_accounted_for(self) -> None:
        count = self.count
        assert count["Came"] == count["Landed"] + count["Dropped"] + self.server.sessions.in_work

    @invariant()
    def there_is_never_more_than_there_is_room_for(self) -> None:
        sessions = self.server.sessions
        assert len(sessions) <= 2
        assert sessions.attached <= len(sessions)
        assert len(sessions._by_stream) == len(sessions)
        for connection, session in sessions._by_connection.items():
            assert session.connection == connection


Link.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestLink = Link.TestCase
