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

"""Accuracy by task, group and tag, with bootstrap intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from svlm_core.evaluation.judging.win_rate import mean_with_interval
from svlm_core.evaluation.runs.records import EXCLUDED, Record

_FIFTHS = 5


def accuracy(records: Iterable[Record], seed: int) -> dict[str, Any]:
    """Figures of answered questions.

    Args:
        records: with right (bool), read (what was understood of the reply, "" for nothing), task, group,
            tags, video and at_s; excluded ones are passed over.
        seed: of the bootstrap.

    Returns:
        all, by_task, by_group (the mean of the group's tasks, all alike), by_tag, by_time (fifths of
        the questions in the order of their moments), and unreadable: replies that answer nothing. Those
        count as wrong: a model must not gain by not answering.
    """
    answered = [record for record in records if EXCLUDED not in record]
    tasks, groups, tags = defaultdict(list), defaultdict(set), defaultdict(list)
    for record in answered:
        tasks[record["task"]].append(record)
        if record["group"]:
            groups[record["group"]].add(record["task"])
        for tag in record["tags"]:
            tags[tag].append(record)
    by_task = {task: _share(tasks[task], seed) for task in sorted(tasks)}
    in_time = sorted(answered, key=lambda record: (record["at_s"], record["id"]))
    return {
        "all": _share(answered, seed),
        "by_task": by_task,
        "by_group": {
            group: macro({task: by_task[task]["mean"] for task in groups[group]}) for group in sorted(groups)
        },
        "by_tag": {tag: _share(tags[tag], seed) for tag in sorted(tags)},
        "by_time": [
            {**_share(part, seed), "from_s": part[0]["at_s"], "to_s": part[-1]["at_s"]}
            for part in _parts(in_time)
        ],
        "unreadable": sum(not record["read"] for record in answered),
    }


def macro(shares: Mapping[str, float]) -> float | None:
    """The mean of several tasks' shares, None without one."""
    return round(sum(shares.values()) / len(shares), 6) if shares else None


def _share(records: Sequence[Record], seed: int) -> dict[str, Any]:
    right = [float(record["right"]) for record in records]
    return mean_with_interval(right, [record["video"] for record in records], seed)


def _parts(records: Sequence[Record]) -> list[Sequence[Record]]:
    edges = [round(len(records) * part / _FIFTHS) for part in range(_FIFTHS + 1)]
    return [records[a:b] for a, b in pairwise(edges) if b > a]
