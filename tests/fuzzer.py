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

"""A robot gone mad, as a process: `python fuzzer.py ENDPOINT KEYS_DIR NAME SEED MESSAGES PICTURES PID`.

It sends mutated messages, and whole messages with mutated pictures, over many connections and keys, and says
in one line of JSON how many of each, what it was answered, and how long it had to wait for a reply: all in
all, and for the server alone (PID is its front's), see Books.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import json
import os
from pathlib import Path
import random
import sys
import time
from typing import Any

import msgpack
import numpy as np
import psutil
from run_queue import RunQueue, Share
from svlm_core.offload import images, wire
from svlm_core.offload.curve import ClientKeys, secure_client
from svlm_core.offload.wire import Picture
import zmq

SIDE_PX = 56
MESSAGES_OF_A_CONNECTION = 1500  # a key may send 2000 at once
WINDOW = 24  # messages on their way
REPLY_LIMIT_S = 20.0
EXTREMES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**63 - 1, 2**64 - 1, -(2**63), 1.5, float("nan"), float("inf"), -0.0),
    *("", "a", "\0", "..", "ü" * 9, "x" * 300, "x" * 70_000, b"", b"\xff", b"x" * 70_000),
    *([], [[]], [0] * 300, [None], {}, {"a": 1}, {1: 2}, {"": ""}, {"fps": 1e308}, {"x": [{}]}),
    *("hello", "result", "<|im_end|>", "<|video_pad|>" * 9, "jpeg", "gif", msgpack.ExtType(5, b"x")),
)
FRAME = np.arange(SIDE_PX * SIDE_PX * 3, dtype=np.uint32).reshape(SIDE_PX, SIDE_PX, 3).astype(np.uint8)
CODED = {picture: images.encode([FRAME], picture, 85)[0] for picture in Picture}

Message = list[bytes]


KINDS: tuple[wire.FromRobot, ...] = (
    wire.Hello(wire.VERSION, "fuzz", "camera", {"temperature": 0.0, "fps": 2.0}, -1, "a word", True),
    wire.Cancel(0, 0),
    wire.Configure(0, {"temperature": 0.5}),
    wire.Check(0, "what is it?"),
    wire.Size(0, 480, 640),
    wire.Reset(0),
    wire.Ping(0),
    wire.Bye(),
    *(wire.Chunk(0, 0, 0, [0], SIDE_PX, SIDE_PX, picture, 500.0, "who?") for picture in Picture),
)
HEADERS: list[dict[str, Any]] = [msgpack.unpackb(wire.pack(kind)[0]) for kind in KINDS]


def whole_message(rng: random.Random, seq: int, epoch: int) -> tuple[dict[str, Any], list[bytes]]:
    """Header and pictures of a message that could be served now."""
    header = dict(rng.choice(HEADERS))
    now = {"epoch": epoch, "seq": seq, "index": seq, "id": seq, "n": seq, "session": f"fuzz-{seq % 7}"}
    header.update((name, value) for name, value in now.items() if name in header)
    return header, [CODED[Picture(header["picture"])]] if "picture" in header else []


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + rng.randint(0, 8)] = rng.randbytes(rng.randint(0, 8))
        elif kind == 2:
            del changed[at:]
        elif kind == 3:
            changed[at:at] = changed[at // 2 : at]
        else:
            changed[at : at + 1] = rng.choice((b"\xff", b"\x00", b"\x7f", b"\xdf\xff\xff\xff\xff", b"\xc1"))
    return bytes(changed)


def mutated_fields(rng: random.Random, header: dict[str, Any]) -> dict[Any, Any]:
    changed: dict[Any, Any] = dict(header)
    for _ in range(rng.randint(1, 3)):
        name = rng.choice([*header, "t", "v", "more"])
        if rng.random() < 0.2:
            changed.pop(name, None)
        else:
            changed[name] = rng.choice(EXTREMES)
    return changed


def mutated_message(rng: random.Random, seq: int, epoch: int) -> Message:
    header, pictures = whole_message(rng, seq, epoch)
    kind = rng.randrange(8)
    if kind < 3:
        header = mutated_fields(rng, header)
    parts = [msgpack.packb(header, use_bin_type=True), *pictures]
    if kind in (3, 4):
        parts[0] = mutated_bytes(rng, parts[0])
    elif kind == 5:
        parts[rng.randrange(len(parts))] = rng.randbytes(rng.randint(0, 200))
    elif kind == 6:
        parts = rng.choice([parts[1:] or [b""], parts * 2, [*parts, b""], parts[::-1], parts + [b"x"] * 300])
    elif kind == 7 and pictures:
        parts[1] = mutated_bytes(rng, parts[1])
    return parts


@dataclass
class Books:
    """What came of it all.

    A reply's own time is what the wait for it leaves when all waiting for a CPU is taken off, in the server
    and here; but no less than the longest that a thread of the front ran for meanwhile.
    """

    messages: int = 0
    pictures: int = 0
    replies: Counter[str] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)
    own_s: list[float] = field(default_factory=list)
    worst: dict[str, Any] = field(default_factory=dict)  # of the reply whose own time is the longest
    lost: list[str] = field(default_factory=list)  # answers that never came

    def waited(self, reply: str, wait_s: float, front: Share, *others: Share) -> None:
        """A reply has come; `others` are the worker and this process."""
        own_s = max(front.ran_s, wait_s - sum(share.waited_s for share in (front, *others)))
        if own_s > max(self.own_s, default=0.0):
            self.worst = {"reply": reply, "wait_s": wait_s, "ran_s, waited_s": (front, *others)}
        self.waits_s.append(wait_s)
        self.own_s.append(own_s)

    def report(self) -> dict[str, Any]:
        waits_ms = sorted(1e3 * wait_s for wait_s in self.waits_s)
        own_ms = sorted(1e3 * own_s for own_s in self.own_s)
        return {
            "messages": self.messages,
            "pictures": self.pictures,
            "replies": dict(self.replies),
            "lost": self.lost,
            "p50_ms": waits_ms[len(waits_ms) // 2],
            "p90_ms": waits_ms[len(waits_ms) * 9 // 10],
            "p99_ms": waits_ms[len(waits_ms) * 99 // 100],
            "max_ms": waits_ms[-1],
            "own_p50_ms": own_ms[len(own_ms) // 2],
            "own_p99_ms": own_ms[len(own_ms) * 99 // 100],
            "own_max_ms": own_ms[-1],
            "worst": self.worst,
        }


class Madman:
    """One connection."""

    def __init__(
        self,
        context: zmq.Context,
        endpoint: str,
        keys: ClientKeys,
        books: Books,
        threads: Sequence[RunQueue],
    ) -> None:
        self._books, self._threads = books, threads
        self._reader: wire.Reader[wire.FromServer] = wire.Reader(wire.FromServer)
        self.socket = context.socket(zmq.DEALER)
        secure_client(self.socket, keys, endpoint)
        self.socket.connect(endpoint)
        self.epoch, self.seq = 0, 0

    def greet(self, session: str) -> bool:
        """Say Hello as one should; whether there was room."""
        self.send(wire.pack(wire.Hello(wire.VERSION, session, settings={"temperature": 0.0})))
        answer = self.hear(
            f"welcome to {session}", lambda reply: isinstance(reply, (wire.Welcome, wire.Error))
        )
        return isinstance(answer, wire.Welcome)

    def send(self, parts: Sequence[bytes]) -> None:
        self.socket.send_multipart(parts)

    def hear(self, about: str, wanted: Callable[[wire.FromServer], bool]) -> wire.FromServer | None:
        """Read replies until the wanted one; None when it does not come."""
        heard: list[str] = []
        before = [threads.look() for threads in self._threads]
        began_s = time.monotonic()
        while (left_s := began_s + REPLY_LIMIT_S - time.monotonic()) > 0 and self.socket.poll(
            round(left_s * 1e3)
        ):
            reply = self._reader.read(self.socket.recv_multipart())
            name = (
                f"error {reply.code.value}" if isinstance(reply, wire.Error) else type(reply).__name__.lower()
            )
            self._books.replies[name] += 1
            heard.append(name)
            if isinstance(reply, wire.Welcome):
                self.epoch = reply.epoch
            if wanted(reply):
                wait_s = time.monotonic() - began_s
                shares = (threads.since(look) for threads, look in zip(self._threads, before, strict=True))
                self._books.waited(name, wait_s, *shares)
                return reply
        self._books.lost.append(f"{about}, but {heard}")
        return None

    def rave(self, rng: random.Random, count: int) -> None:
        """Mutated messages by the window, and a Ping behind each, which must be answered at once."""
        while count:
            for _ in range(min(WINDOW, count)):
                self.seq += 1
                self.send(mutated_message(rng, self.seq, self.epoch))
                self._books.messages += 1
                count -= 1
            if not self.ping():
                self.greet(f"mad-{rng.randrange(7)}-{id(self)}")

    def ping(self) -> bool:
        """Ask for a sign of life: a Pong, or that there is no session any more."""
        self.seq += 1
        number = (1 << 40) + self.seq
        self.send(wire.pack(wire.Ping(number)))
        self.send(wire.pack(wire.Size(number, 480, 640)))

        def answered(reply: wire.FromServer) -> bool:
            pong = isinstance(reply, wire.Pong) and reply.n == number
            return pong or (isinstance(reply, wire.Error) and reply.id == number)

        return isinstance(self.hear(f"pong {number}", answered), wire.Pong)

    def show(self, rng: random.Random, count: int) -> None:
        """Whole messages with mutated pictures, each answered before the next."""
        for _ in range(count):
            self.seq += 1
            seq, picture = self.seq, rng.choice(list(Picture))
            header = wire.Chunk(self.epoch, seq, seq, [seq], SIDE_PX, SIDE_PX, picture)
            self.send(wire.pack(header, [mutated_bytes(rng, CODED[picture])]))
            self._books.pictures += 1
            self.hear(
                f"answer to picture {seq}",
                lambda reply, seq=seq: isinstance(reply, (wire.Result, wire.Error)) and reply.seq == seq,
            )


def main(endpoint: str, keys_dir: str, name: str, seed: str, messages: str, pictures: str, pid: str) -> None:
    rng, books = random.Random(f"{name} {seed}"), Books()
    server = str(Path(keys_dir) / "server.pub")
    keys = [ClientKeys.read(path, server) for path in sorted(Path(keys_dir).glob(f"{name}-*.key"))]
    front = psutil.Process(int(pid))
    threads = [RunQueue([front.pid]), RunQueue(worker.pid for worker in front.children())]
    with zmq.Context() as context:
        context.socket(zmq.DEALER).close()  # so that its thread is there
        threads.append(RunQueue([os.getpid()]))

        def turns(total: int, act: Callable[[Madman, int], None]) -> None:
            for turn, done in enumerate(range(0, total, MESSAGES_OF_A_CONNECTION)):
                madman = Madman(context, endpoint, keys[turn % len(keys)], books, threads)
                with madman.socket:
                    madman.greet(f"{name}-{turn % len(keys)}")
                    act(madman, min(MESSAGES_OF_A_CONNECTION, total - done))

        turns(int(messages), lambda madman, count: madman.rave(rng, count))
        turns(int(pictures), lambda madman, count: madman.show(rng, count))
    print(json.dumps(books.report()))


if __name__ == "__main__":
    main(*sys.argv[1:])
