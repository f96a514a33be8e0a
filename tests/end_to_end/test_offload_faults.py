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

"""A robot, a real `svlm serve`, and a network and a machine that lie: what issue reports are made of.

The quick ones run always, the long ones with `pytest -m slow`. Networks are two real namespaces with CURVE
keys between them, where that is permitted, and a relay on loopback, which also shows what goes over the wire.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
import itertools
import logging
from pathlib import Path
import random
import signal
import subprocess
import sys
import threading
import time

from network import DOWN, Namespaces, Network, Proxy, UP, why_no_namespaces
import numpy as np
import psutil
import pytest
from random_models import write_random_model
from robot import LIMIT_S, ROBOT, Robot
from serve_rig import make_keys, ServeRig
from svlm_core.events import CommentaryEvent, KIND_GAP, KIND_RESET
from svlm_core.offload import images, wire
from svlm_core.offload.curve import secure_client
from svlm_core.offload.link import LIVE, MUTE, STALLED
from svlm_core.offload.workers import MUTE_S, SILENT_S
from wall_clock import WallClock, why_no_wall_clock
import zmq
from zmtp import Wiretap

LOG = logging.getLogger(__name__)

DEAD_LIMIT_S = 4.0  # after a cut, until the robot knows
BACK_LIMIT_S = 3.0  # after the network is mended, until the first event
RESTART_LIMIT_S = 5.0  # after a server is ready again, until the robots' streams go on
OLD_S = 1.0  # frames older than that are not worth sending
SHORT_CUT_S = 4.5  # longer than it takes to be noticed
BLINK_S = 1.0  # not worth noticing
CUTS, LONG_CUT_S = 10, 30.0
KILLS = 20
HOUR_S = 3600
SLACK_S = 1.0  # for a machine that does other things, too


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint that has something to say about every chunk, and is slow at saying much."""
    folder = write_random_model(tmp_path_factory.mktemp("talker") / "model", num_hidden_layers=6)
    (folder / "stream.yaml").write_text(
        "min_visual_tokens: 1\nmax_visual_tokens: 9\nmax_new_tokens: 4\n"
        "text_sink_tokens: 16\ntext_window_tokens: 32\n"
    )
    return folder


