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

"""The real `svlm serve` among robots gone mad: it neither falls nor slows nor swells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack, suppress
from dataclasses import dataclass
import itertools
import json
import logging
import os
from pathlib import Path
import struct
import subprocess
import sys
import threading
import time
from typing import Any

import fuzzer
import numpy as np
import psutil
import pytest
import raw_zmtp
from serve_rig import make_keys, ServeRig
from svlm_core.frames import Chunk
from svlm_core.offload import guard, wire
from svlm_core.offload.client import Client
from svlm_core.offload.curve import ClientKeys
from svlm_core.sources.world import WorldSource

LOG = logging.getLogger(__name__)

ANY_PORT = "tcp://127.0.0.1:0"
SANE = "sane"
MAD = ("one", "two")  # fuzzers side by side
KEYS = 32  # of each
GROWTH_BYTES = 64 << 20
REPLY_MS = 100.0
STEP_LIMIT_S = 5.0  # of the sane robot, among all the others, on two cores
WATCH_S = 0.1
TESTS = Path(fuzzer.__file__).parent


@dataclass
class Server:
    rig: ServeRig
    keys_dir: Path

    def keys(self, name: str) -> ClientKeys:
        return ClientKeys.read(self.keys_dir / f"{name}.key", str(self.keys_dir / "server.pub"))

    @property
    def processes(self) -> list[psutil.Process]:
        """The front and its workers."""
        front = psutil.Process(self.rig.pid)
        return [front, *front.children(recursive=True)]

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """The same processes before and after, hardly larger at any time, and no fault in the log."""
        before, lines = self.processes, len(self.rig.lines)
        usual_bytes = {process.pid: process.memory_info().rss for process in before}
        most_bytes, ended = dict(usual_bytes), threading.Event()

        def watch() -> None:
            while not ended.wait(WATCH_S):
                for process in before:
                    most_bytes[process.pid] = max(most_bytes[process.pid], process.memory_info().rss)

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join()
        assert [process.pid for process in self.processes] == [process.pid for process in before]
        faults = [line for line in self.rig.lines[lines:] if "Traceback" in line or "(internal)" in line]
        assert not faults
        growth = [most_bytes[pid] - usual_bytes[pid] for pid in usual_bytes]
        LOG.info("memory grew by %s MiB", [count >> 20 for count in growth])
        assert sum(growth) <= GROWTH_BYTES, f"memory grew by {[count >> 20 for count in growth]} MiB"

    def fuzz(self, messages: int, pictures: int, seed: int = 0) -> list[dict[str, Any]]:
        """Fuzzers side by side, each with its share; their books."""
        share = [str(-(-count // len(MAD))) for count in (messages, pictures)]
        pid = str(self.rig.pid)
        path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
        running = [
            subprocess.Popen(
                [
                    sys.executable,
                    fuzzer.__file__,
                    self.rig.endpoint,
                    str(self.keys_dir),
                    name,
                    str(seed),
                    *share,
                    pid,
                ],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )
            for name in MAD
        ]
        books = []
        try:
            for process in running:
                output, _ = process.communicate()
                assert process.returncode == 0
                books.append(json.loads(output))
                LOG.info("%s", books[-1])
        finally:
            for process in running:
                process.kill()
        return books


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    keys = make_keys(
        folder / "keys", SANE, *(f"{name}-{number:02}" for name in MAD for number in range(KEYS))
    )
    with ServeRig(folder, ANY_PORT, "--keys", str(keys)) as rig:
        server = Server(rig, keys)
        server.fuzz(3000, 300)  # what a first robot makes it set up is no growth
        yield server


class SaneRobot:
    """Steps without a pause while others do as they like.

    Attributes:
        said: texts, one for each chunk.
        steps_s: how long each took.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.said: list[str] = []
        self.steps_s: list[float] = []
        self._failure: BaseException | None = None
        self._enough = threading.Event()

    def step(self, client: Client, pictures: Iterator[Any], index: int) -> None:
        chunk = Chunk(index, tuple(itertools.islice(pictures, 2)))
        began_s = time.monotonic()
        self.said.append(client.step(chunk).text)
        self.steps_s.append(time.monotonic() - began_s)

    def run(self, least: int) -> None:
        """Step until it is enough, but so many times at least."""
        keys = self._server.keys(SANE)
        with Client(
            self._server.rig.endpoint, {"temperature": 0.0}, keys=keys, picture=wire.Picture.PNG
        ) as client:
            client.wait_until_live(30)
            pictures = iter(WorldSource(seed=3))
            for index in itertools.count():
                if index >= least and self._enough.is_set():
                    return
                self.step(client, pictures, index)
                assert client.state.reconnects == 0, "it was cut off"

    @contextmanager
    def busy(self, least: int) -> Iterator[None]:
        """Run beside what is in the block."""

        def guarded() -> None:
            try:
                self.run(least)
            except BaseException as error:
                self._failure = error

        thread = threading.Thread(target=guarded)
        thread.start()
        try:
            yield
        finally:
            self._enough.set()
            thread.join()
        if self._failure is not None:
            raise self._failure


