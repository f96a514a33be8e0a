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

"""The front's ends of the pipes to its workers."""

from __future__ import annotations

from collections.abc import Iterator
import select
import socket

import pytest
from svlm_core.offload.local_workers import LocalLinks
from svlm_core.offload.pipe import Pipe

LIMIT_MS = 10_000
LONG = bytes(1 << 20)  # more than the system keeps


@pytest.fixture
def links() -> Iterator[LocalLinks]:
    links = LocalLinks()
    yield links
    links.close()


def worker(links: LocalLinks, identity: bytes) -> Pipe:
    ours, theirs = socket.socketpair()
    links.add(identity, Pipe(ours))
    return Pipe(theirs)


def heard(links: LocalLinks) -> list[tuple[bytes, bytes]]:
    """What comes next, in the sight of a loop that waits for `pollable`."""
    poller = select.poll()
    assert isinstance(links.pollable, int)
    poller.register(links.pollable, select.POLLIN)
    assert poller.poll(LIMIT_MS)
    return [(identity, bytes(message)) for identity, message in links.receive()]


def test_each_worker_has_its_own_link(links: LocalLinks) -> None:
    first, second = worker(links, b"0/0"), worker(links, b"1/0")
    assert links.send(b"1/0", [b"order", b"picture"])
    assert first.receive() is None
    message = second.receive()
    assert message is not None and [bytes(part) for part in message] == [b"order", b"picture"]
    first.send([b"one"])
    assert heard(links) == [(b"0/0", b"one")]


def test_a_long_message_goes_on_as_its_reader_does(links: LocalLinks) -> None:
    busy = worker(links, b"0/0")
    assert links.send(b"0/0", [b"order", LONG])
    while (message := busy.receive()) is None:
        assert heard(links) == []  # nothing came: there was room to send
    assert message[1] == LONG


def test_a_worker_that_ends_is_heard_out_and_its_successor_is_another(links: LocalLinks) -> None:
    old = worker(links, b"0/0")
    old.send([b"failed"])
    old.close()
    assert heard(links) == [(b"0/0", b"failed")]
    assert links.send(b"0/0", [b"into the void"])
    new = worker(links, b"0/1")
    new.send([b"ready"])
    assert heard(links) == [(b"0/1", b"ready")]


def test_workers_see_the_front_go(links: LocalLinks) -> None:
    orphan = worker(links, b"0/0")
    links.close()
    with pytest.raises(EOFError):
        orphan.receive()
