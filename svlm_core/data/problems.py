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

"""What was wrong with an input that was read all the same: how often, and where first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

BROKEN_SAMPLE, BROKEN_VIDEO = "a line that is not a sample", "a sample whose video cannot be read"

_NAMED = 20  # places that are kept of each kind of problem; all are counted


@dataclass
class Problems:
    """Counts problems by kind and names the first places of each.

    Attributes:
        counts: kind -> how often.
        places: kind -> the first places, "file:line" or the name of a file.
    """

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, place: str, times: int = 1) -> None:
        """Count a problem at a place."""
        self.counts[kind] += times
        named = self.places.setdefault(kind, [])
        if len(named) < _NAMED:
            named.append(place)

    def merge(self, other: Problems) -> None:
        """Add all of another's."""
        for kind, places in other.places.items():
            self.counts[kind] += other.counts[kind]
            named = self.places.setdefault(kind, [])
            named += places[: _NAMED - len(named)]

    def as_json(self) -> dict[str, dict[str, object]]:
        """For a report."""
        return {
            kind: {"count": count, "first": self.places[kind]} for kind, count in sorted(self.counts.items())
        }

    @classmethod
    def from_json(cls, data: dict[str, dict[str, object]]) -> Problems:
        """Read what as_json made."""
        problems = cls()
        for kind, entry in data.items():
            problems.counts[kind] = int(str(entry["count"]))
            places = entry["first"]
            problems.places[kind] = [str(place) for place in places] if isinstance(places, list) else []
        return problems
