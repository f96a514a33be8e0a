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

"""Items that are in no rate: counted, each with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from svlm_core.evaluation.runs.records import EXCLUDED, Record

MISSING_VIDEO = "missing video"
BROKEN_VIDEO = "broken video"
NOT_COVERED = "predictions do not cover the segment"
EMPTY_REFERENCE = "empty reference"
DUPLICATE = "duplicate id"
MALFORMED = "malformed item"
OUTSIDE = "outside the video; mixed time units?"


@dataclass(frozen=True)
class Excluded:
    """An item that cannot be judged.

    Attributes:
        id: of the item.
        reason: what kind of reason, the same words for all of a kind.
        details: what exactly, for this item.
    """

    id: str
    reason: str
    details: str = ""

    def record(self) -> Record:
        """As a record."""
        return {"id": self.id, EXCLUDED: self.reason, "details": self.details}


NOT_STREAMED = "not streamed"
NOT_BEGUN = "the run was interrupted before"


def account_streams(
    judged: Mapping[str, int], wanted: Mapping[str, int], reasons: Mapping[str, str]
) -> dict[str, Any]:
    """The same of streams whose items are judged one after another until they end.

    Args:
        judged: items of each stream.
        wanted: how many they should be.
        reasons: why a stream ended early, by name; one without a reason was never begun.
    """
    lacking = {
        name: most - judged.get(name, 0) for name, most in wanted.items() if most > judged.get(name, 0)
    }
    items, excluded = sum(wanted.values()), sum(lacking.values())
    return {
        "items": items,
        "counted": items - excluded,
        "excluded": excluded,
        "share_excluded": round(excluded / items, 6) if items else 0.0,
        "by_reason": {NOT_STREAMED: excluded} if excluded else {},
        "list": [
            {"id": name, "reason": NOT_STREAMED, "details": f"{count} s: {reasons.get(name, NOT_BEGUN)}"}
            for name, count in lacking.items()
        ],
    }


def account(records: Mapping[str, Record]) -> dict[str, Any]:
    """How many items are in the rate, how many are not, and why.

    Returns:
        items, counted, excluded, share_excluded, by_reason, and the list of what is excluded.
    """
    excluded = [record for record in records.values() if EXCLUDED in record]
    reasons = Counter(record[EXCLUDED] for record in excluded)
    return {
        "items": len(records),
        "counted": len(records) - len(excluded),
        "excluded": len(excluded),
        "share_excluded": round(len(excluded) / len(records), 6) if records else 0.0,
        "by_reason": dict(sorted(reasons.items())),
        "list": [
            {"id": record["id"], "reason": record[EXCLUDED], "details": record.get("details", "")}
            for record in excluded
        ],
    }
