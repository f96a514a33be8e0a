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

"""`python -m svlm_ros.demo`: commentary on an unseen world, beside the truth.

A camera node films the world and a stream node says what it sees, each a process of its own, on a DDS
domain of their own. The exit code is 0 when at least 90 % of the seconds in which something happened, or
something was said, were described with exactly the true words.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import islice
import os
from pathlib import Path
import signal
import sys
import tempfile
import time

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from svlm_core.errors import SvlmError
from svlm_core.frames import Chunk
from svlm_core.sinks.video import AnnotatedVideo
from svlm_core.world.scene import seconds, WORLD_FPS
from svlm_ros.children import ChildError, Children
from svlm_ros.scoring import Scoreboard, Verdict
from svlm_ros.watcher import Watcher

FIRST_UNSEEN_SEED = 1_000_000  # training uses smaller ones
REQUIRED_ACCURACY = 0.9
IMAGE_TOPIC, COMMENTARY_TOPIC = "/camera/image_raw", "/svlm/commentary"

_START_LIMIT_S = 180.0  # torch's first import from a cold disk is slow
_STALL_LIMIT_S = 15.0
_GRACE_S = 3  # silence is not published: this long after a second, nothing more is expected about it
_SPIN_S = 0.05


class Demo:
    """One run: watches, scores, prints and films."""

    def __init__(
        self, watcher: Watcher, children: Children, model: str, seed: int, length_s: int, out: Path
    ) -> None:
        """Prepare; nothing is started.

        Args:
            watcher: the node that listens.
            children: starts the camera and the stream node.
            model: the checkpoint, as stream_node's parameter.
            seed: of the world.
            length_s: seconds to film.
            out: the MP4 to write.
        """
        self._watcher = watcher
        self._children = children
        self._model = model
        self._seed = seed
        self._length_s = length_s
        self._video = AnnotatedVideo(out, WORLD_FPS)
        self._executor = SingleThreadedExecutor(context=watcher.context)
        self._executor.add_node(watcher)
        self._scored = 0  # seconds given to the scoreboard
        self.board = Scoreboard([second.sentence for second in islice(seconds(seed), length_s)])

    def run(self) -> None:
        """Start both nodes and follow them to the end of the film.

        Raises:
            ChildError: a node died or went silent.
        """
        source = f"world://{self._seed}?seconds={self._length_s}"
        self._children.start("stream_node", {"model": self._model, "image": IMAGE_TOPIC})
        # subscribers: this process, and the stream node as soon as its model is loaded
        self._children.start("camera_node", {"source": source, "transport": "raw", "wait_for_subscribers": 2})
        self._wait_for_the_first_image()
        print(f"\n{'time':>6}  {'said':<20}{'truth':<20}{'':3}{'accuracy':>8}{'latency':>11}")
        self._follow()

    def close(self) -> None:
        """Finish the film, with what there is."""
        self._film(self._watcher.newest_second + 1)
        self._video.close()
        self._executor.shutdown()

    def summary(self) -> str:
        """What came of it, in one line."""
        board, latencies_ms = self.board, self.board.latencies_ms
        line = f"{board.correct} of {len(board.verdicts)} seconds right, accuracy {board.accuracy:.3f}"
        if latencies_ms:
            p50 = latencies_ms[len(latencies_ms) // 2]
            line += f", latency p50 {p50:.0f} ms, largest {latencies_ms[-1]:.0f} ms"
        return line

    def _wait_for_the_first_image(self) -> None:
        began_s = time.monotonic()
        show = _progress("the model loads")
        while self._watcher.images == 0:
            waited_s = time.monotonic() - began_s
            show(waited_s)
            self._children.ended("stream_node")
            self._children.ended("camera_node")
            if waited_s > _START_LIMIT_S:
                raise ChildError(f"no image came within {_START_LIMIT_S:.0f} s")
            self._executor.spin_once(timeout_sec=_SPIN_S)

    def _follow(self) -> None:
        images, changed_s = 0, time.monotonic()
        while not self._children.ended("camera_node"):
            if self._children.ended("stream_node"):
                raise ChildError("stream_node ended before the film did")
            if self._watcher.images > images:
                images, changed_s = self._watcher.images, time.monotonic()
            if time.monotonic() - changed_s > _STALL_LIMIT_S:
                raise ChildError(f"no image for {_STALL_LIMIT_S:.0f} s although camera_node is running")
            self._executor.spin_once(timeout_sec=_SPIN_S)
            self._score(max(self._watcher.heard_second, self._watcher.newest_second - _GRACE_S))
        end_s = time.monotonic() + _GRACE_S
        while time.monotonic() < end_s and self._watcher.heard_second < self._length_s - 1:
            self._executor.spin_once(timeout_sec=_SPIN_S)
        self._score(self._length_s)

    def _score(self, until: int) -> None:
        for second in range(self._scored, until):
            spoken = [event for event in self._watcher.events.get(second, []) if event.words]
            for event in spoken:
                self.board.hear(second, event.text, event.latency_ms)
            for verdict in self.board.settle(second + 1):
                _print_verdict(verdict, self.board.accuracy)
        self._film(until)
        self._scored = max(self._scored, until)

    def _film(self, until: int) -> None:
        for second in range(self._scored, until):
            frames = self._watcher.frames.get(second)
            if frames:
                self._video.chunk(Chunk(second, tuple(frames)), self._watcher.events.get(second, []))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code: 0 right often enough, 1 not, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the children must be ended then too
    isolation = {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    os.environ.update(isolation)
    context = Context()
    context.init(args=[], domain_id=int(isolation["ROS_DOMAIN_ID"]))
    try:
        with tempfile.TemporaryDirectory(prefix="svlm-demo-") as logs:
            environment = {**os.environ, "ROS_LOG_DIR": logs}
            with Children(environment, Path(logs)) as children:
                return _watch(arguments, children, context)
    except KeyboardInterrupt:
        print("\nstopped")
        return 130
    except SvlmError as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    finally:
        context.try_shutdown()


def _watch(arguments: argparse.Namespace, children: Children, context: Context) -> int:
    watcher = Watcher(IMAGE_TOPIC, COMMENTARY_TOPIC, context)
    demo = Demo(watcher, children, arguments.model, arguments.seed, arguments.seconds, arguments.out)
    try:
        demo.run()
    finally:
        demo.close()
        watcher.destroy_node()
        if demo.board.verdicts:
            print(f"\n{demo.summary()}; {arguments.out} shows it")
    if demo.board.accuracy < REQUIRED_ACCURACY:
        print(f"demo: the commentary was wrong too often, {REQUIRED_ACCURACY} is required", file=sys.stderr)
        return 1
    return 0


def _print_verdict(verdict: Verdict, accuracy: float) -> None:
    clock = f"{verdict.second // 60}:{verdict.second % 60:02d}"
    latency = "" if verdict.latency_ms is None else f"{verdict.latency_ms:.0f} ms"
    mark = "✓" if verdict.correct else "✗"
    said, truth = verdict.said or "-", verdict.truth or "-"
    print(f"{clock:>6}  {said:<20}{truth:<20}{mark:3}{accuracy:>8.0%}{latency:>11}", flush=True)


def _progress(what: str) -> Callable[[float], None]:
    """Shows the seconds waited: in place on a terminal, else a line every ten."""
    shown = -1
    terminal = sys.stdout.isatty()
    step_s, before, after = (1, "\r", "") if terminal else (10, "", "\n")

    def show(waited_s: float) -> None:
        nonlocal shown
        if int(waited_s) // step_s > shown:
            shown = int(waited_s) // step_s
            print(f"{before}{what} ... {waited_s:.0f} s", end=after, flush=True)

    return show


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m svlm_ros.demo", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("--seconds", type=_at_least(10), default=60, help="length of the film (default 60)")
    parser.add_argument(
        "--seed",
        type=_at_least(FIRST_UNSEEN_SEED),
        default=FIRST_UNSEEN_SEED + 217,  # six discs come back within a minute
        help=f"of the world; training never saw those from {FIRST_UNSEEN_SEED} on (default %(default)s)",
    )
    parser.add_argument("--model", default="tiny", help="another checkpoint to try (default tiny, built in)")
    parser.add_argument("--out", type=Path, default=Path("demo.mp4"), help="the film (default demo.mp4)")
    return parser


def _at_least(minimum: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdigit() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"must be a whole number from {minimum} on, got {text!r}")
        return int(text)

    return read


if __name__ == "__main__":
    sys.exit(main())
