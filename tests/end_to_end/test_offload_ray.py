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

import psutil
import pytest
from serve_rig import ServeRig
from small_stream import chunk_at
from svlm_core.errors import LinkError
from svlm_core.offload.client import Client
from svlm_core.stream.result import ChunkResult

pytest.importorskip("ray", reason="Ray is an extra: pip install 'svlm_ros[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LIMIT_S = 240.0
ACTOR = "ray::_Actor"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeRig]:
    options = ("--ray", "--devices=cpu:0,cpu:1", "--max-new-tokens=4")
    with ServeRig(tmp_path_factory.mktemp("serve"), "tcp://127.0.0.1:*", *options) as rig:
        yield rig


def actors() -> list[psutil.Process]:
    """The processes that decode."""
    return [one for one in psutil.process_iter(["cmdline"]) if ACTOR in " ".join(one.info["cmdline"] or ())]


def test_actors_serve_and_are_replaced(server: ServeRig) -> None:
    first = actors()
    assert len(first) == 2
    with Client(server.endpoint) as one, Client(server.endpoint) as two:  # each on the emptier actor
        for client in (one, two):
            client.wait_until_live(LIMIT_S)
            for index in range(3):
                chunk = chunk_at(index)
                assert client.step(chunk, client.preprocess(chunk)).forgot == ""
        for actor in first:
            actor.kill()
        for client in (one, two):
            assert "what was said is kept" in first_result(client, 3).forgot
    assert not {actor.pid for actor in first} & {actor.pid for actor in actors()}


def first_result(client: Client, index: int) -> ChunkResult:
    """Of this chunk or a later one: a chunk that an actor dies with is lost."""
    while True:
        chunk = chunk_at(index)
        try:
            return client.step(chunk, client.preprocess(chunk))  # without a deadline: waits for the actor
        except LinkError:
            index += 1


def test_actors_end_with_the_front(server: ServeRig) -> None:
    """Last: it ends the server."""
    assert actors()
    assert server.end() == 0
    _, alive = psutil.wait_procs(actors(), timeout=LIMIT_S)
    assert not alive