@contextmanager
def sane_robot_is_served(server: Server) -> Iterator[None]:
    """A robot says among the mad what it says alone, and is never kept waiting for long."""
    among = SaneRobot(server)
    with among.busy(least=8):
        yield
    alone = SaneRobot(server)
    with alone.busy(least=min(len(among.said), 24)):
        pass
    assert any(alone.said) and among.said[: len(alone.said)] == alone.said
    for robot, where in ((among, "among them"), (alone, "alone")):
        p50_ms, p99_ms = (1e3 * value for value in np.percentile(robot.steps_s, (50, 99)))
        LOG.info("a sane robot %s: p50 %.0f ms, p99 %.0f ms", where, p50_ms, p99_ms)
    assert max(among.steps_s) < STEP_LIMIT_S


def check_books(books: list[dict[str, Any]], messages: int, pictures: int) -> None:
    """Everything was sent and answered, at once and by right."""
    assert sum(book["messages"] for book in books) >= messages
    assert sum(book["pictures"] for book in books) >= pictures
    assert not [lost for book in books for lost in book["lost"]]
    replies = {name for book in books for name in book["replies"]}
    assert {"error schema", "error version", "error image", "error session", "pong", "result"} <= replies
    assert "error internal" not in replies
    assert max(book["own_max_ms"] for book in books) < REPLY_MS, books


def test_a_hundred_thousand_mutations(server: Server) -> None:
    with server.unharmed(), sane_robot_is_served(server):
        books = server.fuzz(97_000, 3_000)
    check_books(books, 97_000, 3_000)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_million_mutations(server: Server) -> None:
    """`pytest -m slow -k million`: ten minutes, or an hour on a busy machine."""
    with server.unharmed(), sane_robot_is_served(server):
        books = [server.fuzz(94_000, 6_000, seed) for seed in range(1, 11)]
    check_books([one for each in books for one in each], 940_000, 60_000)


def connections_of(server: Server) -> int:
    port = int(server.rig.endpoint.rpartition(":")[2])
    open_now = psutil.Process(server.rig.pid).net_connections("tcp4")
    return sum(one.laddr.port == port and one.status == psutil.CONN_ESTABLISHED for one in open_now)


OPENINGS = (b"", b"GET / HTTP/1.1\r\n\r\n", raw_zmtp.GREETING, b"\xff" * 100)


def test_a_thousand_half_open_connections(server: Server) -> None:
    with server.unharmed(), sane_robot_is_served(server), ExitStack() as stack:
        for opening in OPENINGS * 250:
            stranger = stack.enter_context(raw_zmtp.open_connection(server.rig.endpoint))
            with suppress(OSError):  # those that speak nonsense are cut off at once
                stranger.sendall(opening)
        end_s = time.monotonic() + 2 * guard.GREETING_S
        while connections_of(server) > 8:
            assert time.monotonic() < end_s, "strangers stay"
            time.sleep(WATCH_S)


def test_strangers_that_claim_or_send_much_fill_no_memory(server: Server) -> None:
    """Before a handshake a part may be as long as a picture: the guard must be quicker than that."""
    with server.unharmed(), sane_robot_is_served(server), ExitStack() as stack:
        for _ in range(100):
            stranger = stack.enter_context(raw_zmtp.open_connection(server.rig.endpoint))
            with suppress(OSError):  # cut off
                claim = bytes([raw_zmtp.LONG | raw_zmtp.COMMAND]) + struct.pack(">Q", wire.MAX_IMAGE_BYTES)
                stranger.sendall(raw_zmtp.GREETING + claim + bytes(1 << 20))
