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

"""Files of samples with the byte at which each begins, so that any sample is read without the others.

The names are those of the published sets: `train_with_seeks.jsonl` has its index, one JSON list of byte
offsets, in `train_seeks.jsonl`. Older sets keep that list in the last line of the file itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import json
from pathlib import Path
from types import TracebackType

import numpy as np
from svlm_core.data.sample import Sample
from svlm_core.errors import ConfigError, SourceError

MAX_LINE_BYTES = 64 << 20
_MARK = "_with_seeks"


def samples_path(folder: Path, name: str) -> Path:
    """Where the samples called `name` stand in a folder."""
    return folder / f"{name}{_MARK}.jsonl"


def index_path(samples: Path) -> Path:
    """Where the index of a file of samples stands."""
    return samples.with_name(f"{samples.stem.replace(_MARK, '')}_seeks.jsonl")


class SampleWriter:
    """Writes samples and their index; both appear at once when it is closed without an error."""

    def __init__(self, path: Path) -> None:
        """Open the file; ConfigError if it cannot be written."""
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        self._seeks: list[int] = []
        try:
            self._file = self._partial.open("wb")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error

    def write_line(self, line: str) -> None:
        """Append a sample's line."""
        self._seeks.append(self._file.tell())
        self._file.write(line.encode() + b"\n")

    def __enter__(self) -> SampleWriter:
        """The writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the files in place, or take them back when something went wrong."""
        self._file.close()
        if kind is not None:
            self._partial.unlink(missing_ok=True)
            return
        index = index_path(self._path)
        partial = index.with_name(f"{index.name}.partial")
        partial.write_text(json.dumps(self._seeks), encoding="utf-8")
        partial.replace(index)
        self._partial.replace(self._path)


class SampleFile:
    """The samples of one file, read one at a time; in memory are eight bytes for each.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        """Read the index; without one, the file is gone through once to find the lines.

        Raises:
            SourceError: the file or its index cannot be read.
        """
        self.path = path
        index = index_path(path)
        try:
            self._seeks = _read_index(index) if index.is_file() else _find_lines(path)
            size_bytes = path.stat().st_size
        except OSError as error:
            raise SourceError(f"{error.filename or path}: cannot be read ({error.strerror})") from error
        if len(self._seeks) and not (self._seeks.min() >= 0 and self._seeks.max() < size_bytes):
            raise SourceError(f"{index}: points beyond the end of {path.name}: the index of another file")

    def __len__(self) -> int:
        """How many there are, good ones and broken ones."""
        return len(self._seeks)

    def __getitem__(self, number: int) -> Sample:
        """Sample `number`; its video is absolute, or relative to the working directory.

        Raises:
            SourceError: its line is not a sample, or the index is of another file.
        """
        if not 0 <= number < len(self):
            raise IndexError(number)
        where = f"{self.path}: sample {number}"
        seek = int(self._seeks[number])
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, seek - 1))
                if seek and file.read(1) != b"\n":
                    raise SourceError(
                        f"{where}: no line begins at byte {seek}; the index {index_path(self.path).name} is "
                        "of another file, delete it and it is not needed"
                    )
                line = file.readline(MAX_LINE_BYTES)
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read ({error.strerror})") from error
        return Sample.from_line(line, where)

    def locate(self, sample: Sample, root: Path | None = None) -> Path:
        """Where the sample's video is: under `root`, else beside the file of samples, else as it is named."""
        named = Path(sample.video)
        for folder in ([root] if root else []) + [self.path.parent]:
            if (folder / named).exists():
                return folder / named
        return named

    def each(self, on_broken: Callable[[int, SourceError], object]) -> Iterator[tuple[int, Sample]]:
        """Number and sample of all that can be read; `on_broken` is told of each of the others."""
        for number in range(len(self)):
            try:
                sample = self[number]
            except SourceError as error:
                on_broken(number, error)
                continue
            yield number, sample


def _read_index(path: Path) -> np.ndarray:
    try:
        seeks = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SourceError(f"{path}: not an index of samples ({error})") from error
    if not _is_index(seeks):
        raise SourceError(f"{path}: not an index of samples: it must be a list of byte offsets")
    return np.array(seeks, np.int64)


def _find_lines(path: Path) -> np.ndarray:
    """Offsets of the lines, or the list in the last line if that is what it holds."""
    seeks: list[int] = []
    line = b""
    with path.open("rb") as file:
        while True:
            at = file.tell()
            read = file.readline(MAX_LINE_BYTES)
            if not read:
                break
            if read.strip():
                seeks.append(at)
                line = read
    try:
        last = json.loads(line)
    except ValueError:
        last = None
    found = last if last and _is_index(last) and last[0] == 0 else seeks
    return np.array(found, np.int64)


def _is_index(value: object) -> bool:
    return isinstance(value, list) and all(type(seek) is int for seek in value)
