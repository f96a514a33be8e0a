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

"""The stream node under load: fast cameras, large images, slow models; the cameras are processes, too."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
import os
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

import pytest
from stream_rig import IMAGE, StreamRig, write_talkative_model
from svlm_core.frames import NS_PER_S

REPOSITORY = Path(__file__).parents[2]
CALLBACK_LIMIT_MS = 5.0
FILM_S = 3


class Cameras:
    """Starts tests/dds_camera.py."""

    def __init__(self) -> None:
        self._children: list[subprocess.Popen[str]] = []

    def start(self, topic: str, *arguments: object) -> subprocess.Popen[str]:
        profile = str(
            REPOSITORY / "config" / "fastdds.xml"
        )  # what docs/ros.md tells a publisher of raw images
        child = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "tests" / "dds_camera.py"), topic, *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, "FASTDDS_DEFAULT_PROFILES_FILE": profile, "PYTHONPATH": str(REPOSITORY)},
        )
        self._children.append(child)
        return child

    def end(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()


@pytest.fixture
def cameras(domain: int) -> Iterator[Cameras]:
    cameras = Cameras()
    yield cameras
    cameras.end()


CASES = [
    ("raw", "best_effort", 640, 480, 30),
    ("raw", "reliable", 640, 480, 30),
    ("raw", "best_effort", 1920, 1080, 10),
    ("raw", "reliable", 1920, 1080, 10),
    ("compressed", "best_effort", 640, 480, 30),
    ("compressed", "reliable", 1920, 1080, 10),
]


def test_every_frame_of_a_fast_camera_is_used_or_dropped_for_a_reason(
    start: Any, ear: Any, cameras: Cameras, tmp_path: Path
) -> None:
    """One node, cleaned up and configured anew for each transport; with the depth it has by default."""
    model = write_talkative_model(tmp_path / "qwen")
    depths = {f"qos_overrides.{topic}.subscription.depth": 1 for topic in (IMAGE, f"{IMAGE}/compressed")}
    rig = StreamRig(ear, start, model=model, autostart=False, **depths)
    ear.node.destroy_publisher(rig.publisher)  # the camera is another process
    for case in CASES:
        transport, reliability, width, height, hz = case
        assert rig.set("image_transport", transport).successful
        assert rig.change_state("configure") and rig.change_state("activate")
        topic = IMAGE if transport == "raw" else f"{IMAGE}/compressed"
        camera = cameras.start(topic, transport, reliability, width, height, hz, FILM_S)
        assert ear.spin_until(lambda camera=camera: camera.poll() is not None, 120.0), rig.end()
        sent = int(camera.stdout.read())
        callback_ms = float(rig.value("images", "callback p99 [ms]"))
        books = rig.settled()
        assert sent == hz * FILM_S
        assert 0.5 * sent < books["in"] <= sent, (case, books)
        assert books["in"] == books["used"] + books["dropped"] and books["pending"] == 0, (case, books)
        assert books["used"] >= FILM_S and "dropped: broken" not in books, (case, books)
        assert callback_ms < CALLBACK_LIMIT_MS, case
        assert rig.change_state("cleanup")
    output = rig.end()
    assert rig.process.returncode == 0 and "Traceback" not in output, output


def test_a_slow_model_never_builds_a_backlog(start: Any, ear: Any, cameras: Cameras, tmp_path: Path) -> None:
    """A model that needs about two seconds for a second of images: its words are about now all the same."""
    tokens = 600
    model = write_talkative_model(tmp_path / "qwen", tokens, num_hidden_layers=16, intermediate_size=4096)
    rig = StreamRig(ear, start, model=model, chunk_budget_s=60.0, vision_window_s=3.0)
    said_s: list[float] = []
    cameras.start(IMAGE, "raw", "reliable", 640, 480, 10, 60)
    rig.wait_until_ready()
    while len(rig.lines) < 7 or not any('"gap"' in line.data for line in rig.lines):
        before = len(rig.lines)
        rig.hear(before + 1)
        said_s += [time.time()] * (len(rig.lines) - before)
    events = rig.events()
    words = [(event, at_s) for event, at_s in zip(events, said_s, strict=True) if event.kind == "commentary"]
    chunk_s = max(later - earlier for (_, earlier), (_, later) in pairwise(words))  # it is never idle
    age_s = [at_s - event.stamp_newest_ns / NS_PER_S for event, at_s in words]
    assert chunk_s > 1.2, "the model is too quick for this test"
    assert max(age_s) < 2 * chunk_s, (age_s, chunk_s)
    assert any(event.kind == "gap" for event in events)
    books = rig.settled()
    assert books["dropped: stale"] > 0
    assert books["in"] == books["used"] + books["dropped"] and books["pending"] == 0


def test_a_camera_that_dies_and_returns_is_watched_again(
    start: Any, ear: Any, cameras: Cameras, tmp_path: Path
) -> None:
    rig = StreamRig(ear, start, model=write_talkative_model(tmp_path / "qwen"))
    ear.node.destroy_publisher(rig.publisher)
    assert rig.says("images", b"\x01", "waiting for a publisher")
    first = cameras.start(IMAGE, "raw", "reliable", 64, 64, 10, 600)
    rig.hear(2)
    first.kill()  # leaves without a word: DDS finds out by itself
    assert rig.says("images", b"\x03", "the publisher is gone")
    heard = len(rig.lines)
    cameras.start(IMAGE, "raw", "best_effort", 64, 64, 10, 600)  # and offers something else
    rig.hear(heard + 2)
    assert rig.says("images", b"\x00", "images come")
    output = rig.end()
    assert "reliable" in output and "best effort" in output
