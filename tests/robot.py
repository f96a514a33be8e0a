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

"""A robot as a process of its own: a camera of the synthetic world, and a Client whose server understands it.

`python robot.py ENDPOINT [--seconds N] [--keys DIR] ...` prints what happens to it, one line of JSON each,
with `at_s`, the monotonic time that all processes of a machine share. The camera's stamps are of that clock,
too. It ends when its standard input does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
import itertools
import json
import os
from pathlib import Path
import queue
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple

from svlm_core.config import read_yaml
from svlm_core.errors import SvlmError
from svlm_core.events import CommentaryEvent
from svlm_core.frames import Frame, NS_PER_S
from svlm_core.offload import wire
from svlm_core.offload.client import Client
from svlm_core.offload.curve import ClientKeys
from svlm_core.sources.open import open_source
from svlm_core.sources.source import Source
from svlm_core.sources.world import WorldSource
from svlm_core.stream.run import StreamRun

ROBOT = "robot"  # name of its key
LIMIT_S = 90.0  # for what must happen; a busy machine takes its time


class Camera(Source):
    """The world's pictures, as often and as large as wanted, stamped when they are taken."""

    live = True
    frames_total = None

    def __init__(self, fps: float, seconds: float) -> None:
        self.name, self.fps = "camera", fps
        self._world = WorldSource(seed=7)
        self._frames = round(seconds * fps)
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        begin_s = time.monotonic()
        pictures = itertools.cycle(list(itertools.islice(self._world, 16)))
        for number, picture in enumerate(itertools.islice(pictures, self._frames)):
            if self._closed.wait(max(0.0, begin_s + number / self.fps - time.monotonic())):
                return
            yield Frame(time.monotonic_ns(), picture.rgb, self.name)

    def close(self) -> None:
        self._closed.set()


class Understood(NamedTuple):
    """A chunk that was understood, and when."""

    at_s: float
    index: int
    oldest_ns: int
    newest_ns: int
    frames: int

    @property
    def age_s(self) -> float:
        """Of its newest frame, at that moment."""
        return self.at_s - self.newest_ns / NS_PER_S


@dataclass
class Robot:
    """Starts the process and collects what it prints.

    Attributes:
        states: (at_s, name, reason) of its link.
        chunks: those that were understood.
        events: (at_s, event), all kinds but partial ones.
        partials: (at_s, index of the chunk) of words while they were found.
        books: frames received, used and dropped by reason, once it has ended.
    """

    endpoint: str
    options: tuple[str, ...] = ()
    on_robot: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    states: list[tuple[float, str, str]] = field(default_factory=list)
    chunks: list[Understood] = field(default_factory=list)
    events: list[tuple[float, CommentaryEvent]] = field(default_factory=list)
    partials: list[tuple[float, int]] = field(default_factory=list)
    books: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Robot:
        command = [*self.on_robot, sys.executable, __file__, self.endpoint, *self.options]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, name="robot", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.wait(LIMIT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def until(self, condition: Any, limit_s: float = LIMIT_S) -> bool:
        """Listen until the condition holds, for so long at most; whether it does."""
        end_s = time.monotonic() + limit_s
        while not condition():
            try:
                line = self._lines.get(timeout=max(0.0, end_s - time.monotonic()))
            except queue.Empty:
                return False
            if line is None:
                return bool(condition())
            self._take(line)
        return True

    def understood(self, number: int) -> bool:
        """Wait for so many chunks more."""
        wanted = len(self.chunks) + number
        return self.until(lambda: len(self.chunks) >= wanted)

    def speaks(self) -> bool:
        """Wait until words about a further chunk are being found."""
        wanted = len(self.chunks)
        return self.until(lambda: len(self.chunks) > wanted) and self.until(
            lambda: self.partials and self.partials[-1][1] > self.chunks[-1].index
        )

    def live_after(self, moment_s: float) -> float:
        """Wait until the link lives again after a moment; when that was."""

        def lives() -> list[float]:
            return [at_s for at_s, name, _ in self.states if at_s > moment_s and name == "live"]

        assert self.until(lives), f"the link does not live: {self.states[-3:]}"
        return lives()[0]

    def end(self) -> dict[str, Any]:
        """End the camera; the books, when the last chunk is understood."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self.until(lambda: self.books), "the robot did not end"
        return self.books

    @property
    def state(self) -> str:
        """The link's state, as last heard."""
        return self.states[-1][1] if self.states else ""

    def _take(self, line: dict[str, Any]) -> None:
        at_s, what = line.pop("at_s"), line.pop("what")
        if what == "state":
            self.states.append((at_s, line["name"], line["reason"]))
        elif what == "chunk":
            self.chunks.append(Understood(at_s, **line))
        elif what == "partial":
            self.partials.append((at_s, line["index"]))
        elif what == "event":
            self.events.append((at_s, CommentaryEvent(**line)))
        else:
            self.books = line

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)


def tell(what: str, **more: Any) -> None:
    print(json.dumps({"at_s": time.monotonic(), "what": what, **more}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--fps", type=float, default=2.0)
    parser.add_argument("--source", help="a recording in place of the camera")
    parser.add_argument("--keys", type=Path)
    parser.add_argument("--settings", type=Path)
    options = parser.parse_args()
    keys = None
    if options.keys:
        keys = ClientKeys.read(options.keys / f"{ROBOT}.key", str(options.keys / "server.pub"))
    settings = read_yaml(options.settings) if options.settings else {}
    camera = open_source(options.source) if options.source else Camera(options.fps, options.seconds)

    def end() -> None:
        sys.stdin.read()
        camera.close()

    threading.Thread(target=end, name="end", daemon=True).start()
    client = Client(
        options.endpoint,
        settings,
        camera="camera",
        keys=keys,
        picture=wire.Picture.PNG,
        partial=True,
        on_state=lambda state: tell("state", name=str(state.name), reason=state.reason),
    )
    with client:
        client.wait_until_live(LIMIT_S)
        run = StreamRun(camera, client, hear=lambda event: tell("partial", index=event.chunk_index))
        try:
            for chunk, events in run:
                oldest_ns, newest_ns = chunk.frames[0].stamp_ns, chunk.frames[-1].stamp_ns
                about = {"index": chunk.index, "oldest_ns": oldest_ns, "newest_ns": newest_ns}
                tell("chunk", **about, frames=len(chunk.frames))
                for event in events:
                    tell("event", **asdict(event))
        except SvlmError as error:
            print(error, file=sys.stderr)
        summary = run.summary()
        tell(
            "books",
            received=summary.frames_received,
            used=summary.frames_used,
            dropped=summary.frames_dropped,
            latency_ms_p99=summary.latency_ms_p99,
        )


if __name__ == "__main__":
    main()
