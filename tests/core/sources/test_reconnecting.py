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

"""Sources that are lost and come back, over a real server that dies and a real client that does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
import re
import threading
import time

from hypothesis import given
from hypothesis import strategies as st
import pytest
from stream_server import StreamServer
from svlm_core.errors import SourceError
from svlm_core.frames import Frame
from svlm_core.sources.network import NetworkStream
from svlm_core.sources.reconnecting import Backoff, open_lasting, Reconnecting
from svlm_core.sources.source import Source
from svlm_core.sources.video import VideoFile


@pytest.fixture(params=["http", "rtsp"])
def server(
    request: pytest.FixtureRequest, write_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[StreamServer]:
    monkeypatch.setenv("no_proxy", "*")
    with StreamServer(write_video("a.ts", frames=60, noise=True), request.param) as server:
        yield server


class Watch:
    """Collects a source's frames and reports on a thread of its own."""

    def __init__(self, open_it: Callable[[Callable[[str], None]], Source]) -> None:
        self.frames: list[Frame] = []
        self.heard: list[str] = []
        self._changed = threading.Condition()
        self.source = open_it(self._report)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def until(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, 60.0), self.heard

    def close(self) -> None:
        self.source.close()
        self._thread.join(30.0)
        assert not self._thread.is_alive()

    def said(self, words: str) -> bool:
        return any(words in line for line in self.heard)

    def _read(self) -> None:
        for frame in self.source:
            with self._changed:
                self.frames.append(frame)
                self._changed.notify_all()

    def _report(self, line: str) -> None:
        with self._changed:
            self.heard.append(line)
            self._changed.notify_all()


def test_a_stream_whose_server_dies_goes_on_when_the_server_is_back(server: StreamServer) -> None:
    server.start()
    watch = Watch(lambda report: open_lasting(server.url, report, patient=True))
    watch.until(lambda: len(watch.frames) >= 5)
    booted = len(watch.heard)
    server.kill()
    watch.until(lambda: len(watch.heard) >= booted + 2)  # the loss, then at least one attempt in vain
    lost_ns, seen = time.time_ns(), len(watch.frames)
    server.start()
    watch.until(lambda: len(watch.frames) >= seen + 5)
    watch.close()

    stamps_ns = [frame.stamp_ns for frame in watch.frames]
    assert stamps_ns == sorted(stamps_ns)
    assert stamps_ns[seen - 1] < lost_ns < stamps_ns[seen]
    assert {frame.source for frame in watch.frames} == {watch.source.name}
    assert all(line.startswith(server.name) for line in watch.heard), watch.heard
    assert re.search(r"(broke after|ended).*; trying again in 0\.\d s$", watch.heard[booted])
    assert re.search(r"cannot be opened: .*; trying again in [01]\.\d s$", watch.heard[booted + 1])
    assert watch.heard[-1].startswith(f"{server.name} is back after ")


def test_a_stream_that_is_not_there_yet_is_waited_for_only_by_the_patient(server: StreamServer) -> None:
    with pytest.raises(SourceError, match="cannot be opened: "):
        open_lasting(server.url, print)
    watch = Watch(lambda report: open_lasting(server.url, report, patient=True))
    watch.until(lambda: len(watch.heard) >= 1)
    server.start()
    watch.until(lambda: len(watch.frames) >= 3)
    watch.close()
    assert watch.heard[-1].startswith(f"{watch.source.name} is back after ")


def test_a_live_stream_that_its_server_ends_is_opened_again(
    write_video: Callable[..., Path], serve: Callable[..., str]
) -> None:
    url = f"http://{serve(write_video('a.ts').read_bytes())}"
    watch = Watch(
        lambda report: Reconnecting(
            lambda: NetworkStream(url), "lobby", report, backoff=Backoff(first_s=0.01)
        )
    )
    watch.until(lambda: len(watch.frames) >= 61)  # 30 pictures a connection
    watch.close()
    assert watch.heard[0].startswith("lobby: the stream ended; trying again in 0.0")


def test_a_recording_that_a_server_sends_is_not_begun_again(
    write_video: Callable[..., Path], serve: Callable[..., str]
) -> None:
    heard: list[str] = []
    source = open_lasting(f"http://{serve(write_video('a.mp4').read_bytes())}", heard.append)
    assert len(list(source)) == 30
    assert heard == []


def test_a_recording_that_breaks_is_an_error(
    write_video: Callable[..., Path], serve: Callable[..., str]
) -> None:
    clip = write_video("a.mp4", frames=60, noise=True).read_bytes()
    source = open_lasting(f"http://{serve(clip[: len(clip) // 2], length=len(clip))}", print)
    with pytest.raises(SourceError, match="the stream broke after"):
        list(source)


@pytest.mark.parametrize(
    "spec", ["4321", "/dev/video4321", "/dev/v4l/by-id/usb-gone-video-index0", "/dev/camera_front"]
)
def test_a_camera_that_is_unplugged_is_waited_for(spec: str) -> None:
    watch = Watch(lambda report: open_lasting(spec, report, patient=True))
    watch.until(lambda: len(watch.heard) >= 2)
    watch.close()
    assert watch.source.name == f"camera {spec}"
    assert all(re.match(f"camera {spec} cannot be opened: .*; trying again in", line) for line in watch.heard)


def test_close_ends_a_wait_at_once() -> None:
    def refuse() -> Source:
        raise SourceError("not there")

    watch = Watch(lambda report: Reconnecting(refuse, "gate", report, backoff=Backoff(first_s=1000)))
    watch.until(lambda: watch.said("not there; trying again"))
    watch.close()


def test_a_recorded_source_stays_as_it_is(write_video: Callable[..., Path]) -> None:
    with open_lasting(str(write_video()), print) as source:
        assert isinstance(source, VideoFile)


@given(attempt=st.integers(0, 10**6), chance=st.floats(0.0, 1.0))
def test_waits_grow_and_stay_bounded(attempt: int, chance: float) -> None:
    backoff = Backoff(first_s=0.5, longest_s=30.0, jitter=0.2)
    delay_s = backoff.delay_s(attempt, chance)
    assert 0.5 * 0.8 <= delay_s <= 30.0
    assert delay_s <= backoff.delay_s(attempt + 1, chance) <= 2 * delay_s


def test_waits_double_from_the_first_to_the_longest() -> None:
    backoff = Backoff(first_s=0.5, longest_s=3.0)
    assert [backoff.delay_s(attempt, 0.0) for attempt in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.delay_s(1, 1.0) == pytest.approx(0.8)
