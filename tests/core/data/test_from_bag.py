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

"""A robot's recording becomes a video and words that are about its moments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bags import cut as cut_file
from bags import image, PERIOD_NS, picture, START_NS, storage_file, STORE, STRING, write_bag
import numpy as np
import pytest
from svlm_core.data.build import build, Pair
from svlm_core.data.cut import CutSettings
from svlm_core.data.footage import footage
from svlm_core.data.from_bag import BEFORE_CAMERA, BROKEN_PICTURE, CUT_OFF, from_bag
from svlm_core.data.seek_index import SampleFile, samples_path
from svlm_core.data.transcript import read_transcript
from svlm_core.errors import SourceError
from svlm_core.events import CommentaryEvent

CAMERA, SPOKEN = "/front/image_raw", "/operator/log"


def text(words: str) -> Any:
    return STORE.types[STRING](data=words)


def event(words: str, oldest: int, newest: int) -> Any:
    stamps = START_NS + oldest * PERIOD_NS, START_NS + newest * PERIOD_NS
    made = CommentaryEvent(words, "commentary", 0, "front", "", oldest // 2, *stamps, 2)
    return text(made.to_json())


def record(folder: Path, texts: list[Any], pictures: int = 60, **options: Any) -> Path:
    smooth = [np.full((48, 64, 3), 4 * k, np.uint8) for k in range(pictures)]
    frames = [image(k, rgb=rgb) for k, rgb in enumerate(smooth)]
    return write_bag(folder, {CAMERA: frames, SPOKEN: texts}, **options)


def words_of(path: Path) -> list[tuple[float, str]]:
    return [(word.start_s, word.text) for word in read_transcript(path).words]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_frames_keep_their_times_and_words_their_moments(tmp_path: Path, storage: str) -> None:
    # messages of a topic are recorded PERIOD_NS apart
    texts = [text("door opens"), event("a red ball", 4, 5), text("{not json}"), event("", 6, 7)]
    bag = record(tmp_path / "drive", texts, storage=storage)
    done: list[int] = []
    made = from_bag(bag, CAMERA, SPOKEN, tmp_path / "out", done.append)
    assert len(done) == 60
    assert not made.problems.counts
    said = words_of(made.transcript)
    assert [word for _, word in said] == ["door", "opens", "a", "red", "ball", "{not", "json}"]
    assert said[0][0] == 0.0
    assert 2.0 <= said[2][0] <= said[4][0] <= 2.5  # between the event's frames 4 and 5
    assert said[5][0] == 2.5  # recorded at 1.0 s, when the words before were not over
    grey = [round(int(rgb[0, 0, 0]) / 4) for chunk in footage(made.video, 3.0, 4, 1.0, 2.0) for rgb in chunk]
    assert grey == [6, 7, 8, 9, 10, 11, 12, 13]


def test_a_bag_makes_samples_as_videos_do(tmp_path: Path) -> None:
    bag = record(tmp_path / "drive", [text(f"event {k}") for k in range(50)])
    made = from_bag(bag, "", SPOKEN, tmp_path / "out" / "recordings", lambda frames: None)
    settings = CutSettings(10.0, 5.0, 1, query="Say what happens.")
    pairs = [Pair(made.video, made.transcript)]
    build(pairs, made.problems, tmp_path / "out", settings, 0.0, 1, lambda done: None)
    samples = SampleFile(samples_path(tmp_path / "out", "train"))
    assert [sample.start_s for _, sample in samples.each(lambda *_: None)] == [0.0, 5.0, 10.0, 15.0, 20.0]
    assert samples[1].previous.startswith("event 0 event 1")
    assert samples[1].query == "Say what happens."
    assert samples.locate(samples[0]).exists()


def test_what_is_broken_in_a_bag_is_counted(tmp_path: Path) -> None:
    frames: list[Any] = [image(k) for k in range(6)]
    frames[3] = b"\x00\x01\x00\x00nonsense"
    late = [image(k, START_NS + (k + 4) * PERIOD_NS) for k in range(6)]
    bag = write_bag(tmp_path / "a", {CAMERA: frames, SPOKEN: [text("fine"), text("too")]})
    made = from_bag(bag, "", SPOKEN, tmp_path / "out", lambda frames: None)
    assert made.problems.counts == {BROKEN_PICTURE: 1}
    bag = write_bag(tmp_path / "b", {CAMERA: late, SPOKEN: [text(f"word {k}") for k in range(6)]})
    made = from_bag(bag, "", SPOKEN, tmp_path / "out", lambda frames: None)
    assert made.problems.counts == {BEFORE_CAMERA: 4}
    assert [word for _, word in words_of(made.transcript)] == ["word", "4", "word", "5"]


def test_a_bag_that_was_cut_off_is_used_up_to_there(tmp_path: Path) -> None:
    frames = [image(k, rgb=picture(k, 64)) for k in range(40)]
    bag = write_bag(tmp_path / "a", {SPOKEN: [text("w")] * 40, CAMERA: frames})
    cut_file(storage_file(bag), 0.5)
    made = from_bag(storage_file(bag), CAMERA, SPOKEN, tmp_path / "out", lambda frames: None)
    assert made.problems.counts[CUT_OFF] >= 1
    assert made.video.exists()


@pytest.mark.parametrize(
    ("image_topic", "text_topic", "message"),
    [
        ("/nowhere", SPOKEN, "no image topic '/nowhere'"),
        (CAMERA, "/nowhere", f"no topic '/nowhere' of std_msgs/msg/String; it has {SPOKEN}"),
        (CAMERA, CAMERA, "no topic '/front/image_raw' of std_msgs/msg/String"),
    ],
)
def test_a_wrong_topic_is_named(tmp_path: Path, image_topic: str, text_topic: str, message: str) -> None:
    bag = record(tmp_path / "a", [text("hello")], pictures=2)
    with pytest.raises(SourceError, match=message):
        from_bag(bag, image_topic, text_topic, tmp_path / "out", lambda frames: None)
