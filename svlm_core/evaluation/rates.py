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

"""Figures of a stream against its truth in the form of all reports: rates with intervals, and curves."""

from __future__ import annotations

from typing import Any

import numpy as np
from svlm_core.evaluation.judging.win_rate import mean_with_interval
from svlm_core.evaluation.score import groups, share, Tally

PART_S = 300  # what is resampled: mistakes close in time have one cause
_POINTS = 48  # of a curve
_SHORTEST_S = 10  # part of a curve


def rates(tally: Tally, at_s: np.ndarray, seed: int) -> dict[str, Any]:
    """The figures of svlm_core.evaluation.score, each with a bootstrap interval over parts of PART_S seconds.

    Args:
        tally: the judgements.
        at_s: when each of them was, seconds, int [n], rising.
        seed: of the bootstrap.

    Returns:
        By name a rate (mean, low, high, n, resampled), or rates by part: event_accuracy, silence_precision,
        silence_recall, accuracy_by_kind, accuracy_by_quarter, memory_by_age, and of more than an hour
        accuracy_by_hour and memory_by_hour.
    """
    right, part = tally.right, at_s // PART_S

    def rate(places: np.ndarray) -> dict[str, Any]:
        names = f"parts of {PART_S} s", "judgements"
        return mean_with_interval(right[places].astype(float).tolist(), part[places].tolist(), seed, names)

    found = groups(tally, at_s)
    by_name = {name: {key: rate(places) for key, places in parts.items()} for name, parts in found.items()}
    events, silence = by_name.pop("events"), by_name.pop("silence")
    return {
        "event_accuracy": events["all"],
        "silence_precision": silence["precision"],
        "silence_recall": silence["recall"],
        **by_name,
    }


def part_of_a_curve_s(length_s: float) -> int:
    """How long a part of a curve is, so that a stream of this length has about _POINTS of them."""
    return max(_SHORTEST_S, -int(-length_s // _POINTS))


def curve(tally: Tally, at_s: np.ndarray, part_s: int) -> list[dict[str, Any]]:
    """Shares over time, of each part in which something was judged.

    Returns:
        For each: from_s, events, memory, silence (of seconds to be silent, those that were); None where
        nothing of the kind was.
    """
    right, true, memory = tally.right, tally.true, tally.age_s >= 0
    edges = np.flatnonzero(np.diff(at_s // part_s)) + 1
    points = []
    for places in np.split(np.arange(len(right)), edges) if len(right) else []:
        ours, said = right[places], true[places]
        points.append(
            {
                "from_s": int(at_s[places[0]] // part_s * part_s),
                "events": share(ours[said]),
                "memory": share(ours[said & memory[places]]),
                "silence": share(ours[~said]),
            }
        )
    return points