class Plain:
    """A server without keys behind a relay: all that reaches it is seen. Its wall clock can jump."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.network = Proxy(self._hear)
        self.clock = None if why_no_wall_clock() else WallClock(folder / "clock")
        environment = {} if self.clock is None else self.clock.environment
        options = ("--model", str(model))
        self.server = ServeRig(folder, self.network.bind, *options, environment=environment)
        self.heard: list[tuple[float, wire.Chunk]] = []
        self._taps: dict[int, Wiretap] = {}
        self._reader: wire.Reader[wire.FromRobot] = wire.Reader(wire.FromRobot)

    def robot(self, *options: str, environment: dict[str, str] | None = None) -> Robot:
        return Robot(self.network.endpoint, options, environment=environment or {})

    def _hear(self, connection: int, data: bytes) -> None:
        for parts in self._taps.setdefault(connection, Wiretap()).feed(data):
            message = self._reader.read(parts)
            if isinstance(message, wire.Chunk):
                self.heard.append((time.monotonic(), message))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, talker: Path) -> Iterator[Plain]:
    made = Plain(tmp_path_factory.mktemp("plain"), talker)
    with made.network, made.server:
        yield made


class Guarded:
    """A server with keys, in a network of its own where that is permitted."""

    def __init__(self, network: Network, folder: Path, model: Path) -> None:
        self.network = network
        self.keys = make_keys(folder / "keys", ROBOT)
        options = ("--model", str(model), "--keys", str(self.keys))
        self.server = ServeRig(folder, network.bind, *options, on_server=network.on_server)

    def robot(self, *options: str) -> Robot:
        return Robot(
            self.network.endpoint, ("--keys", str(self.keys), *options), on_robot=self.network.on_robot
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, talker: Path) -> Iterator[Guarded]:
    if reason := why_no_namespaces():
        LOG.warning("%s: a relay on loopback instead", reason)
    with Proxy() if reason else Namespaces() as network:
        made = Guarded(network, tmp_path_factory.mktemp("guarded"), talker)
        with made.server:
            yield made


def assert_accounted(robot: Robot) -> None:
    """No event twice, none lost in silence; every frame in one place; every hole has its gap, no other."""
    events = [event for _, event in robot.events]
    assert [event.seq for event in events] == list(range(len(events)))
    spoken = [event.chunk_index for event in events if event.words]
    assert spoken == sorted(set(spoken)), "words about a chunk came twice"
    indices = [chunk.index for chunk in robot.chunks]
    assert indices == sorted(set(indices))
    assert set(spoken) <= set(indices)
    around = itertools.pairwise([None, *robot.chunks])
    holes = [
        (after.index, before.newest_ns if before else after.oldest_ns, after.oldest_ns)
        for before, after in around
        if after.index > (before.index + 1 if before else 0)
    ]
    gaps = [event for event in events if event.kind == KIND_GAP]
    assert [(gap.chunk_index, gap.stamp_oldest_ns, gap.stamp_newest_ns) for gap in gaps] == holes
    assert all(event.latency_ms >= 0 for event in events)
    books = robot.books
    assert books["received"] == books["used"] + sum(books["dropped"].values()), books
    assert books["used"] == sum(chunk.frames for chunk in robot.chunks)


def cut_and_mend(network: Network, robot: Robot, seconds: float, *ways: str) -> tuple[float, float]:
    """Cut the network under a robot that lives; how long it took to notice, and to be back."""
    assert robot.understood(2)
    network.cut(*ways)
    cut_s, states = time.monotonic(), len(robot.states)
    assert robot.until(lambda: len(robot.states) > states, LIMIT_S)
    noticed_s = robot.states[states][0] - cut_s
    assert robot.states[states][1] != "live"
    robot.until(lambda: False, max(0.0, cut_s + seconds - time.monotonic()))
    chunks = len(robot.chunks)
    mended_s = time.monotonic()
    network.mend()
    assert robot.until(lambda: len(robot.chunks) > chunks), "it did not come back"
    back_s = robot.chunks[chunks].at_s - mended_s
    LOG.info("noticed after %.2f s, back after %.2f s", noticed_s, back_s)
    return noticed_s, back_s


# ---- the networks themselves ----------------------------------------------------------------------------

ECHO = """
import socket, sys
with socket.create_server(("HOST", PORT)) as listener:
    print("up", flush=True)
    robot, _ = listener.accept()
    while data := robot.recv(100):
        robot.sendall(data)
"""
CALL = """
import socket, sys
with socket.create_connection(("HOST", PORT), 10) as server:
    server.settimeout(0.3)
    for line in sys.stdin:
        server.sendall(line.encode())
        try:
            print(server.recv(100).decode(), end="", flush=True)
        except TimeoutError:
            print("silence", flush=True)
