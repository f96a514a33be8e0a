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

"""What a set of samples is like: how much is said, how long it is silent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from svlm_core.data.sample import Sample

_QUANTILES = (0.05, 0.5, 0.95)


def silence_s(sample: Sample) -> float:
    """The longest time without a word, seconds."""
    marks = [sample.start_s, *(t for word in sample.words for t in (word.start_s, word.end_s)), sample.end_s]
    gaps = [after - before for before, after in list(pairwise(marks))[::2]]
    return max(0.0, *gaps)


@dataclass
class Statistics:
    """Figures of a set of samples, gathered one at a time.

    Attributes:
        chunk_s: length of a round, seconds.
    """

    chunk_s: float = 1.0
    _words: list[int] = field(default_factory=list)
    _silences_s: list[float] = field(default_factory=list)
    _seconds: float = 0.0
    _turns: int = 0
    _silent: int = 0
    _questions: int = 0
    _videos: set[str] = field(default_factory=set)

    def add(self, sample: Sample) -> None:
        """Count a sample."""
        turns = sample.turns(self.chunk_s)
        self._words.append(len(sample.words))
        self._silences_s.append(silence_s(sample))
        self._seconds += sample.end_s - sample.start_s
        self._turns += len(turns)
        self._silent += sum(not turn.words for turn in turns)
        self._questions += len(sample.questions)
        self._videos.add(sample.video)

    def add_all(self, samples: Iterable[Sample]) -> Statistics:
        """Count samples; gives itself."""
        for sample in samples:
            self.add(sample)
        return self

    def as_json(self) -> dict[str, object]:
        """For a report; seconds and shares."""
        return {
            "samples": len(self._words),
            "videos": len(self._videos),
            "hours": round(self._seconds / 3600, 4),
            "words": sum(self._words),
            "words_per_sample": _quantiles(self._words),
            "words_per_s": round(sum(self._words) / self._seconds, 3) if self._seconds else None,
            "silent_rounds_share": round(self._silent / self._turns, 4) if self._turns else None,
            "longest_silence_s": _quantiles(self._silences_s),
            "questions": self._questions,
        }


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {f"p{round(100 * q)}": round(float(np.quantile(values, q)), 2) for q in _QUANTILES}
