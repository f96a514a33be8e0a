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

"""The link to workers elsewhere, over real sockets: those with the keys of this run, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from svlm_core.offload.launcher import WorkerKeys
from svlm_core.offload.worker_link import listen_to_workers
import zmq

LIMIT_MS = 10_000
SILENCE_MS = 500

Listening = tuple[zmq.Socket, str, WorkerKeys]


@pytest.fixture
def listening() -> Iterator[Listening]:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as backend:
        backend.linger = 0
        with listen_to_workers(backend, "127.0.0.1") as (endpoint, keys):
            yield backend, endpoint, keys


@pytest.fixture
def worker() -> Iterator[zmq.Socket]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as worker:
        worker.linger, worker.rcvtimeo = 0, LIMIT_MS
        yield worker


def test_a_worker_with_the_keys_of_this_run_is_heard(listening: Listening, worker: zmq.Socket) -> None:
    backend, endpoint, keys = listening
    worker.curve_serverkey = keys.server.encode()
    worker.curve_publickey, worker.curve_secretkey = keys.public.encode(), keys.secret.encode()
    worker.connect(endpoint)
    worker.send(b"ready")
    assert backend.poll(LIMIT_MS)
    identity, message = backend.recv_multipart()
    assert message == b"ready"
    backend.send_multipart([identity, b"open"])
    assert worker.recv() == b"open"


@pytest.mark.parametrize("knows_server", [True, False])
def test_nobody_else_is(listening: Listening, worker: zmq.Socket, knows_server: bool) -> None:
    """Neither who has learnt the front's public key, nor who speaks without keys."""
    backend, endpoint, keys = listening
    if knows_server:
        worker.curve_serverkey = keys.server.encode()
        worker.curve_publickey, worker.curve_secretkey = zmq.curve_keypair()
    worker.connect(endpoint)
    worker.send(b"ready")
    assert not backend.poll(SILENCE_MS)


def test_keys_are_of_one_run(listening: Listening) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as backend:
        backend.linger = 0
        with listen_to_workers(backend, "127.0.0.1") as (_, keys):
            assert keys != listening[2]
            assert keys.server != listening[2].server
