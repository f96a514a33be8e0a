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

"""Benchmarks on short videos of the world, as their tests run them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from svlm_core.world.clip import write_clip

LENGTH_S, SEGMENT_S = 24, 6
VIDEOS = ("a.mp4", "b.mp4", "c.mp4")


def write_videos(folder: Path) -> None:
    """Three short videos of the world and their truth in the form of Inf-Streams-Eval."""
    lines = []
    for seed, video in enumerate(VIDEOS, 1_000_101):
        truth = write_clip(seed, LENGTH_S, folder / video, lambda n: None)
        said = [json.loads(line)["sentence"] or "quiet" for line in truth.read_text().splitlines()]
        lines.append(
            {"video": video, "title": f"game {seed}", "content": [[t, t + 1, s] for t, s in enumerate(said)]}
        )
    (folder / "meta.jsonl").write_text("\n".join(map(json.dumps, lines)))


def inf_streams(data: Path, out: Path, url: str, *more: object) -> list[str]:
    """What follows `svlm eval`: both sides, compared by the judge at a URL."""
    common = ["inf-streams", data / "meta.jsonl", "--videos", data, "--out", out, "--segment-s", SEGMENT_S]
    judge = ["--judge-url", url, "--judge-model", "stand-in", "--requests-per-s", 0, "--timeout-s", 0.5]
    return [*map(str, (*common, *judge, "--attempts", 1, "--yes", "--workers", 2, *more))]


def ovo_question(video: str, at_s: float, number: int) -> dict[str, Any]:
    """An item of OVO-Bench."""
    options = ["new", "back", "gone", "stops"]
    common = {"id": number, "video": video, "realtime": at_s, "question": "what?", "options": options}
    return {**common, "task": ("EPM", "OCR")[number % 2], "gt": number % 4}


def result(out: Path) -> dict[str, Any]:
    """What a run found."""
    return json.loads((out / "result.json").read_text())
