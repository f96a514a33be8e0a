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

"""`svlm eval world --resume` as its user runs it: processes that are interrupted and killed."""

from __future__ import annotations

import json
from pathlib import Path
import random
import signal
import subprocess
import sys
from typing import Any

import pytest

TIMED = {"latency_ratio", "rss_growth_mb", "chunk_ms_p50", "chunk_ms_p99", "stage_ms_p50", "curve"}


def command(length_s: int, *arguments: str) -> list[str]:
    what = [sys.executable, "-m", "svlm_core.cli", "eval", "world", "--seed", "1000009"]
    return [*what, "--seconds", str(length_s), *arguments]


def figures(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_text())
    return {name: figure for name, figure in found.items() if name not in TIMED}


def stopped_at_random(arguments: list[str], how: signal.Signals, chance: random.Random) -> None:
    """Run until some of its seconds are over, then stop it, in the midst of whatever it is doing."""
    with subprocess.Popen(
        arguments, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=1
    ) as run:
        assert run.stderr is not None
        while "right=" not in run.stderr.read(80):
            assert run.poll() is None
        run.stderr.read(chance.randrange(1000))  # of a bar that goes on ten times a second
        run.send_signal(how)
        run.stderr.read()
        assert run.wait(60) == (0 if how is signal.SIGINT else -how)


@pytest.mark.parametrize(("length_s", "times"), [(500, 1), pytest.param(3000, 10, marks=pytest.mark.slow)])
def test_interrupted_and_killed_it_goes_on_to_the_same_figures(
    tmp_path: Path, length_s: int, times: int
) -> None:
    whole, resumed = tmp_path / "whole.json", tmp_path / "resumed.json"
    subprocess.run(command(length_s, "--json", str(whole)), check=True, capture_output=True)
    again = command(length_s, "--json", str(resumed), "--resume", str(tmp_path / "stream"))
    chance = random.Random(times)
    for k in range(times):
        stopped_at_random(again, signal.SIGKILL if k % 2 else signal.SIGINT, chance)
    subprocess.run(again, check=True, capture_output=True)
    assert figures(resumed) == figures(whole)
    assert figures(whole)["seconds"] == length_s
