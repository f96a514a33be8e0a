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

"""Who must not be served by the real `svlm serve`, and what the robot is told; no pickle on either side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
import os
from pathlib import Path
import socket as sockets
import subprocess
import sys
from typing import Any

import fuzzer
import pytest
import raw_zmtp
from serve_rig import make_keys, ServeRig
from svlm_core.errors import LinkError
from svlm_core.frames import Chunk
from svlm_core.offload import wire
from svlm_core.offload.client import Client
from svlm_core.offload.curve import ClientKeys, secure_client
from svlm_core.offload.keys import KeyStore
from svlm_core.sources.world import WorldSource
import zmq

ANY_PORT = "tcp://127.0.0.1:0"
WAIT_S = 20.0
QUIET_MS = 500


class Server:
    """A server with keys, and robots that know it."""

    def __init__(self, rig: ServeRig, store: KeyStore) -> None:
        self.endpoint, self.lines, self.store = rig.endpoint, rig.lines, store

    def keys(self, name: str) -> ClientKeys:
        return ClientKeys.read(self.store.folder / f"{name}.key", str(self.store.folder / "server.pub"))


HOOK = """\
import os, pickle, _pickle

# reading is what runs code; a library may write a constant of its own (jinja2 does, when it is imported)
FUNCTIONS, CLASSES = ("load", "loads"), ("Unpickler", "_Unpickler")

def report(name):
    with open(os.environ["PICKLE_CALLS"], "a") as file:
        file.write(name + "\\n")
    raise RuntimeError(f"pickle.{name} was called")

def guarded(name, kind):
    def __init__(self, *arguments, **options):
        report(name)
    return type(name, (kind,), {"__init__": __init__})

for module in (pickle, _pickle):
    for name in FUNCTIONS:
        setattr(module, name, lambda *arguments, name=name, **options: report(name))
    for name in CLASSES:
        if hasattr(module, name):
            setattr(module, name, guarded(name, getattr(module, name)))
with open(os.environ["PICKLE_CALLS"] + ".hooked", "a") as file:
    file.write(f"{os.getpid()}\\n")
