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
from svlm_core.errors import ConfigError
from svlm_core.sources.bag import BagSource
from svlm_core.world.bag import IMAGES, START_NS, STORAGES, TOPIC, TRUTH, write_bag
from svlm_core.world.render import Renderer
from svlm_core.world.scene import seconds

SEED, LENGTH_S = 7, 6


def drawn() -> np.ndarray:
    renderer = Renderer(SEED)
    return np.concatenate([renderer.frames(second) for second in itertools.islice(seconds(SEED), LENGTH_S)])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("images", IMAGES)
def test_the_bag_holds_the_world_and_its_truth(
    storage: str, images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = tmp_path / "bag"
    options = ["--storage", storage, "--images", images]
    assert main(["world", "bag", f"--seed={SEED}", f"--seconds={LENGTH_S}", f"--out={bag}", *options]) == 0
    assert capsys.readouterr().out == f"{bag}, {bag / TRUTH}\n"
    source = BagSource(bag)
    assert source.name == (TOPIC if images == "raw" else f"{TOPIC}/compressed")
    assert (source.frame_id, source.frames_total) == ("camera", 2 * LENGTH_S)
    frames = list(source)
    assert [frame.stamp_ns for frame in frames] == [START_NS + k * 500_000_000 for k in range(2 * LENGTH_S)]
    pictures = np.stack([frame.rgb for frame in frames])
    if images == "jpeg":
        assert 0 < np.abs(pictures.astype(int) - drawn()).mean() < 6
    else:
        np.testing.assert_array_equal(pictures, drawn())
    truth = [json.loads(line) for line in (bag / TRUTH).read_text().splitlines()]
    assert [line["sentence"] for line in truth] == [
        second.sentence for second in itertools.islice(seconds(SEED), LENGTH_S)
    ]


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    files = []
    for run in "ab":
        write_bag(SEED, LENGTH_S, tmp_path / run / "bag", "mcap", "raw", lambda n: None)
        files.append({file.name: file.read_bytes() for file in (tmp_path / run / "bag").iterdir()})
    assert files[0] == files[1]


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        write_bag(SEED, LENGTH_S, tmp_path, "mcap", "raw", lambda n: None)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed=-1"], "--seed must not be negative"),
        (["--seconds=0"], "--seconds must be at least 1"),
        (["--out=/proc/nowhere/bag"], "/proc/nowhere/bag: cannot be written (No such file or directory)"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["world", "bag", "--seed=7", "--seconds=3", f"--out={tmp_path / 'bag'}", *options]) == 1
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("svlm: ")]
    assert len(error) == 1
    assert message in error[0]
