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

"""Frames of a stretch are those that a stream of the whole video would take."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from conftest import WriteVideo
import numpy as np
import pytest
from svlm_core.data.footage import footage
from svlm_core.data.probe import probe
from svlm_core.errors import SourceError
from svlm_core.frames import Chunker, FrameLedger
from svlm_core.sources.video import VideoFile


def streamed(path: Path, fps: float = 2.0) -> list[np.ndarray]:
    """The chunks of a stream of the whole video."""
    chunker = Chunker(1.0, fps, FrameLedger())
    chunks = [chunk for frame in VideoFile(path) for chunk in chunker.push(frame)] + chunker.flush()
    return [chunk.rgb() for chunk in chunks]


def shown(chunk: np.ndarray) -> tuple[int, ...]:
    """Numbers of the frames in a chunk of the fixture's video."""
    return tuple(round(int(rgb[0, 0, 0]) / 4) for rgb in chunk)


@pytest.mark.parametrize("rate", [10, Fraction(30000, 1001), 2, 24])
@pytest.mark.parametrize("start_s", [0, 1, 3])
def test_frames_are_those_of_a_stream(write_video: WriteVideo, rate: Fraction, start_s: int) -> None:
    path = write_video(frames=round(6 * rate), rate=rate, noise=True)
    seen = footage(path, start_s, 2, 1.0, 2.0)
    expected = streamed(path)[start_s : start_s + 2]
    assert [chunk.shape for chunk in seen] == [(2, 48, 64, 3)] * 2
    np.testing.assert_array_equal(np.concatenate(seen), np.concatenate(expected))


def test_where_a_varying_rate_has_no_picture_the_last_one_stands_again(write_video: WriteVideo) -> None:
    # tenths of a second; nothing new from 1.2 s to 3.5 s
    pts = [0, 3, 5, 9, 10, 12, 35, 37, 40, 44, 45, 50]
    path = write_video(name="vfr.mkv", frames=len(pts), rate=10, pts=pts)
    grey = [shown(chunk) for chunk in footage(path, 0.0, 5, 1.0, 2.0)]
    assert grey == [(0, 2), (3, 3), (3, 3), (3, 6), (8, 9)]
    later = [shown(chunk) for chunk in footage(path, 2.0, 2, 1.0, 2.0)]
    assert later == [(5, 5), (5, 6)]


def test_a_stretch_late_in_a_video_is_found_by_its_time(write_video: WriteVideo) -> None:
    path = write_video(frames=3000, rate=10)
    taken = [frame.stamp_ns for frame in VideoFile(path).between(290.0, 291.0)]
    assert taken == [290_000_000_000 + 100_000_000 * k for k in range(10)]
    opened = av.open(str(path))
    opened.seek(int(290.0 / opened.streams.video[0].time_base), stream=opened.streams.video[0])
    assert next(opened.decode(video=0)).time > 250  # there is a key frame to begin from


def test_a_stretch_beyond_the_end_is_refused(write_video: WriteVideo) -> None:
    path = write_video(frames=50, rate=10)
    with pytest.raises(SourceError, match=r"clip\.mp4: nothing to see after 5\.0 s: the video ends there"):
        footage(path, 3.0, 4, 1.0, 2.0)
    with pytest.raises(SourceError, match=r"nothing to see after"):
        footage(path, 30.0, 4, 1.0, 2.0)


def test_a_truncated_video_gives_what_is_there_and_no_more(write_video: WriteVideo) -> None:
    path = write_video(name="cut.mkv", frames=100, rate=10, noise=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    seen = probe(path)
    assert 2 < seen.length_s < 8
    assert "before its end" in seen.damage
    assert len(footage(path, 0.0, int(seen.length_s) - 1, 1.0, 2.0)) == int(seen.length_s) - 1
    with pytest.raises(SourceError, match="nothing to see after"):
        footage(path, 0.0, 10, 1.0, 2.0)


@pytest.mark.parametrize("sound", [False, True])
def test_sound_makes_no_difference(tmp_path: Path, sound: bool) -> None:
    path = tmp_path / "talk.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=16000) if sound else None
        for k in range(50):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * k, np.uint8), format="rgb24")
            container.mux(video.encode(picture))
        container.mux(video.encode())
        if audio is not None:  # it outlasts the pictures by five seconds
            for k in range(10):
                tone = np.zeros((1, 16000), np.float32)
                frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16000, 16000 * k
                container.mux(audio.encode(frame))
            container.mux(audio.encode())
    assert probe(path).length_s == pytest.approx(5.0, abs=0.05)
    assert [round(int(chunk[0, 0, 0, 0]) / 4) for chunk in footage(path, 1.0, 3, 1.0, 2.0)] == [9, 19, 29]
    with pytest.raises(SourceError, match="the video ends there"):
        footage(path, 2.0, 6, 1.0, 2.0)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "the file is empty"), (b"not a video" * 100, "cannot be read as a video")]
)
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        probe(path)
    with pytest.raises(SourceError, match="cannot be read as a video"):
        footage(path, 0.0, 1, 1.0, 2.0)