"""


def hooked(folder: Path) -> dict[str, str]:
    """An environment in which reading a pickle, in any process, is written down and fails."""
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(HOOK)
    return {"PYTHONPATH": str(folder / "hook"), "PICKLE_CALLS": str(folder / "calls")}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return hooked(tmp_path_factory.mktemp("pickle"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    keys = make_keys(folder / "keys", "robot1", "robot2", "robot3")
    with ServeRig(folder, ANY_PORT, "--keys", str(keys), environment=environment) as rig:
        yield Server(rig, KeyStore(keys))


def chunk(index: int = 0) -> Chunk:
    frames = iter(WorldSource(seed=3))
    return Chunk(index, (next(frames), next(frames)))


def refusal(server: Server, keys: ClientKeys | None) -> str:
    """What a robot with these keys is told."""
    with Client(server.endpoint, keys=keys) as client, pytest.raises(LinkError) as refused:
        client.wait_until_live(WAIT_S)
    return str(refused.value)


def test_an_unknown_key_is_refused_by_name(server: Server) -> None:
    server.store.new("stranger")
    words = refusal(server, server.keys("stranger"))
    assert "key" in words and "allow" in words
    assert any("its key" in line and "is not allowed" in line for line in server.lines)


def test_a_robot_without_keys_is_refused_by_name(server: Server) -> None:
    assert "key" in refusal(server, None)


def test_a_wrong_server_key_is_refused_by_name(server: Server) -> None:
    words = refusal(server, replace(server.keys("robot1"), server=zmq.curve_keypair()[0]))
    assert "server" in words and "key" in words


def test_a_revoked_robot_is_cut_off_while_it_streams_and_others_are_not(server: Server) -> None:
    gone, stays = server.keys("robot3"), server.keys("robot2")
    with Client(server.endpoint, keys=gone) as first, Client(server.endpoint, keys=stays) as second:
        for client in (first, second):
            client.wait_until_live(WAIT_S)
            client.step(chunk(0))
        server.store.revoke("robot3")
        with pytest.raises(LinkError) as refused:
            for index in range(1, 1000):
                first.step(chunk(index))
        assert "key" in str(refused.value)
        second.step(chunk(1))
        assert second.state.reconnects == 0
    assert "key" in refusal(server, gone)


class Robot:
    """A connection that says what it likes."""

    def __init__(self, context: zmq.Context, server: Server, name: str) -> None:
        self.socket = context.socket(zmq.DEALER)
        secure_client(self.socket, server.keys(name), server.endpoint)
        self.socket.connect(server.endpoint)
        self._reader: wire.Reader[wire.FromServer] = wire.Reader(wire.FromServer)

    def close(self) -> None:
        self.socket.close()

    def ask(self, message: wire.Message, pictures: Any = ()) -> wire.FromServer:
        self.socket.send_multipart(wire.pack(message, pictures))
        return self.hear()

    def hear(self) -> wire.FromServer:
        assert self.socket.poll(WAIT_S * 1e3), "no answer"
        return self._reader.read(self.socket.recv_multipart())

    def quiet(self) -> bool:
        return not self.socket.poll(QUIET_MS)


@pytest.fixture
def robot(server: Server) -> Iterator[Robot]:
    with zmq.Context() as context, closing(Robot(context, server, "robot1")) as robot:
        yield robot


def hello(session: str) -> wire.Hello:
    return wire.Hello(wire.VERSION, session, settings={"temperature": 0.0})


def picture_chunk(epoch: int, seq: int, index: int) -> tuple[wire.Chunk, list[bytes]]:
    side = fuzzer.SIDE_PX
    header = wire.Chunk(epoch, seq, index, [seq], side, side, wire.Picture.PNG)
    return header, [fuzzer.CODED[wire.Picture.PNG]]


def code(answer: wire.FromServer) -> str:
    assert isinstance(answer, wire.Error), answer
    return answer.code.value


def test_a_version_from_the_future_is_refused(robot: Robot) -> None:
    assert code(robot.ask(wire.Hello(wire.VERSION + 1, "future"))) == "version"
    assert code(robot.ask(wire.Ping(1))) == "session"


def test_a_server_from_the_future_is_named_at_the_robot() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as future:
        future.linger = 0
        port = future.bind_to_random_port("tcp://127.0.0.1")
        with Client(f"tcp://127.0.0.1:{port}") as client:
            assert future.poll(WAIT_S * 1e3)
            identity = future.recv_multipart()[0]
            settings: wire.Settings = {}
            (welcome,) = wire.pack(
                wire.Welcome(wire.VERSION + 1, 1, wire.Restored.NOTHING, -1, settings, "later", 1)
            )
            future.send_multipart([identity, welcome])
            with pytest.raises(LinkError, match="version"):
                client.wait_until_live(WAIT_S)


def test_replayed_and_reordered_messages_are_refused(robot: Robot) -> None:
    welcome = robot.ask(hello("order"))
    assert isinstance(welcome, wire.Welcome)
    epoch = welcome.epoch
    assert isinstance(robot.ask(*picture_chunk(epoch, 5, 5)), wire.Result)
    assert code(robot.ask(*picture_chunk(epoch, 5, 5))) == "order"  # said again
    assert code(robot.ask(*picture_chunk(epoch, 4, 6))) == "order"  # an older number
    assert code(robot.ask(*picture_chunk(epoch, 6, 5))) == "order"  # an older moment
    assert code(robot.ask(*picture_chunk(epoch + 1, 6, 6))) == "epoch"
    assert isinstance(robot.ask(wire.Reset(1)), wire.Done)
    assert code(robot.ask(*picture_chunk(epoch, 6, 6))) == "epoch"  # of the memory before


def test_a_session_belongs_to_the_key_that_began_it(server: Server, robot: Robot) -> None:
    assert isinstance(robot.ask(hello("mine")), wire.Welcome)
    with zmq.Context() as context, closing(Robot(context, server, "robot2")) as thief:
        assert code(thief.ask(hello("mine"))) == "taken"
        assert code(thief.ask(wire.Bye())) == "session"
    assert isinstance(robot.ask(wire.Ping(1)), wire.Pong)


def test_recorded_bytes_of_a_robot_are_worth_nothing(server: Server) -> None:
    """Whoever recorded the wire plays it again, over a connection of his own."""
    host, port = server.endpoint.removeprefix("tcp://").split(":")
    recorded = bytearray()
    with zmq.Context() as context, closing(sockets.create_server(("127.0.0.1", 0))) as relay:
        endpoint = f"tcp://127.0.0.1:{relay.getsockname()[1]}"
        with context.socket(zmq.DEALER) as robot:
            secure_client(robot, server.keys("robot1"), endpoint)
            robot.connect(endpoint)
            robot.send_multipart(wire.pack(hello("recorded")))
            near, far = relay.accept()[0], sockets.create_connection((host, int(port)))
            with near, far:
                poller = zmq.Poller()
                for source in (near, far, robot):
                    poller.register(source, zmq.POLLIN)
                while robot not in (ready := dict(poller.poll(WAIT_S * 1e3))):
                    assert ready, "no answer through the relay"
                    for source, target in ((near, far), (far, near)):
                        if source.fileno() in ready:
                            data = source.recv(65536)
                            target.sendall(data)
                            if source is near:
                                recorded += data
    assert len(recorded) > 400
    with raw_zmtp.open_connection(server.endpoint) as replay:
        replay.sendall(recorded)
        answer = raw_zmtp.until_closed(replay)
    assert b"READY" not in answer and b"MESSAGE" not in answer


@pytest.mark.parametrize(
    "call", ["pickle.load(None)", "pickle.loads(b'I1.')", "pickle.Unpickler(None).load()"]
)
def test_the_hook_would_notice(tmp_path: Path, call: str) -> None:
    environment = hooked(tmp_path)
    ended = subprocess.run(
        [sys.executable, "-c", f"import pickle; {call}"],
        env={**os.environ, **environment},
        capture_output=True,
    )
    assert ended.returncode == 1 and b"was called" in ended.stderr
    name = call.removeprefix("pickle.").partition("(")[0]
    assert Path(environment["PICKLE_CALLS"]).read_text() == f"{name}\n"


def test_nothing_is_unpickled_while_robots_are_served_or_refused(
    server: Server, environment: dict[str, str]
) -> None:
    """The server of this whole module, and the command line of a robot."""
    keys = server.store.folder
    command = [sys.executable, "-m", "svlm_core.cli", "stream", "world://7?seconds=6"]
    command += ["--endpoint", server.endpoint, "--key", str(keys / "robot1.key")]
    ended = subprocess.run(
        [*command, "--server-key", str(keys / "server.pub")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip(), "nothing was said"
    calls = Path(environment["PICKLE_CALLS"])
    processes = set(calls.with_name("calls.hooked").read_text().split())
    assert len(processes) >= 3, "the front, its worker and the robot"
    assert not calls.exists(), calls.read_text()
