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

import subprocess
import sys

import av
import numpy as np
import pytest
from svlm_core.errors import SourceError, SvlmError
from svlm_core.events import KIND_ANSWER, KIND_GAP, KIND_RESET
from svlm_core.frames import Chunk, Frame
from svlm_core.sinks.video import AnnotatedVideo, MIN_WIDTH_PX
from svlm_core.sources.video import VideoFile

STEP_NS = 500_000_000


def chunk(index, size=(84, 84)):
    """One second of the model's frames; frame k of the stream is grey of value 10 k."""
    numbers = (2 * index, 2 * index + 1)
    return Chunk(index, tuple(Frame(10**18 + k * STEP_NS, grey(10 * k, size)) for k in numbers))


def grey(value, size):
    return np.full((size[1], size[0], 3), value, np.uint8)


def read(path):
    """(seconds, picture) of every frame."""
    return [(frame.stamp_ns / 10**9, frame.rgb) for frame in VideoFile(path)]


def captioned(rgb):
    """Whether there is ink on the strip under the enlarged 84 x 84 picture."""
    return bool((rgb[MIN_WIDTH_PX + 4 :] > 128).any())


def test_small_frames_are_enlarged_and_keep_their_times_and_content(tmp_path):
    with AnnotatedVideo(tmp_path / "a.mp4", fps=2.0) as video:
        for index in (0, 1, 5):  # three chunks never reached the model
            video.chunk(chunk(index), [])
    frames = read(tmp_path / "a.mp4")
    assert [seconds for seconds, _ in frames] == [0, 0.5, 1, 1.5, 5, 5.5]
    assert frames[0][1].shape[1] == MIN_WIDTH_PX and frames[0][1].shape[0] > MIN_WIDTH_PX
    np.testing.assert_allclose([rgb[:336].mean() for _, rgb in frames], [0, 10, 20, 30, 100, 110], atol=4)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.duration == 6_000_000  # the last frame is shown for half a second too
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_the_jitter_of_a_camera_is_kept(tmp_path):
    seconds = [0, 0.48, 0.52, 1.9, 2.0]
    with AnnotatedVideo(tmp_path / "a.mp4", fps=2.0) as video:
        for k, second in enumerate(seconds):
            video.chunk(Chunk(k, (Frame(round(second * 10**9), grey(10 * k, (84, 84))),)), [])
    assert [second for second, _ in read(tmp_path / "a.mp4")] == pytest.approx(seconds, abs=1e-4)


def test_a_caption_begins_with_the_chunk_it_is_about_and_lingers_a_few_seconds(tmp_path, new_event):
    with AnnotatedVideo(tmp_path / "a.mp4", fps=2.0) as video:
        for index in range(10):
            video.chunk(chunk(index), [new_event("red stops")] if index == 2 else [])
    shown = [seconds for seconds, rgb in read(tmp_path / "a.mp4") if captioned(rgb)]
    assert shown == [2 + k / 2 for k in range(10)]


def test_a_new_caption_replaces_the_old_one_and_a_gap_is_said(tmp_path, new_event):
    gap = new_event("", kind=KIND_GAP, frames_dropped={"stale": 2})
    with AnnotatedVideo(tmp_path / "a.mp4", fps=2.0) as video:
        video.chunk(chunk(0), [new_event("a much longer caption than the one that follows it here")])
        video.chunk(chunk(1), [gap])
        video.chunk(chunk(2), [gap, new_event("red")])
        video.chunk(chunk(3), [new_event("red")])
    ink = [(rgb[MIN_WIDTH_PX + 4 :] > 128).sum() for _, rgb in read(tmp_path / "a.mp4")]
    assert ink[0] > ink[2] > ink[4] > 0
    assert ink[4] == pytest.approx(ink[6], rel=0.2)  # words go before the gap


