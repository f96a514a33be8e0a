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

"""Files of samples, read one at a time through their index."""

from __future__ import annotations

import json
from pathlib import Path
import tracemalloc

import pytest
from svlm_core.data.sample import Sample
from svlm_core.data.seek_index import index_path, SampleFile, samples_path, SampleWriter
from svlm_core.data.words import Word
from svlm_core.errors import ConfigError, SourceError


def sample(number: int, previous: str = "Fußball — ") -> Sample:
    return Sample(f"{number}.mp4", 0.0, 24.0, (Word(1.0, 2.0, f"w{number}"),), previous)


def write(path: Path, count: int) -> Path:
    with SampleWriter(path) as writer:
        for number in range(count):
            writer.write_line(sample(number).to_line())
    return path


def test_names_are_the_published_ones(tmp_path: Path) -> None:
    path = write(samples_path(tmp_path, "train_s12w24"), 3)
    assert path.name == "train_s12w24_with_seeks.jsonl"
    seeks = json.loads((tmp_path / "train_s12w24_seeks.jsonl").read_text())
    lines = path.read_bytes().split(b"\n")
    assert seeks == [0, len(lines[0]) + 1, len(lines[0]) + len(lines[1]) + 2]


@pytest.mark.parametrize("index", ["beside", "none", "last line"])
def test_any_sample_is_read_without_the_others(tmp_path: Path, index: str) -> None:
    path = write(tmp_path / "a.jsonl", 9)
    if index != "beside":
        seeks = index_path(path).read_text()
        index_path(path).unlink()
        if index == "last line":
            path.write_text(path.read_text() + seeks + "\n")
    samples = SampleFile(path)
    assert len(samples) == 9
    assert [samples[number] for number in (8, 0, 4)] == [sample(8), sample(0), sample(4)]
    with pytest.raises(IndexError):
        samples[9]


def test_broken_lines_are_named_and_none_takes_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{sample(0).to_line()}\n{{broken\n\n{sample(2).to_line()}\n[1]\n")
    samples = SampleFile(path)
    told: list[tuple[int, str]] = []
    each = list(samples.each(lambda number, error: told.append((number, str(error)))))
    assert each == [(0, sample(0)), (2, sample(2))]
    assert [number for number, _ in told] == [1, 3]
    assert all(f"{path}: sample {number}" in message for number, message in told)


@pytest.mark.parametrize(
    ("seeks", "message"),
    [
        ("[0, 7]", "no line begins at byte 7"),
        ("[0, 999999]", "the index of another file"),
        ("[-1]", "the index of another file"),
        ('{"a": 1}', "must be a list of byte offsets"),
        ("[true]", "must be a list of byte offsets"),
        ("[0,", "not an index of samples"),
    ],
)
def test_an_index_of_another_file_is_refused(tmp_path: Path, seeks: str, message: str) -> None:
    path = write(tmp_path / "a.jsonl", 2)
    index_path(path).write_text(seeks)
    with pytest.raises(SourceError, match=message):
        SampleFile(path)[1]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", 2)
    with pytest.raises(RuntimeError), SampleWriter(path) as writer:
        writer.write_line(sample(5).to_line())
        raise RuntimeError
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["a.jsonl", "a_seeks.jsonl"]
    assert SampleFile(path)[0] == sample(0)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.jsonl: cannot be written"):
        SampleWriter(tmp_path / "missing" / "a.jsonl")


def test_memory_is_flat_over_a_pass(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    long = sample(0, "word " * 2000).to_line()
    with SampleWriter(path) as writer:
        for _ in range(2000):
            writer.write_line(long)
    assert path.stat().st_size > 20e6
    samples = SampleFile(path)
    tracemalloc.start()
    try:
        for number in range(len(samples)):
            assert samples[number].video == "0.mp4"
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1e6


def test_videos_are_found_beside_the_samples_or_under_a_root(tmp_path: Path) -> None:
    samples = SampleFile(write(tmp_path / "a.jsonl", 1))
    assert samples.locate(sample(0)) == Path("0.mp4")
    (tmp_path / "0.mp4").touch()
    assert samples.locate(sample(0)) == tmp_path / "0.mp4"
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "0.mp4").touch()
    assert samples.locate(sample(0), tmp_path / "root") == tmp_path / "root" / "0.mp4"
