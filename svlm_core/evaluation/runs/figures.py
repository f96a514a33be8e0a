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

"""Figures of any run as rows of tables: so one page and one comparison serve all benchmarks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

MISSING = "\N{EN DASH}"


class Row(NamedTuple):
    """A figure.

    Attributes:
        table: heading of its table.
        name: what it is of.
        value: the number, None where there is none.
        low: of its interval, None without one.
        high: the same.
        n: items behind it, None where that is not told.
    """

    table: str
    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None

    @property
    def label(self) -> str:
        """The value and its interval in words."""
        if self.value is None:
            return MISSING
        if isinstance(self.value, int):
            return str(self.value)
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


MAIN = "Figures"


def rows(figures: Mapping[str, Any]) -> list[Row]:
    """All figures, in their order: plain ones first, then one table for each group."""
    found = [row for name, value in figures.items() for row in _rows(name, value)]
    return sorted(found, key=lambda row: row.table != MAIN)


def words(name: str) -> str:
    """A field's name as a reader wants it."""
    return name.replace("_", " ")


def _rows(name: str, value: Any) -> Iterator[Row]:
    row = _row(MAIN, words(name), value)
    if row:
        yield row
    elif isinstance(value, Mapping):
        yield from _table(words(name), list(value.items()))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from _table(words(name), [(str(number), part) for number, part in enumerate(value, 1)])


def _table(table: str, items: Sequence[tuple[str, Any]]) -> Iterator[Row]:
    for name, value in items:
        row = _row(table, name, value)
        if row:
            yield row


def _row(table: str, name: str, value: Any) -> Row | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return Row(table, name, value)
    if isinstance(value, Mapping) and "mean" in value:
        return Row(table, name, value["mean"], value["low"], value["high"], value["n"])
    return None
