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

"""`svlm eval world --out`: one stream, and several side by side."""

from __future__ import annotations

from collections.abc import Iterator
import itertools
import json
from pathlib import Path
from typing import Any

from html_page import Page
import pytest
from svlm_core.cli.main import main
from svlm_core.world.scene import seconds

SEED, LENGTH_S = 1_000_007, 30
SETTINGS = ("--min-visual-tokens=9", "--max-visual-tokens=9", "--max-new-tokens=2", "--vision-window-s=4")
SETTINGS += ("--text-sink-tokens=8", "--text-window-tokens=16", "--temperature=0")


@pytest.fixture
def world(random_checkpoints: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Runs `svlm eval world` with a small model of random weights; returns what it printed."""

    def run(*options: object, seconds: int = LENGTH_S) -> str:
        model = ("--model", str(random_checkpoints["qwen2_5_vl"]), *SETTINGS)
        words = ["eval", "world", f"--seed={SEED}", f"--seconds={seconds}", *model, *map(str, options)]
        assert main(words) == 0
        return capsys.readouterr().out

    yield run


def read(folder: Path, name: str = "result.json") -> dict[str, Any]:
    return json.loads((folder / name).read_text())


def test_one_stream(world: Any, tmp_path: Path) -> None:
    printed = json.loads(world("--out", tmp_path / "a"))
    found, timing = read(tmp_path / "a"), read(tmp_path / "a", "timing.json")
    figures = found["figures"]
    assert figures["event_accuracy"]["mean"] == pytest.approx(printed["event_accuracy"], abs=1e-4)
    assert figures["event_accuracy"]["n"] == printed["n_events"]
    assert {name: rate["mean"] for name, rate in figures["said_after"].items()} == printed["said_after"]
    assert [point["from_s"] for point in figures["over_time"]] == [0, 10, 20]
    assert (found["benchmark"], found["run"]["world"], found["run"]["seconds"]) == ("world", SEED, LENGTH_S)
    assert len(found["run"]["model_sha256"]) == 64 and found["run"]["settings"]["vision_window_s"] == 4.0
    assert found["versions"]["torch"] and found["stopped"] == {}
    assert (found["accounting"]["items"], found["accounting"]["counted"]) == (LENGTH_S, LENGTH_S)
    (times,) = timing["streams"].values()
    assert 0 < times["chunk_ms_p50"] <= times["chunk_ms_p99"] and len(times["over_time"]) == 3
    page = Page((tmp_path / "a" / "report.html").read_text())
    for words in (
        "Accuracy over time",
        "Time of a chunk, over time",
        "Memory by age",
        "Said after",
        "Samples",
    ):
        assert words in page.words
    truth = next(s.sentence for s in itertools.islice(seconds(SEED), LENGTH_S) if s.sentence)
    assert truth in page.words and page.count["img"] > 2, "samples with frames"
    world("--out", tmp_path / "b")
    assert read(tmp_path / "b") == found, "no clock is in it"


def test_a_stream_in_two_sittings_ends_with_the_same_result(world: Any, tmp_path: Path) -> None:
    world("--out", tmp_path / "whole")
    saved = ("--resume", tmp_path / "stream", "--out", tmp_path / "run")
    world(*saved, seconds=12)
    world(*saved)
    assert read(tmp_path / "run") == read(tmp_path / "whole")
    pages = [(tmp_path / name / "report.html").read_text() for name in ("run", "whole")]
    samples = [page[page.index("<h2>Samples") :] for page in pages]
    assert samples[0] == samples[1]


def test_a_sweep_side_by_side(world: Any, tmp_path: Path) -> None:
    sweep = ("--policies=streaming,full", "--sweep", "vision_window_s=2,4", "--full-capacity-tokens=300")
    table = world(*sweep, "--out", tmp_path / "out", "--json", tmp_path / "out.json")
    names = [f"{policy} vision_window_s={s}" for policy in ("streaming", "full") for s in (2, 4)]
    assert [line.split("  ")[0] for line in table.splitlines()[1:5]] == names
    assert [run["vision_window_s"] for run in json.loads((tmp_path / "out.json").read_text())] == [2, 4, 2, 4]
    found = read(tmp_path / "out")
    assert [*found["figures"]["streams"]] == [*found["figures"]["event_accuracy"]] == names
    assert found["run"]["sweep"] == {"policy": ["streaming", "full"], "vision_window_s": [2.0, 4.0]}
    assert set(found["stopped"]) == set(names[2:]), "full attention has an end"
    streamed = sum(stream["seconds"] for stream in found["figures"]["streams"].values())
    accounting = found["accounting"]
    assert accounting["items"] == 4 * LENGTH_S and accounting["counted"] == streamed < 4 * LENGTH_S
    assert "the KV cache is full" in accounting["list"][0]["details"]
    text = (tmp_path / "out" / "report.html").read_text()
    page = Page(text)
    for words in (
        "Side by side",
        "Events right over vision_window_s",
        "Over time: events right",
        "Said after",
    ):
        assert words in page.words
    assert text.count("end-of-stream") >= 4, "crosses where full attention ended"


def test_two_worlds_are_compared(world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world("--out", tmp_path / "a")
    world("--out", tmp_path / "b", "--policy=last-frames")
    page = tmp_path / "page.html"
    assert main(["eval", "compare", str(tmp_path / "a"), str(tmp_path / "b"), "--html", str(page)]) == 0
    said = capsys.readouterr().out
    assert "accuracy by kind: motion" in said and "said after: missed" in said
    assert 'differs: run.settings.policy: "streaming" | "last-frames"' in said
    text = page.read_text()
    assert "Over time: events right" in Page(text).words and "two runs" in text


def test_another_run_is_not_mixed_in(world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world("--out", tmp_path, seconds=3)
    assert main(["eval", "world", f"--seed={SEED + 1}", "--seconds=3", "--out", str(tmp_path)]) == 1
    assert "holds another run: " in capsys.readouterr().err