"""


@pytest.mark.parametrize("ways", [(), (UP,), (DOWN,)], ids=["both", "up", "down"])
@pytest.mark.parametrize("kind", [Namespaces, Proxy])
def test_a_cut_is_silence_and_loses_nothing_for_ever(
    kind: type[Namespaces] | type[Proxy], ways: tuple[str, ...]
) -> None:
    if kind is Namespaces and (reason := why_no_namespaces()):
        pytest.skip(reason)

    def start(program: str, endpoint: str, side: list[str]) -> subprocess.Popen[str]:
        host, port = endpoint.removeprefix("tcp://").split(":")
        text = program.replace("HOST", host).replace("PORT", port)
        command = [*side, sys.executable, "-c", text]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with kind() as network, start(ECHO, network.bind, network.on_server) as server:
        assert server.stdout is not None and server.stdout.readline() == "up\n"
        with start(CALL, network.endpoint, network.on_robot) as robot:
            assert robot.stdin is not None and robot.stdout is not None

            def say(word: str) -> str:
                print(word, file=robot.stdin, flush=True)
                return robot.stdout.readline().strip()

            assert say("one") == "one"
            network.cut(*ways)
            assert say("two") == "silence"
            network.mend()
            assert any(say("three") == "two" for _ in range(10)), "TCP sends again what was lost"


# ---- the same events ------------------------------------------------------------------------------------


def test_over_the_link_the_events_are_the_same(guarded: Guarded, talker: Path, tmp_path: Path) -> None:
    """Pictures without loss: what the server says about them is what the same model says here, cut or not."""
    source, here = "world://7?seconds=25", tmp_path / "here.jsonl"
    svlm = [sys.executable, "-m", "svlm_core.cli", "stream", source, "--quiet", "--model", str(talker)]
    subprocess.run([*svlm, "--jsonl", str(here)], check=True, timeout=LIMIT_S)
    expected = [CommentaryEvent.from_json(line) for line in here.read_text().splitlines()]
    assert len(expected) >= 20
    for cut_s in (0.0, SHORT_CUT_S):
        with guarded.robot("--source", source) as robot:
            if cut_s:
                assert robot.understood(5)
                guarded.network.cut()
                assert robot.until(lambda robot=robot: robot.state == "stalled")
                guarded.network.mend()
            assert robot.until(lambda robot=robot: robot.books)
        assert [replace(event, latency_ms=0.0) for _, event in robot.events] == [
            replace(event, latency_ms=0.0) for event in expected
        ]


# ---- a network that is cut ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ways",
    [
        pytest.param((), id="both ways"),
        pytest.param((UP,), id="towards the server", marks=pytest.mark.slow),
        pytest.param((DOWN,), id="towards the robot", marks=pytest.mark.slow),
    ],
)
def test_a_cut_is_noticed_and_over_soon(guarded: Guarded, ways: tuple[str, ...]) -> None:
    with guarded.robot() as robot:
        noticed_s, back_s = cut_and_mend(guarded.network, robot, SHORT_CUT_S, *ways)
        assert robot.understood(2)
        robot.end()
    assert noticed_s <= DEAD_LIMIT_S
    assert back_s <= BACK_LIMIT_S
    assert_accounted(robot)
    assert [event.kind for _, event in robot.events].count(KIND_GAP) == 1
    assert KIND_RESET not in [event.kind for _, event in robot.events], "the server still had the stream"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_cuts_of_thirty_seconds(guarded: Guarded) -> None:
    """As the promise has it: `pytest -m slow -k ten_cuts`, 7 minutes."""
    cuts = []
    with guarded.robot("--seconds=900") as robot:
        for _ in range(CUTS):
            cuts.append(cut_and_mend(guarded.network, robot, LONG_CUT_S))
        assert robot.understood(2)
        robot.end()
    noticed_s, back_s = (sorted(times) for times in zip(*cuts, strict=True))
    LOG.info("noticed after %s s, back after %s s", noticed_s, back_s)
    assert_accounted(robot)
    assert [event.kind for _, event in robot.events].count(KIND_GAP) == CUTS
    assert max(noticed_s) <= DEAD_LIMIT_S
    assert max(back_s) <= BACK_LIMIT_S


def test_nothing_old_is_sent_after_a_cut(plain: Plain) -> None:
    """What reaches the server once the network is mended was filmed a moment ago, and nothing comes twice."""
    plain.heard.clear()
    with plain.robot() as robot:
        cut_and_mend(plain.network, robot, SHORT_CUT_S)
        assert robot.understood(2)
        robot.end()
    assert_accounted(robot)
    sent = [chunk.seq for _, chunk in plain.heard]
    assert len(set(sent)) == len(sent), "a chunk was sent twice"
    understood = {chunk.index for chunk in robot.chunks}
    for at_s, chunk in plain.heard:
        age_s = at_s - chunk.stamps_ns[-1] / 1e9
        if age_s > OLD_S:  # it was on the way when the cut came; the server has to know better than to use it
            assert chunk.index not in understood, f"a chunk {age_s:.1f} s old was used"
    assert sum(at_s - chunk.stamps_ns[-1] / 1e9 > OLD_S for at_s, chunk in plain.heard) <= 1


@pytest.mark.slow
def test_a_slow_network_is_no_broken_one(plain: Plain) -> None:
    """Half a second there and back, and silence that is shorter than a cut: nothing is lost but time."""
    with plain.robot() as robot:
        assert robot.understood(1)
        states, plain.network.delay_s = len(robot.states), 0.25
        try:
            assert robot.understood(2)
            plain.network.cut()
            time.sleep(BLINK_S)
            plain.network.mend()
            assert robot.understood(2)
        finally:
            plain.network.delay_s = 0.0
            plain.network.mend()
        robot.end()
    assert [state for state in robot.states[states:] if state[1] != "live"] == []
    assert_accounted(robot)
    slowest_ms = max(event.latency_ms for _, event in robot.events)
    assert slowest_ms > 500, "the network was not slow"


# ---- a server that is killed ----------------------------------------------------------------------------


def kill_and_restart(guarded: Guarded, robots: list[Robot], times: int) -> None:
    """Kill the server in the middle of a sentence, start it again, wait for everybody; so many times."""
    chance = random.Random(0)
    back_s = []
    for _ in range(times):
        assert all(robot.speaks() for robot in robots)
        time.sleep(0.2 * chance.random())
        killed_s = time.monotonic()
        guarded.server.kill()
        guarded.server.start()
        for robot in robots:
            back_s.append(robot.live_after(killed_s) - guarded.server.ready_s)
            assert robot.understood(1)
    cut_short = 0
    for robot in robots:
        robot.end()
        assert_accounted(robot)
        resets = [event for _, event in robot.events if event.kind == KIND_RESET]
        assert len(resets) == times
        assert all("what was said is kept" in reset.text for reset in resets)
        cut_short += len({index for _, index in robot.partials} - {chunk.index for chunk in robot.chunks})
    LOG.info("%d sentences cut short", cut_short)
    LOG.info("streams went on %s s after the server was ready", [round(s, 2) for s in back_s])
    assert cut_short >= times / 2, "the server was killed between sentences"
    assert max(back_s) <= RESTART_LIMIT_S


@pytest.fixture
def long_winded(tmp_path: Path) -> Path:
    """Settings with which a chunk decodes for a good part of its second."""
    path = tmp_path / "settings.yaml"
    path.write_text("vision_window_s: 2\nmax_new_tokens: 250\nchunk_budget_s: 0.9\n")
    return path


def test_a_killed_server_costs_neither_events_nor_text(guarded: Guarded, long_winded: Path) -> None:
    with guarded.robot("--settings", str(long_winded)) as robot:
        kill_and_restart(guarded, [robot], 2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_server_killed_twenty_times(guarded: Guarded, long_winded: Path) -> None:
    """As the promise has it: `pytest -m slow -k twenty_times`, 5 minutes."""
    settings = ("--seconds=3600", "--settings", str(long_winded))
    with guarded.robot(*settings) as robot, guarded.robot(*settings) as other:
        kill_and_restart(guarded, [robot, other], KILLS)


# ---- a worker that is killed, or hangs ------------------------------------------------------------------


def model_stalls(plain: Plain, robot: Robot, sign: signal.Signals) -> psutil.Process:
    """Do that to the worker under a robot that lives; the robot knows that it is the model."""
    (worker,) = psutil.Process(plain.server.pid).children()
    assert robot.understood(2)
    states, hit_s = len(robot.states), time.monotonic()
    worker.send_signal(sign)
    assert robot.until(lambda: len(robot.states) > states, LIMIT_S)
    at_s, name, reason = robot.states[states]
    assert (name, reason) == (STALLED, MUTE)
    LOG.info("told after %.2f s", at_s - hit_s)
    assert at_s - hit_s <= (MUTE_S if sign == signal.SIGSTOP else 0.0) + SLACK_S
    return worker


def assert_back_on_the_same_connection(robot: Robot) -> None:
    assert [name for _, name, _ in robot.states if name != "connecting"] == [LIVE, STALLED, LIVE]
    assert_accounted(robot)


def test_a_worker_that_is_killed_is_a_stalled_link_until_it_is_back(plain: Plain) -> None:
    with plain.robot() as robot:
        model_stalls(plain, robot, signal.SIGKILL)
        assert robot.understood(2)
        robot.end()
    assert_back_on_the_same_connection(robot)
    resets = [event.text for _, event in robot.events if event.kind == KIND_RESET]
    assert len(resets) == 1 and "what was said is kept" in resets[0]
    assert robot.books["dropped"].get("link"), "nobody understood them, and somebody counted them"


def test_a_worker_that_is_frozen_for_a_while_goes_on(plain: Plain) -> None:
    with plain.robot() as robot:
        model_stalls(plain, robot, signal.SIGSTOP).send_signal(signal.SIGCONT)
        assert robot.understood(2)
        robot.end()
    assert_back_on_the_same_connection(robot)
    assert KIND_RESET not in [event.kind for _, event in robot.events]


@pytest.mark.slow
def test_a_worker_that_is_frozen_for_good_is_replaced(plain: Plain) -> None:
    """`pytest -m slow -k frozen_for_good`, a minute."""
    with plain.robot() as robot:
        frozen_s = time.monotonic()
        model_stalls(plain, robot, signal.SIGSTOP).wait(SILENT_S + SLACK_S)
        LOG.info("killed after %.2f s", time.monotonic() - frozen_s)
        assert robot.understood(2)
        robot.end()
    assert_back_on_the_same_connection(robot)
    assert [event.kind for _, event in robot.events].count(KIND_RESET) == 1


# ---- clocks that jump -----------------------------------------------------------------------------------


@pytest.mark.skipif(bool(why_no_wall_clock()), reason=why_no_wall_clock())
def test_wall_clocks_jump_and_nobody_minds(plain: Plain, tmp_path: Path) -> None:
    """An hour forth and back, at the robot and at the server."""
    assert plain.clock is not None
    clock = WallClock(tmp_path / "clock")
    with plain.robot(environment=clock.environment) as robot:
        assert robot.understood(2)
        states = len(robot.states)
        for at_robot_s, at_server_s in ((HOUR_S, 0), (-HOUR_S, HOUR_S), (0, -HOUR_S), (0, 0)):
            clock.jump(at_robot_s)
            plain.clock.jump(at_server_s)
            assert robot.understood(1)
        robot.end()
    assert [name for _, name, _ in robot.states[states:] if name != "live"] == []
    assert_accounted(robot)
    assert KIND_GAP not in [event.kind for _, event in robot.events]
    assert max(event.latency_ms for _, event in robot.events) < DEAD_LIMIT_S * 1e3


# ---- more than the server can do ------------------------------------------------------------------------


OVERLOAD = 10  # as the promise has it: so many times what is understood


def test_overload_is_dropped_and_counted(plain: Plain, tmp_path: Path) -> None:
    """Far more than the server can understand: the newest is, and the books say what became of the rest.

    Each chunk is a tenth of a second and talks until its budget of two seconds is over, so that the load does
    not depend on how quick the machine is.
    """
    settings, budget_s = tmp_path / "settings.yaml", 2.0
    settings.write_text(
        f"chunk_s: 0.1\nfps: 20\nvision_window_s: 0.2\nmax_new_tokens: 1000\nchunk_budget_s: {budget_s}\n"
        "temperature: 0.0\nrepetition_penalty: 1.0\n"  # it repeats itself, and never comes to an end
    )
    options = ("--fps=20", "--seconds=5", "--settings", str(settings))
    robots = [plain.robot(*options) for _ in range(8)]
    with ExitStack() as living:
        for robot in robots:
            living.enter_context(robot)
        for robot in robots:
            assert robot.until(lambda robot=robot: robot.books)
    for robot in robots:
        assert_accounted(robot)
        assert set(robot.books["dropped"]) <= {"stale", "rate", "link"}, robot.books
        oldest_s = max(chunk.age_s for chunk in robot.chunks)
        assert oldest_s < budget_s + SLACK_S, "words are about something that is long past"
    received, used = (sum(robot.books[name] for robot in robots) for name in ("received", "used"))
    LOG.info("received %d frames, used %d", received, used)
    assert received >= OVERLOAD * used


# ---- a robot that does not read -------------------------------------------------------------------------


class Eager:
    """A robot that says Hello again and again, which has long answers, and a chunk now and then.

    It reads what it is sent, or nothing but its first Welcome.
    """

    SESSION = "eager"
    HELLOS_PER_S, CHUNK_EVERY = 400, 400

    def __init__(self, endpoint: str, reads: bool) -> None:
        self._endpoint, self._reads = endpoint, reads
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eager")

    def __enter__(self) -> Eager:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join(LIMIT_S)

    def _run(self) -> None:
        picture = images.encode([np.zeros((56, 56, 3), np.uint8)], wire.Picture.PNG, 85, None)
        reader: wire.Reader[wire.FromServer] = wire.Reader(wire.FromServer)
        hello = wire.pack(wire.Hello(wire.VERSION, self.SESSION))
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            secure_client(socket, None, self._endpoint)
            if not self._reads:  # nothing is to lie and wait here
                socket.rcvhwm, socket.rcvbuf = 1, 4096
            socket.connect(self._endpoint)
            socket.send_multipart(hello)
            while not isinstance(welcome := reader.read(socket.recv_multipart()), wire.Welcome):
                pass
            seq = index = welcome.last
            begin_s = time.monotonic()
            for number in itertools.count():
                if self._ended.wait(max(0.0, begin_s + number / self.HELLOS_PER_S - time.monotonic())):
                    return
                message = hello
                if number % self.CHUNK_EVERY == 0:
                    seq, index = seq + 1, index + 1
                    header = wire.Chunk(welcome.epoch, seq, index, [index], 56, 56, wire.Picture.PNG)
                    message = wire.pack(header, picture)
                with suppress(zmq.Again):
                    socket.send_multipart(message, zmq.DONTWAIT)
                    while self._reads:
                        socket.recv_multipart(zmq.DONTWAIT)


HARM = 1.1  # of the others' latency, at most
BLOCK_S, PAIRS = 15.0, 8  # two minutes of each; it takes ten seconds until nothing more fits into the network

Pair = tuple[list[float], list[float]]  # ms, of two blocks beside each other: beside one that reads, or not


def harm(pairs: Sequence[Pair], percentile: float) -> tuple[float, float]:
    """How many times larger a percentile is beside a robot that does not read; how much of that is chance.

    A machine that does other things, too, has tails of its own. Were there no difference, the blocks of a
    pair could be exchanged; the second number is what 99 of 100 such exchanges stay below.
    """

    def times(exchanged: Sequence[bool]) -> float:
        sides: Pair = ([], [])
        for pair, other_way in zip(pairs, exchanged, strict=True):
            for side, block in zip(sides, reversed(pair) if other_way else pair, strict=True):
                side.extend(block)
        reads, deaf = (float(np.percentile(side, percentile)) for side in sides)
        return deaf / reads

    chance = random.Random(0)
    by_chance = [times([chance.random() < 0.5 for _ in pairs]) for _ in range(1000)]
    return times([False] * len(pairs)), float(np.percentile(by_chance, 99))


def test_harm_is_seen_and_chance_is_not_taken_for_it() -> None:
    chance = random.Random(0)

    def pairs(factor: float, burst_ms: float) -> list[Pair]:
        def block(times: float) -> list[float]:
            burst = burst_ms * (chance.random() < 0.3)
            return [times * (20.0 + 2.0 * chance.random() + burst) for _ in range(35)]

        return [(block(1.0), block(factor)) for _ in range(PAIRS)]

    for percentile in (50, 99):
        worse, by_chance = harm(pairs(1.2, burst_ms=0.0), percentile)
        assert worse == pytest.approx(1.2, abs=0.02) and worse > max(HARM, by_chance)
        worse, by_chance = harm(pairs(1.0, burst_ms=200.0), percentile)
        assert worse <= max(HARM, by_chance)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_robot_that_does_not_read_harms_nobody(plain: Plain) -> None:
    """Seven robots beside an eighth that reads, or not, by turns: `pytest -m slow -k not_read`, 5 minutes."""
    robots = [plain.robot("--seconds=600") for _ in range(7)]
    pairs: list[Pair] = []

    def cuts() -> int:
        return sum("does not fetch" in line for line in plain.server.lines)

    def block(reads: bool) -> list[float]:
        begin_s = time.monotonic()
        latency_ms: list[float] = []
        with Eager(plain.network.bind, reads):
            for robot in robots:
                robot.until(lambda: False, max(0.0, begin_s + BLOCK_S - time.monotonic()))
                fresh = [event.latency_ms for at_s, event in robot.events if at_s >= begin_s]
                assert len(fresh) >= BLOCK_S / 2
                latency_ms += fresh
        return latency_ms

    with ExitStack() as living:
        for robot in robots:
            living.enter_context(robot)
        for robot in robots:
            assert robot.understood(3)
        for number in range(PAIRS):
            first = number % 2 == 0
            blocks = {reads: block(reads) for reads in (first, not first)}
            pairs.append((blocks[True], blocks[False]))
        assert 0 < cuts() <= PAIRS, "who does not read is cut, and nobody else"
        for robot in robots:
            robot.end()
            assert_accounted(robot)
    for percentile in (50, 99):
        worse, by_chance = harm(pairs, percentile)
        LOG.info("p%d: %.3f times; by chance up to %.3f times", percentile, worse, by_chance)
        assert worse <= max(HARM, by_chance)
