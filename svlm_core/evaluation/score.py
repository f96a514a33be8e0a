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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

AGE_EDGES_S = (0, 30, 60, 120, 300, 600)  # of memory: seconds since the digit was last said; the last is open
QUARTERS = 4


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


def score(seconds: Sequence[Judged]) -> dict[str, Any]:
    """Figures of a stream; None stands where nothing of the kind occurred.

    Returns:
        event_accuracy: share of true sentences said exactly, in their second; n_events of them.
        silence_precision: share of silent seconds that should be silent.
        silence_recall: share of seconds to be silent that were.
        accuracy_by_kind: by verb (new, back, stops, goes, gone) and by sense (seen now, motion, memory).
        accuracy_by_quarter: event accuracy of each quarter of the stream.
        memory_by_age: for each age, {"accuracy", "n"}.
    """
    events = [second for second in seconds if second.truth]
    quiet = [second for second in seconds if not second.said]
    to_be_quiet = [second for second in seconds if not second.truth]
    kinds = ({event.kind for event in events} | {event.sense for event in events}) - {""}
    by_kind = {kind: _share([e for e in events if kind in (e.kind, e.sense)]) for kind in sorted(kinds)}
    parts = np.array_split(np.arange(len(seconds)), QUARTERS)
    memories = [event for event in events if event.age_s is not None]
    by_age = {}
    for low, high in zip(AGE_EDGES_S, (*AGE_EDGES_S[1:], float("inf")), strict=True):
        aged = [event for event in memories if event.age_s is not None and low <= event.age_s < high]
        by_age[f"{low}-{high:.0f} s" if high < float("inf") else f"{low} s and more"] = {
            "accuracy": _share(aged),
            "n": len(aged),
        }
    return {
        "event_accuracy": _share(events),
        "n_events": len(events),
        "silence_precision": _share(quiet),
        "silence_recall": _share(to_be_quiet),
        "accuracy_by_kind": by_kind,
        "accuracy_by_quarter": [_share([seconds[i] for i in part if seconds[i].truth]) for part in parts],
        "memory_by_age": by_age,
    }


def _share(seconds: Sequence[Judged]) -> float | None:
    return round(sum(second.right for second in seconds) / len(seconds), 4) if seconds else None
