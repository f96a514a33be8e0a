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

"""A pipe between processes: messages arrive whole and in order, however the system cuts them."""

from __future__ import annotations

from collections.abc import Iterator
import select
import socket
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from svlm_core.offload import pipe as module
from svlm_core.offload.pipe import Pipe

LIMIT_MS = 10_000
SENDERS, MESSAGES = 4, 200
SMALL_BYTES = 4096  # of the system's buffers: most messages below do not fit

Ends = tuple[Pipe, Pipe]


def ends() -> Ends:
    near, far = socket.socketpair()
    for end in (near, far):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BYTES)
    return Pipe(near), Pipe(far)


@pytest.fixture
def pair() -> Iterator[Ends]:
    near, far = ends()
    yield near, far
    near.close()
    far.close()


def received(pipe: Pipe) -> list[bytes] | None:
    parts = pipe.receive()
    return None if parts is None else [bytes(part) for part in parts]


def await_message(pipe: Pipe) -> list[bytes]:
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    while True:
        if (message := received(pipe)) is not None:
            return message
        assert poller.poll(LIMIT_MS), "nothing comes"


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 3 * SMALL_BYTES), min_size=1, max_size=5), max_size=12), st.randoms())
def test_what_is_offered_arrives_whole_and_in_order(sizes: list[list[int]], random: object) -> None:
    """Whatever the sizes, and whenever the other end reads."""
    near, far = ends()
    sent = [[bytes([number]) * size for size in message] for number, message in enumerate(sizes)]
    heard = []
    for message in sent:
        assert near.offer(message)
        if random.random() < 0.5:  # type: ignore[attr-defined]
            heard += [one for one in (received(far),) if one is not None]
    while near.waits:
        near.flush()
        heard += [one for one in (received(far),) if one is not None]
    near.close()
    with pytest.raises(EOFError):
        while True:
            heard += [one for one in (received(far),) if one is not None]
    far.close()
    assert heard == sent


def test_threads_send_whole_messages_while_another_receives(pair: Ends) -> None:
    near, far = pair

    def send(sender: int) -> None:
        for number in range(MESSAGES):
            near.send([b"%d" % sender, b"%d" % number, bytes(number * 50)])

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(SENDERS)]
    for thread in threads:
        thread.start()
    heard: list[list[int]] = [[] for _ in range(SENDERS)]
    for _ in range(SENDERS * MESSAGES):
        sender, number, filling = await_message(far)
        assert len(filling) == int(number) * 50
        heard[int(sender)].append(int(number))
    for thread in threads:
        thread.join()
    assert heard == SENDERS * [list(range(MESSAGES))]


def test_what_an_end_said_before_it_left_is_heard(pair: Ends) -> None:
    near, far = pair
    far.offer([b"nobody reads this"])
    near.send([b"last words"])
    near.close()
    assert await_message(far) == [b"last words"]
    with pytest.raises(EOFError):
        far.receive()
    assert far.offer([b"to nobody"]) and not far.waits
    far.send([b"to nobody"])


def test_only_so_much_waits_for_an_end_that_does_not_read(
    pair: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BACKLOG_BYTES", 8 * SMALL_BYTES)
    near, far = pair
    offered = 0
    while near.offer([bytes(SMALL_BYTES)]):
        offered += 1
    assert 8 <= offered < 32
    for _ in range(offered):
        near.flush()
        assert await_message(far) == [bytes(SMALL_BYTES)]
    assert received(far) is None and near.offer([b"again"])
