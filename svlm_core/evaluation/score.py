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

"""Said against true, second by second: pure arithmetic."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

AGE_EDGES_S = (0, 30, 60, 120, 300, 600)  # of memory: seconds since the digit was last said; the last is open
QUARTERS = 4
HOUR_S = 3600
LATEST_S = 5  # a sentence said later than this is not about its event any more


@dataclass(frozen=True)
class Judged:
    """One second: what was said and what was true ("" for silence), its kind and sense, a memory's age."""

    said: str
    truth: str
    kind: str
    sense: str
    age_s: int | None

    @property
    def right(self) -> bool:
        """Whether the same was said as is true."""
        return self.said == self.truth


class Tally:
    """Seconds judged so far, seven bytes each: a stream may go on for days.

    Attributes:
        right: whether the same was said as is true, bool [n].
        said: whether anything was said, bool [n].
        true: whether there was anything to say, bool [n].
        age_s: of a memory, -1 for all else, int32 [n].
    """

    def __init__(self) -> None:
        """Nothing is judged yet."""
        self._flags, self._sorts, self._ages = array("B"), array("B"), array("i")
        self._names: list[tuple[str, str]] = []  # kind and sense of each sort
        self._rights = 0

    @classmethod
    def of(cls, seconds: Iterable[Judged]) -> Tally:
        """All of some seconds."""
        tally = cls()
        for second in seconds:
            tally.add(second)
        return tally

    def __len__(self) -> int:
        """Seconds."""
        return len(self._flags)

    def add(self, second: Judged) -> None:
        """Count one more."""
        name = second.kind, second.sense
        if name not in self._names:
            self._names.append(name)
        self._rights += second.right
        self._flags.append(second.right | bool(second.said) << 1 | bool(second.truth) << 2)
        self._sorts.append(self._names.index(name))
        self._ages.append(-1 if second.age_s is None else second.age_s)

    @property
    def right_share(self) -> float:
        """Share of all seconds that are right; 0 before the first."""
        return self._rights / len(self) if len(self) else 0.0

    @property
    def right(self) -> np.ndarray:
        """See the class."""
        return self._flag(0)

    @property
    def said(self) -> np.ndarray:
        """See the class."""
        return self._flag(1)

    @property
    def true(self) -> np.ndarray:
        """See the class."""
        return self._flag(2)

    @property
    def age_s(self) -> np.ndarray:
        """See the class."""
        return np.array(self._ages, np.int32)

    def of_sort(self, name: str) -> np.ndarray:
        """Which seconds are of a kind or sense, bool [n]."""
        sorts = [i for i, names in enumerate(self._names) if name in names]
        return np.isin(np.array(self._sorts, np.uint8), sorts)

    @property
    def sorts(self) -> list[str]:
        """Kinds and senses of the seconds in which there was something to say."""
        there = np.unique(np.array(self._sorts, np.uint8)[self.true])
        return sorted({name for i in there for name in self._names[i]} - {""})

    def freeze(self) -> tuple[dict[str, np.ndarray], list[tuple[str, str]]]:
        """All of it, for `thaw`: arrays, and JSON's types."""
        arrays = {"flags": self._flags, "sorts": self._sorts, "ages": self._ages}
        return {name: np.array(values) for name, values in arrays.items()}, self._names

    @classmethod
    def thaw(cls, arrays: Mapping[str, np.ndarray], names: Iterable[Sequence[str]]) -> Tally:
        """What was frozen."""
        tally = cls()
        for name, values in (("flags", tally._flags), ("sorts", tally._sorts), ("ages", tally._ages)):
            values.frombytes(arrays[name].tobytes())
        tally._names = [(kind, sense) for kind, sense in names]
        tally._rights = int(tally.right.sum())
        return tally

    def _flag(self, bit: int) -> np.ndarray:
        return (np.array(self._flags, np.uint8) >> bit & 1).astype(bool)


