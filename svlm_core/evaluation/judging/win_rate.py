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

"""Win rates with bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

CONFIDENCE = 0.95
_RESAMPLES = 10_000
_BATCH = 500  # resamples at a time: bounds the memory for any number of videos


def mean_with_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    seed: int,
    names: tuple[str, str] = ("videos", "segments"),
) -> dict[str, Any]:
    """The mean of values and its percentile bootstrap interval.

    Whole clusters are drawn, not values: segments of one video are alike, and to treat them as independent
    would give an interval that is too narrow. With one cluster alone values are drawn.

    Args:
        values: one for each item; may be empty.
        clusters: which video each belongs to.
        seed: of the resampling.
        names: of the clusters and of the items.

    Returns:
        mean, low, high (None without values; low and high None for one value), n, and resampled: which of the
        names.
    """
    if not values:
        return {"mean": None, "low": None, "high": None, "n": 0, "resampled": None}
    if len(set(clusters)) == 1:
        clusters, by = range(len(values)), names[1]
    else:
        by = names[0]
    numbers = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    member = np.array([numbers[cluster] for cluster in clusters])
    data = np.asarray(values, dtype=np.float64)
    sums, counts = np.bincount(member, data), np.bincount(member).astype(np.float64)
    mean = {"mean": round(float(data.mean()), 6), "n": len(data), "resampled": by}
    if len(sums) == 1:
        return {**mean, "low": None, "high": None}
    random = np.random.default_rng(seed)
    means = []
    for _ in range(_RESAMPLES // _BATCH):
        drawn = random.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), _BATCH)  # [batch, clusters]
        means.append(drawn @ sums / (drawn @ counts))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(np.concatenate(means), (tail, 100 - tail))
    return {**mean, "low": round(float(low), 6), "high": round(float(high), 6)}
