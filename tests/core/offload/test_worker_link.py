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
from svlm_core.offload.bell import Bell
from svlm_core.offload.worker_link import Address, connect_to_front, listen_to_workers, RemoteLinks
import zmq

LIMIT_MS = 10_000
SILENCE_MS = 500

Listening = tuple[RemoteLinks, Address]


@pytest.fixture
def listening() -> Iterator[Listening]:
    with listen_to_workers("127.0.0.1") as (links, address):
        yield links, address


def test_a_worker_with_the_keys_of_this_run_is_heard(listening: Listening) -> None:
    links, address = listening
    with Bell() as bell:
        worker = connect_to_front(address, "0/0", bell.ring)
        worker.send([b"ready"])
        assert links.pollable.poll(LIMIT_MS)
        ((identity, message),) = links.receive()
        assert (identity, bytes(message)) == (b"0/0", b"ready")
        assert links.send(identity, [b"open", b"picture"])
        poller = zmq.Poller()
        poller.register(worker, zmq.POLLIN)
        while (parts := worker.receive()) is None:
            assert poller.poll(LIMIT_MS)
        assert [bytes(part) for part in parts] == [b"open", b"picture"]
        worker.close()


def test_a_worker_that_is_gone_takes_everything(listening: Listening) -> None:
    links, _ = listening
    assert links.send(b"0/7", [b"open"])


@pytest.mark.parametrize("knows_server", [True, False])
def test_nobody_else_is(listening: Listening, knows_server: bool) -> None:
    """Neither who has learnt the front's public key, nor who speaks without keys."""
    links, address = listening
    with zmq.Context() as context, context.socket(zmq.DEALER) as worker:
        worker.linger = 0
        if knows_server:
            worker.curve_serverkey = address.server.encode()
            worker.curve_publickey, worker.curve_secretkey = zmq.curve_keypair()
        worker.connect(address.endpoint)
        worker.send(b"ready")
        assert not links.pollable.poll(SILENCE_MS)


def test_keys_are_of_one_run(listening: Listening) -> None:
    with listen_to_workers("127.0.0.1") as (_, address):
        assert address.server != listening[1].server
        assert address.secret != listening[1].secret