class Delays:
    """How late true sentences were said, seconds; one that comes later than LATEST_S was missed.

    Attributes:
        counts: true sentences by delay; the last is the missed ones.
    """

    def __init__(self, counts: Iterable[int] = (), waiting: Iterable[Sequence[Any]] = ()) -> None:
        """Begin, or go on from what `counts` and `waiting` were."""
        self.counts = list(counts) or [0] * (LATEST_S + 2)
        self._waiting: deque[tuple[str, int]] = deque((text, age_s) for text, age_s in waiting)

    @property
    def waiting(self) -> list[tuple[str, int]]:
        """Sentences that were not said yet, and for how many seconds."""
        return list(self._waiting)

    def add(self, said: str, truth: str) -> None:
        """One more second; a sentence counts once, in the first second that has it."""
        aged = [(text, age_s + 1) for text, age_s in self._waiting]
        if truth:
            aged.append((truth, 0))
        self._waiting.clear()
        for text, age_s in aged:
            if text == said:
                self.counts[age_s] += 1
                said = ""
            elif age_s == LATEST_S:
                self.counts[-1] += 1
            else:
                self._waiting.append((text, age_s))

    @property
    def shares(self) -> dict[str, float]:
        """Share of sentences by delay: "0 s", "1 s", ..., "missed"; those that still wait are left out."""
        total = max(1, sum(self.counts))
        names = [*(f"{delay} s" for delay in range(LATEST_S + 1)), "missed"]
        return {name: round(count / total, 4) for name, count in zip(names, self.counts, strict=True)}


def score(seconds: Tally | Sequence[Judged]) -> dict[str, Any]:
    """Figures of a stream; None stands where nothing of the kind occurred.

    Returns:
        event_accuracy: share of true sentences said exactly, in their second; n_events of them.
        silence_precision: share of silent seconds that should be silent.
        silence_recall: share of seconds to be silent that were.
        accuracy_by_kind: by verb (new, back, stops, goes, gone) and by sense (seen now, motion, memory).
        accuracy_by_quarter: event accuracy of each quarter of the stream.
        accuracy_by_hour: of each hour, memory_by_hour of its memories; only if there are two.
        memory_by_age: for each age, {"accuracy", "n"}.
    """
    tally = seconds if isinstance(seconds, Tally) else Tally.of(seconds)
    right, true, age_s = tally.right, tally.true, tally.age_s
    by_age = {}
    for low, high in zip(AGE_EDGES_S, (*AGE_EDGES_S[1:], float("inf")), strict=True):
        aged = true & (age_s >= low) & (age_s < high)
        by_age[f"{low}-{high:.0f} s" if high < float("inf") else f"{low} s and more"] = {
            "accuracy": share(right, aged),
            "n": int(aged.sum()),
        }
    figures = {
        "event_accuracy": share(right, true),
        "n_events": int(true.sum()),
        "silence_precision": share(right, ~tally.said),
        "silence_recall": share(right, ~true),
        "accuracy_by_kind": {name: share(right, true & tally.of_sort(name)) for name in tally.sorts},
        "accuracy_by_quarter": _by_part(right, true, np.array_split(np.arange(len(right)), QUARTERS)),
        "memory_by_age": by_age,
    }
    hours = np.split(np.arange(len(right)), range(HOUR_S, len(right), HOUR_S))
    if len(hours) > 1:
        figures["accuracy_by_hour"] = _by_part(right, true, hours)
        figures["memory_by_hour"] = _by_part(right, true & (age_s >= 0), hours)
    return figures


def _by_part(right: np.ndarray, which: np.ndarray, parts: Sequence[np.ndarray]) -> list[float | None]:
    return [share(right[part], which[part]) for part in parts]


def share(right: np.ndarray, which: np.ndarray) -> float | None:
    """Share of right ones among `which`, bool [n] both; None if there are none."""
    return round(float(right[which].mean()), 4) if which.any() else None
