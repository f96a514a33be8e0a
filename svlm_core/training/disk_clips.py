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

"""Clips read from samples on disk, as a folder of annotated videos gives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from svlm_core.config import StreamConfig
from svlm_core.data.footage import footage
from svlm_core.data.problems import BROKEN_SAMPLE, BROKEN_VIDEO, Problems
from svlm_core.data.sample import Sample
from svlm_core.data.seek_index import SampleFile
from svlm_core.errors import SourceError
from svlm_core.training.clip import Clip, Round
from torch.utils.data import Dataset


class DiskClips(Dataset[Clip]):
    """Clip i is sample i of the file; nothing is kept in memory but the index.

    A sample that cannot be read is never replaced by another: asking for it raises, and `each` counts and
    names it.
    """

    def __init__(self, path: Path, config: StreamConfig, root: Path | None = None) -> None:
        """Open a file of samples.

        Args:
            path: of the file.
            config: the stream's settings: length of a round, frames per second.
            root: folder in which relative paths of videos are looked for first.

        Raises:
            SourceError: the file or its index cannot be read.
        """
        self.samples = SampleFile(path)
        self._config, self._root = config, root

    def __len__(self) -> int:
        """How many there are, broken ones included."""
        return len(self.samples)

    def __getitem__(self, index: int) -> Clip:
        """Clip `index`.

        Raises:
            SourceError: its line is not a sample, or its video cannot be read there.
        """
        return self.clip(self.samples[index])

    def clip(self, sample: Sample) -> Clip:
        """The sample with its frames.

        Raises:
            SourceError: the video is missing, breaks or ends within the stretch; or the stretch is too short.
        """
        chunk_s = self._config.chunk_s
        turns = sample.turns(chunk_s)
        name = f"{sample.video} at {sample.start_s:g} s"
        if not turns:
            raise SourceError(f"{name}: the stretch is shorter than one round of {chunk_s:g} s")
        video = self.samples.locate(sample, self._root)
        frames = footage(video, sample.start_s, len(turns), chunk_s, self._config.fps)
        rounds = [Round(seen, turn.words, turn.query) for seen, turn in zip(frames, turns, strict=True)]
        before = f" {sample.previous.strip()}" if sample.previous.strip() else ""  # as moved speech begins
        return Clip(name, rounds, before, round(sample.start_s / chunk_s), sample.query)

    def each(self, problems: Problems) -> Iterator[Clip]:
        """All clips that can be read, in order; the others are counted and named in `problems`."""

        def broken(number: int, error: SourceError) -> None:
            problems.add(BROKEN_SAMPLE, str(error))

        for number, sample in self.samples.each(broken):
            try:
                yield self.clip(sample)
            except SourceError as error:
                problems.add(BROKEN_VIDEO, f"{self.samples.path}: sample {number}: {error}")
