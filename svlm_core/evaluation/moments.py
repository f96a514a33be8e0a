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

"""A few moments of each kind, with their pictures, kept while a long stream goes by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from svlm_core.evaluation.benchmarks.pictures import keep_picture
from svlm_core.evaluation.runs.records import Record, Records, Shard
from svlm_core.evaluation.score import Judged
from svlm_core.evaluation.svg import clock
from svlm_core.evaluation.thumbnail import thumbnail, THUMBNAIL_PX

_STAGE = "moments"
_WRONG, _RIGHT = 4, 2  # of each kind, the first ones
_GAP_PX = 4  # between the pictures of one moment


class Moments:
    """The first mistakes of each kind in one stream, and the first that were right; on disk at once."""

    def __init__(self, folder: Path, stream: str) -> None:
        """Keep them in a run's folder, beside those of other streams.

        Raises:
            ConfigError: the folder cannot be read or written.
        """
        self._folder, self._stream = folder, stream
        self._records = moment_records(folder)
        self._kept: Counter[tuple[str, bool]] | None = None  # None before the first second

    def see(self, second: int, judged: Judged, pictures: Sequence[np.ndarray]) -> None:
        """Look at one more second; pictures are uint8 [H, W, 3], all of one size.

        Raises:
            ConfigError: it cannot be written.
        """
        if self._kept is None:
            self._kept = self._before(second)
        group = judged.kind, judged.right
        if self._kept[group] == (_RIGHT if judged.right else _WRONG):
            return
        self._kept[group] += 1
        name = f"{self._stream}, {clock(second)}"
        record = {
            "id": name,
            "stream": self._stream,
            "second": second,
            "kind": judged.kind,
            "right": judged.right,
            "said": judged.said or "(silent)",
            "true": judged.truth or "(silence)",
        }
        gap = np.full((pictures[0].shape[0], _GAP_PX, 3), 255, np.uint8)
        strip = [part for picture in pictures for part in (gap, picture)][1:]
        keep_picture(self._folder, name, thumbnail(np.hstack(strip), len(pictures) * THUMBNAIL_PX))
        self._records.append(record)

    def _before(self, second: int) -> Counter[tuple[str, bool]]:
        """What an earlier sitting kept of the seconds before this one; what it kept later comes again."""

        def comes(record: Record) -> bool:
            return record["stream"] == self._stream and record["second"] >= second

        self._records.forget(comes)
        mine = [r for r in self._records.read().values() if r["stream"] == self._stream]
        return Counter((record["kind"], record["right"]) for record in mine)


def moment_records(folder: Path) -> Records:
    """The moments of all streams of a run."""
    return Records(folder, _STAGE, Shard())
