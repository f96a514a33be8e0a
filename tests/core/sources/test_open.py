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

import cv2
import numpy as np
import pytest
from svlm_core.errors import SourceError
from svlm_core.sources.folder import ImageFolder
from svlm_core.sources.open import open_source
from svlm_core.sources.video import VideoFile
from svlm_core.sources.world import WorldSource


def test_each_spec_opens_its_kind_of_source(tmp_path, write_video):
    assert isinstance(open_source(str(write_video())), VideoFile)
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), np.zeros((48, 64, 3), np.uint8))
    folder = open_source(str(tmp_path / "pictures"), folder_fps=5.0)
    assert isinstance(folder, ImageFolder) and folder.fps == 5.0


def test_a_file_with_a_colon_in_its_name_is_a_file(write_video):
    assert len(list(open_source(str(write_video("rtsp:12:30.mp4"))))) == 30


@pytest.mark.parametrize(("spec", "frames"), [("world://12", None), ("world://12?seconds=60", 120)])
def test_the_world_is_opened_by_seed_and_length(spec, frames):
    source = open_source(spec)
    assert isinstance(source, WorldSource)
    assert (source.name, source.frames_total) == ("world://12", frames)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("world://", "seed must be a whole number from 0 on, got ''"),
        ("world://seven", "seed must be a whole number from 0 on, got 'seven'"),
        ("world://-1", "seed must be a whole number from 0 on, got '-1'"),
        ("world://1.5", "seed must be a whole number"),
        ("world://7?seconds=", "seconds must be a whole number above 0, got ''"),
        ("world://7?seconds=0", "seconds must be a whole number above 0, got '0'"),
        ("world://7?seconds=1e3", "seconds must be a whole number above 0, got '1e3'"),
        ("world://7?second=3", "'second' is not understood"),
        ("world://7/8", "'/8' is not understood"),
        ("world://7?seconds=1&seconds=2", "is not understood"),
        ("ftp://host/clip.mp4", "unknown source 'ftp://host/clip.mp4'; accepted are a video file, a folder"),
        ("", "unknown source ''"),
        ("no/such/clip.mp4", "no/such/clip.mp4: there is no such file or folder; accepted are"),
        ("9876", "camera 9876 cannot be opened"),
    ],
)
def test_a_wrong_spec_is_refused_with_what_is_wrong(spec, says):
    with pytest.raises(SourceError) as caught:
        open_source(spec)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_in_shared_memory_is_no_camera():
    with pytest.raises(SourceError, match="^/dev/shm/missing.mp4: there is no such file or folder"):
        open_source("/dev/shm/missing.mp4")