def test_answers_and_resets_are_shown_words_first(tmp_path, new_event):
    reset = new_event("time jumped back by a good deal more than three seconds", kind=KIND_RESET)
    with AnnotatedVideo(tmp_path / "a.mp4", fps=2.0) as video:
        video.chunk(chunk(0), [reset])
        video.chunk(chunk(1), [reset, new_event("red", kind=KIND_ANSWER, query_id="q1")])
        video.chunk(chunk(2), [new_event("answer q1: red")])
        video.chunk(chunk(3), [new_event("", kind=KIND_ANSWER, query_id="q1")])
    frames = [rgb[MIN_WIDTH_PX + 4 :] for _, rgb in read(tmp_path / "a.mp4")]
    ink = [(strip > 128).sum() for strip in frames]
    assert ink[0] > ink[2] > 0
    assert ink[2] == pytest.approx(ink[4], rel=0.1), "an answer does not name its question"
    assert ink[6] > 0, "an answer without words is not shown"


@pytest.mark.parametrize("size", [(337, 61), (641, 31), (33, 29)])
def test_odd_sizes_can_be_written(tmp_path, size):
    with AnnotatedVideo(tmp_path / "a.mp4", fps=2.0) as video:
        video.chunk(chunk(0, size), [])
    (_, rgb), _ = read(tmp_path / "a.mp4")
    assert rgb.shape[0] % 2 == 0 and rgb.shape[1] % 2 == 0 and rgb.shape[1] >= max(size[0], MIN_WIDTH_PX)


def test_a_killed_process_leaves_all_but_the_last_frame(tmp_path):
    code = (
        "import os, sys, numpy as np\n"
        "from svlm_core.frames import Chunk, Frame\n"
        "from svlm_core.sinks.video import AnnotatedVideo\n"
        "video = AnnotatedVideo(sys.argv[1], fps=2.0)\n"
        "rgb = np.zeros((84, 84, 3), np.uint8)\n"
        "for k in range(7):\n"
        "    video.chunk(Chunk(k, (Frame(k * 10**9, rgb),)), [])\n"
        "os._exit(9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.mp4")], timeout=60, check=False)
    assert killed.returncode == 9
    assert [seconds for seconds, _ in read(tmp_path / "a.mp4")] == [0, 1, 2, 3, 4, 5]


def test_a_path_that_cannot_be_written_is_named_at_once(tmp_path):
    with pytest.raises(SvlmError, match=r"no/a\.mp4: cannot be written \(No such file or directory\)"):
        AnnotatedVideo(tmp_path / "no" / "a.mp4", fps=2.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
def test_a_full_disk_from_the_first_frame_is_one_error_and_can_still_be_closed():
    video = AnnotatedVideo("/dev/full", fps=2.0)
    with pytest.raises(SvlmError, match=r"^/dev/full: cannot be written \(No space left on device\)$"):
        video.chunk(chunk(0), [])
    with pytest.raises(SvlmError, match="^/dev/full: cannot be written any more"):
        video.chunk(chunk(1), [])
    video.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_what_was_written_before_the_disk_became_full_is_kept(tmp_path):
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from svlm_core.errors import SourceError, SvlmError\n"
        "from svlm_core.frames import Chunk, Frame\n"
        "from svlm_core.sinks.video import AnnotatedVideo\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "rng = np.random.default_rng(0)\n"
        "try:\n"
        "    with AnnotatedVideo(sys.argv[1], fps=2.0) as video:\n"
        "        for k in range(100):\n"
        "            rgb = rng.integers(0, 256, (84, 84, 3), dtype=np.uint8)\n"
        "            video.chunk(Chunk(k, (Frame(k * 10**9, rgb),)), [])\n"
        "except SvlmError as error:\n"
        "    sys.exit(str(error))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.mp4")],
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "a.mp4: cannot be written (" in run.stderr
    seen = 0
    with pytest.raises(SourceError, match="the video breaks after frame"):
        for _ in VideoFile(tmp_path / "a.mp4"):
            seen += 1
    assert seen >= 2
