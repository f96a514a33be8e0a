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

"""`svlm serve --ray`: actors of a real Ray cluster, of this machine alone, in place of worker processes.

Needs `pip install 'svlm_ros[ray]'`, which the test environment does without; run with `pytest -m slow`.
"""

from __future__ import annotations

from collections.abc import Iterator
import time

import psutil
import pytest
from raw_peer import RawPeer
from serve_rig import ServeRig
from small_stream import chunk_at
from svlm_core.offload import wire

pytest.importorskip("ray", reason="Ray is an extra: pip install 'svlm_ros[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LIMIT_S = 240.0
ACTOR = "ray::_Actor"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeRig]:
    options = ("--ray", "--devices=cpu:0,cpu:1", "--max-new-tokens=4")
    with ServeRig(tmp_path_factory.mktemp("serve"), "tcp://127.0.0.1:*", *options) as rig:
        yield rig


def endpoint(server: ServeRig) -> str:
    line = next(line for line in server.lines if "ready at" in line)
    return line.partition("ready at ")[2].partition(",")[0]


def actors() -> list[psutil.Process]:
    """The processes that decode."""
    return [one for one in psutil.process_iter(["cmdline"]) if ACTOR in " ".join(one.info["cmdline"] or ())]


def test_actors_serve_and_are_replaced(server: ServeRig) -> None:
    first = actors()
    assert len(first) == 2
    with RawPeer(endpoint(server)) as robot, RawPeer(endpoint(server)) as other:
        peers = {robot: robot.hello("one"), other: other.hello("two")}  # each on the emptier actor
        for seq in range(3):
            for peer, welcome in peers.items():
                assert isinstance(peer.step(welcome.epoch, seq, chunk_at(seq)), wire.Result)
        for actor in first:
            actor.kill()
        again: dict[RawPeer, wire.Welcome] = {}
        end_s = time.monotonic() + LIMIT_S
        while len(again) < len(peers):
            assert time.monotonic() < end_s, "the actors were not replaced"
            for peer in peers:  # a robot that says nothing would be given up
                peer.send(wire.Ping(0))
                for heard in peer.until(wire.Pong):
                    if isinstance(heard, wire.Welcome):
                        again[peer] = heard
            time.sleep(0.1)
        for peer, welcome in peers.items():
            assert (again[peer].restored, again[peer].last) == (wire.Restored.TEXT, 2)
            assert again[peer].epoch > welcome.epoch
            assert isinstance(peer.step(again[peer].epoch, 3, chunk_at(3)), wire.Result)
    assert not {actor.pid for actor in first} & {actor.pid for actor in actors()}


def test_actors_end_with_the_front(server: ServeRig) -> None:
    """Last: it ends the server."""
    assert actors()
    assert server.end() == 0
    _, alive = psutil.wait_procs(actors(), timeout=LIMIT_S)
    assert not alive
