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

"""Durations of the link come from a clock that does not jump."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import svlm_core.offload

WALL_CLOCK = {
    "time": {"time", "time_ns", "localtime", "gmtime", "ctime"},
    "datetime": {"now", "utcnow", "today"},
}
# the journal's rows, and the epochs that begin without one, outlive a boot; monotonic time does not
OF_THE_JOURNAL = {"front": ["time.time"] * 3}
FILES = sorted(Path(svlm_core.offload.__file__).parent.glob("*.py"))


def readings(source: str) -> list[str]:
    """Where a module asks for the time of day, as it names it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, (ast.Name, ast.Attribute)):
            module = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if node.attr in WALL_CLOCK.get(module, ()):
                found.append(f"{module}.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [f"time.{a.name}" for a in node.names if a.name in WALL_CLOCK["time"]]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_of_the_link_asks_for_the_time_of_day(file: Path) -> None:
    assert readings(file.read_text()) == OF_THE_JOURNAL.get(file.stem, [])


def test_asking_would_be_noticed() -> None:
    assert readings("import time\ntime.time()") == ["time.time"]
    assert readings("from time import time_ns") == ["time.time_ns"]
    assert readings("import datetime\ndatetime.datetime.now()") == ["datetime.now"]
    assert readings("import time\ntime.monotonic()") == []
