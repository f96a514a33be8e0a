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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

AGE_EDGES_S = (0, 30, 60, 120, 300, 600)  # of memory: seconds since the digit was last said; the last is open
QUARTERS = 4
HOUR_S = 3600


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
    right, found = tally.right, groups(tally)

    def shares(name: str) -> dict[str, float | None]:
        return {part: share(right[seconds]) for part, seconds in found[name].items()}

    return {
        "event_accuracy": share(right[found["events"]["all"]]),
        "n_events": len(found["events"]["all"]),
        "silence_precision": share(right[found["silence"]["precision"]]),
        "silence_recall": share(right[found["silence"]["recall"]]),
        "accuracy_by_kind": shares("accuracy_by_kind"),
        "accuracy_by_quarter": [*shares("accuracy_by_quarter").values()],
        "memory_by_age": {
            age: {"accuracy": share(right[seconds]), "n": len(seconds)}
            for age, seconds in found["memory_by_age"].items()
        },
        **{
            name: [*shares(name).values()] for name in ("accuracy_by_hour", "memory_by_hour") if name in found
        },
    }


def groups(tally: Tally, at_s: np.ndarray | None = None) -> dict[str, dict[str, np.ndarray]]:
    """Which judgements each figure is about.

    Args:
        tally: the judgements.
        at_s: when each of them was, seconds, int [n]; by default one comes every second.

    Returns:
        By figure and part the positions of its judgements: events (all), silence (precision, recall),
        accuracy_by_kind, accuracy_by_quarter, memory_by_age, and of more than an hour accuracy_by_hour and
        memory_by_hour.
    """
    true, age_s, places = tally.true, tally.age_s, np.arange(len(tally))
    hour = (places if at_s is None else at_s) // HOUR_S
    ages = {}
    for low, high in zip(AGE_EDGES_S, (*AGE_EDGES_S[1:], float("inf")), strict=True):
        name = f"{low}-{high:.0f} s" if high < float("inf") else f"{low} s and more"
        ages[name] = places[true & (age_s >= low) & (age_s < high)]
    quarters = enumerate(np.array_split(places, QUARTERS), 1)
    found = {
        "events": {"all": places[true]},
        "silence": {"precision": places[~tally.said], "recall": places[~true]},
        "accuracy_by_kind": {name: places[true & tally.of_sort(name)] for name in tally.sorts},
        "accuracy_by_quarter": {str(number): part[true[part]] for number, part in quarters},
        "memory_by_age": ages,
    }
    hours = np.unique(hour)  # a clock that jumps by years does not make as many
    if len(hours) > 1:
        found["accuracy_by_hour"] = {f"{h + 1}": places[true & (hour == h)] for h in hours}
        found["memory_by_hour"] = {f"{h + 1}": places[true & (age_s >= 0) & (hour == h)] for h in hours}
    return found


def share(values: np.ndarray) -> float | None:
    """Share of true ones among some, bool [n]; None if there are none."""
    return round(float(values.mean()), 4) if len(values) else None
