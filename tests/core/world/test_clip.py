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

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from svlm_core.cli.main import main
from svlm_core.sources.video import VideoFile
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds

SEED, LENGTH_S = 7, 24


def test_render_writes_the_pictures_and_the_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tmp_path / "clip.mp4"
    assert main(["world", "render", "--seed", str(SEED), "--seconds", str(LENGTH_S), "--out", str(clip)]) == 0
    assert capsys.readouterr().out == f"{clip}, {tmp_path / 'clip.jsonl'}\n"
    stream = list(itertools.islice(seconds(SEED), LENGTH_S))
    frames = list(VideoFile(clip))
    assert [frame.stamp_ns for frame in frames] == [k * 500_000_000 for k in range(2 * LENGTH_S)]
    renderer = Renderer(SEED)
    drawn = np.concatenate([renderer.frames(second) for second in stream]).astype(int)
    error = np.abs(np.stack([frame.rgb for frame in frames]).astype(int) - drawn)
    assert error.mean() < 4, "codec noise only"
    assert np.percentile(error, 99.9) < 40, "no smeared discs"
    truth = [json.loads(line) for line in (tmp_path / "clip.jsonl").read_text().splitlines()]
    assert [line["second"] for line in truth] == list(range(LENGTH_S))
    assert [line["sentence"] for line in truth] == [second.sentence for second in stream]
    assert [line["kind"] for line in truth] == [second.sense for second in stream]
    assert [line["age_s"] for line in truth] == [second.age_s for second in stream]
    assert {line["kind"] for line in truth} >= {"silence", "seen now", "motion"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"--seed": "-1"}, "--seed must not be negative"),
        ({"--seconds": "0"}, "--seconds must be at least 1"),
        ({"--out": "nowhere/clip.mp4"}, "cannot be written (No such file or directory"),
        ({"--out": "clip.xyz"}, "clip.xyz: cannot be written (Could not determine output format"),
        ({"--out": "clip.jsonl"}, "this is where the truth goes"),
    ],
)
def test_what_cannot_be_rendered_is_one_line(
    options: dict[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"--seed": "7", "--seconds": "3", "--out": "clip.mp4", **options}
    given["--out"] = str(tmp_path / given["--out"])
    assert main(["world", "render", *itertools.chain.from_iterable(given.items())]) == 1
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("svlm: ")]
    assert len(error) == 1
    assert message in error[0]
