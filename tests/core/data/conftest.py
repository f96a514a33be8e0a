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

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path

import pytest
from svlm_core.world.clip import write_clip

MakeTalk = Callable[..., Path]


@pytest.fixture(scope="session")
def world_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of the world, two frames a second, with its truth beside it."""
    path = tmp_path_factory.mktemp("world") / "match.mp4"
    write_clip(3, 60, path, lambda seconds: None)
    return path


@pytest.fixture
def talk(tmp_path: Path) -> MakeTalk:
    """Writes word-level JSON lines: one word a second, wordN ending at second N + 0.9."""

    def write(name: str = "match.jsonl", seconds: int = 60, first_s: int = 0) -> Path:
        path = tmp_path / name
        lines = [
            {"start": first_s + k + 0.1, "end": first_s + k + 0.9, "word": f"w{first_s + k}"}
            for k in range(seconds)
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write
