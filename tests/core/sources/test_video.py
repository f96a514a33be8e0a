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

from fractions import Fraction
import struct

import numpy as np
import pytest
from svlm_core.errors import SourceError
from svlm_core.sources.video import VideoFile


def read(path):
    """The frames, and the message of the error that ended them (None when nothing did)."""
    frames = []
    try:
        with VideoFile(path) as source:
            for frame in source:
                frames.append(frame)
    except SourceError as error:
        assert "\n" not in str(error)
        return frames, str(error)
    return frames, None


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.ts", "libx264")]
)
def test_every_frame_comes_once_in_order_with_its_own_time(write_video, name, codec):
    frames, error = read(write_video(name, codec=codec))
    assert error is None
    assert [frame.stamp_ns for frame in frames] == [k * 100_000_000 for k in range(30)]
    means = [frame.rgb.mean() for frame in frames]
    np.testing.assert_allclose(means, [4 * k for k in range(30)], atol=6)
    assert frames[0].rgb.shape == (48, 64, 3) and frames[0].rgb.flags.c_contiguous


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(1000), Fraction(1, 2)])
def test_odd_frame_rates_keep_exact_times(write_video, rate):
    path = write_video(rate=rate, frames=20)
    source = VideoFile(path)
    assert source.fps == pytest.approx(float(rate))
    assert source.frames_total == 20
    np.testing.assert_allclose(
        [f.stamp_ns for f in source], [float(k / rate * 10**9) for k in range(20)], atol=1e5
    )


def test_variable_frame_rate_uses_the_time_stamps_not_the_rate(write_video):
    frames, error = read(write_video(frames=4, pts=[0, 1, 20, 21]))
    assert error is None
    assert [frame.stamp_ns for frame in frames] == [0, 100_000_000, 2_000_000_000, 2_100_000_000]


def test_time_stamps_that_stand_still_lose_no_frame(write_video):
    path = write_video(codec="mpeg4")
    data = bytearray(path.read_bytes())
    struct.pack_into(">I", data, data.find(b"stts") + 16, 0)  # every frame lasts 0
    path.write_bytes(data)
    frames, error = read(path)
    assert error is None
    stamps = [frame.stamp_ns for frame in frames]
    assert len(stamps) == 30 and stamps[0] == 0 and stamps == sorted(set(stamps))


def test_a_frame_rate_of_zero_in_the_header_is_survived(write_video):
    path = write_video("a.avi", codec="mpeg4")
    data = bytearray(path.read_bytes())
    struct.pack_into("<II", data, data.find(b"strh") + 28, 1, 0)
    path.write_bytes(data)
    frames, error = read(path)
    assert error is None
    assert len(frames) == 30


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("b.avi", "mjpeg"), ("a.ts", "libx264")],
)
def test_a_truncated_file_yields_the_good_frames_and_then_says_where_it_ends(write_video, name, codec):
    path = write_video(name, codec=codec, frames=60, noise=True)
    whole, _ = read(path)
    frames, error = read(cut(path, 0.5))
    assert 15 <= len(frames) < 45
    for frame, original in zip(frames, whole, strict=False):
        assert frame.stamp_ns == original.stamp_ns
        np.testing.assert_array_equal(frame.rgb, original.rgb)
    assert f"after frame {len(frames)} ({frames[-1].stamp_ns / 1e9:.1f} s)" in error
    assert name in error


def test_a_file_that_stops_between_two_frames_is_noticed_by_the_length_in_its_header(write_video):
    path = write_video("a.avi", codec="mjpeg", frames=60)
    data = path.read_bytes()
    path.write_bytes(data[: data.find(b"00dc", len(data) // 3)])
    frames, error = read(path)
    assert len(frames) > 10
    assert "is cut off after frame" in error


def test_losing_less_than_a_second_at_the_end_is_no_error(write_video):
    path = write_video("a.avi", codec="mjpeg", frames=60)
    data = path.read_bytes()
    at = len(data)
    for _ in range(4):
        at = data.rfind(b"00dc", 0, data.rfind(b"idx1") if at == len(data) else at)
    path.write_bytes(data[:at])
    frames, error = read(path)
    assert error is None
    assert 50 < len(frames) < 60


def test_damage_in_the_middle_ends_the_video_with_an_error(write_video):
    path = write_video(frames=60, noise=True)
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 2, len(data) // 2 + 4000)
    data[middle] = np.random.default_rng(0).bytes(4000)
    path.write_bytes(data)
    frames, error = read(path)
    assert 15 <= len(frames) < 45
    assert "the video breaks after frame" in error


def test_the_rotation_mark_of_phones_is_obeyed(write_video):
    path = write_video(frames=2)
    data = bytearray(path.read_bytes())
    matrix = data.find(b"tkhd") + 4 + 40
    struct.pack_into(
        ">9i", data, matrix, 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30
    )  # 90 degrees clockwise
    path.write_bytes(data)
    frames, error = read(path)
    assert error is None
    assert frames[0].rgb.shape == (64, 48, 3)


def test_close_ends_the_iteration_at_the_next_frame(write_video):
    source = VideoFile(write_video())
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "there is no such file"), (b"", "cannot be read"), (b"hello " * 500, "cannot be read")],
)
def test_what_is_not_a_video_is_refused_when_opened(tmp_path, content, says):
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=f"clip.mp4: {says}"):
        VideoFile(path)


def test_a_file_without_pictures_is_refused_when_opened(tmp_path):
    samples = np.zeros(8000, np.int16).tobytes()
    head = (
        b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
        + b"data"
        + struct.pack("<I", 16000)
    )
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(head) + 16000) + head + samples)
    with pytest.raises(SourceError, match="a.wav: there is no video stream"):
        VideoFile(tmp_path / "a.wav")


def test_a_video_of_tiny_pictures_is_refused_by_name(write_video):
    frames, error = read(write_video("dot.mkv", codec="ffv1", size=(2, 2)))
    assert frames == []
    assert error.startswith("dot.mkv: a 2x2 picture is too small")
