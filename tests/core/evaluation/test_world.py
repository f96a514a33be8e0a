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

import itertools
import json
from pathlib import Path
from typing import Any

import cv2
import pytest
from svlm_core.cli.main import main
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError
from svlm_core.evaluation.score import Judged, score
from svlm_core.evaluation.side_by_side import HEIGHT_PX, WIDTH_PX
from svlm_core.evaluation.world import evaluate_world
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import load_model
from svlm_core.world.scene import seconds

SEED, LENGTH_S = 1_000_007, 15
SETTINGS: dict[str, Any] = {
    "min_visual_tokens": 9,
    "max_visual_tokens": 9,
    "max_new_tokens": 2,
    "vision_window_s": 4.0,
    "text_sink_tokens": 8,
    "text_window_tokens": 16,
    "temperature": 0.0,
}
FIGURES = {
    *("event_accuracy", "n_events", "silence_precision", "silence_recall", "accuracy_by_kind"),
    *("accuracy_by_quarter", "memory_by_age", "latency_ratio", "rss_growth_mb", "chunk_ms_p50"),
    *("chunk_ms_p99", "stage_ms_p50", "cache_tokens_max", "capacity_tokens", "seconds", "stopped", "seed"),
    *("curve", "said_after", "policy", "vision_window_s", "text_sink_tokens", "text_window_tokens"),
}


class Bar:
    """A progress bar, and a user who interrupts after some seconds."""

    def __init__(self, patience: int = 1000) -> None:
        self.left = patience

    def interrupted(self) -> bool:
        return self.left <= 0

    def update(self, n: int = 1) -> None:
        self.left -= n

    def set_postfix(self, **figures: Any) -> None:
        pass


@pytest.fixture(scope="module")
def model(random_checkpoints: dict[str, Path]) -> StreamModel:
    return load_model(str(random_checkpoints["qwen2_5_vl"]))


@pytest.fixture
def config() -> StreamConfig:
    return StreamConfig().replace(SETTINGS, "test")


def test_the_command_prints_every_figure_and_writes_it(
    random_checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [[f"--{name.replace('_', '-')}", str(value)] for name, value in SETTINGS.items()]
    where = ["--model", str(random_checkpoints["qwen2_5_vl"]), "--json", str(tmp_path / "out.json")]
    what = ["eval", "world", "--seed", str(SEED), "--seconds", str(LENGTH_S)]
    assert main([*what, *where, *itertools.chain.from_iterable(options)]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "out.json").read_text() == printed
    figures = json.loads(printed)
    assert set(figures) == FIGURES
    assert (figures["seconds"], figures["seed"], figures["policy"]) == (LENGTH_S, SEED, "streaming")
    assert figures["n_events"] == sum(
        second.sentence is not None for second in itertools.islice(seconds(SEED), LENGTH_S)
    )
    assert 0 < figures["chunk_ms_p50"] <= figures["chunk_ms_p99"]
    assert set(figures["stage_ms_p50"]) == {"preprocess", "vision", "cache", "prefill", "decode"}
    assert 0 < figures["cache_tokens_max"] <= figures["capacity_tokens"]
    assert figures["latency_ratio"] > 0
    assert abs(figures["rss_growth_mb"]) < 500


def test_an_interrupt_keeps_what_was_measured(model: StreamModel, config: StreamConfig) -> None:
    bar = Bar(patience=6)
    figures = evaluate_world(model, config, SEED, 1000, bar, interrupted=bar.interrupted)
    assert set(figures) == FIGURES
    assert figures["seconds"] == 6
    assert figures["n_events"] == sum(s.sentence is not None for s in itertools.islice(seconds(SEED), 6))
    assert figures["chunk_ms_p50"] > 0, "seconds that were not run do not count"
    assert figures["latency_ratio"] is None, "six seconds have no tenths"
    assert figures["rss_growth_mb"] is None, "the warm-up was not over"


def test_a_full_cache_keeps_what_was_measured(model: StreamModel, config: StreamConfig) -> None:
    small = config.replace({"policy": "full", "full_capacity_tokens": 400}, "test")
    figures = evaluate_world(model, small, SEED, LENGTH_S, Bar())
    assert set(figures) == FIGURES
    assert 0 < figures["seconds"] < LENGTH_S
    assert "full_capacity_tokens" in figures["stopped"]


def test_an_unwritable_file_is_reported_before_the_hours_not_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "nowhere" / "out.json"
    assert main(["eval", "world", "--model", "no/such", "--json", str(nowhere)]) == 1
    assert (
        capsys.readouterr().err == f"svlm: --json {nowhere}: cannot be written (No such file or directory)\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "999999"], "--seed 999999: seeds below 1000000 are for training only"),
        (["--seconds", "0"], "--seconds must be at least 1, got 0"),
        (["--threads", "-1"], "--threads must not be negative, got -1"),
    ],
)
def test_a_wrong_option_is_one_line(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "world", *options]) == 1
    assert capsys.readouterr().err == f"svlm: {message}\n"


def test_an_interrupted_run_goes_on_to_the_same_figures(
    model: StreamModel, config: StreamConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svlm_core.evaluation.world._SAVE_EVERY_S", 4)
    timed = {"latency_ratio", "rss_growth_mb", "chunk_ms_p50", "chunk_ms_p99", "stage_ms_p50", "curve"}
    whole = evaluate_world(model, config, SEED, 20, Bar())
    file = tmp_path / "stream"
    for patience in (6, 11):  # the second begins at 4, which the bar is told at once
        bar = Bar(patience)
        run = evaluate_world(model, config, SEED, 20, bar, file, bar.interrupted)
        assert run["stopped"] == "interrupted"
    resumed = evaluate_world(model, config, SEED, 20, Bar(), file)
    assert {k: v for k, v in resumed.items() if k not in timed} == {
        k: v for k, v in whole.items() if k not in timed
    }
    assert evaluate_world(model, config, SEED, 24, Bar(), file)["seconds"] == 24, "and further"
    with pytest.raises(ConfigError, match="a stream of world 1000007, not 1000008"):
        evaluate_world(model, config, SEED + 1, 24, Bar(), file)


def test_long_streams_are_told_by_the_hour() -> None:
    wrong, right = Judged("x", "back red 1", "back", "memory", 40), Judged("y", "y", "stops", "motion", None)
    figures = score([right] * 3600 + [wrong] + [right] * 3)
    assert figures["accuracy_by_hour"] == [1.0, 0.75]
    assert figures["memory_by_hour"] == [None, 0.0]
    assert "accuracy_by_hour" not in score([right] * 3600)


def test_policies_side_by_side(
    random_checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [[f"--{name.replace('_', '-')}", str(value)] for name, value in SETTINGS.items()]
    what = ["eval", "world", "--seed", str(SEED), "--seconds", "30", "--full-capacity-tokens", "400"]
    model = ["--model", str(random_checkpoints["qwen2_5_vl"]), *itertools.chain.from_iterable(options)]
    files = ["--json", str(tmp_path / "out.json"), "--plot", str(tmp_path / "out.png")]
    assert main([*what, "--policies", "streaming,full,last-frames", *model, *files]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:2] == ["seconds", "events"]
    assert [line.split()[0] for line in table[1:4]] == ["streaming", "full", "last-frames"]
    assert table[4].startswith("full ended at") and "the KV cache is full" in table[4]
    runs = json.loads((tmp_path / "out.json").read_text())
    assert [run["policy"] for run in runs] == ["streaming", "full", "last-frames"]
    assert set(runs[0]) == FIGURES and len(runs[0]["curve"]) == 1
    height, width = cv2.imread(str(tmp_path / "out.png")).shape[:2]
    assert (width, height) == (WIDTH_PX, HEIGHT_PX)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--policies", "streming"], "--policies 'streming': not one of all, streaming"),
        (["--policies", "all", "--resume", "x"], "--resume is of one stream"),
        (["--sweep", "fps=1,2", "--resume", "x"], "--resume is of one stream"),
        (["--sweep", "policy=full", "--policies", "all"], "a setting varies twice"),
        (["--sweep", "fsp=1"], "did you mean 'fps'"),
        (["--plot", "out.bmp"], "must end in .png"),
    ],
)
def test_options_that_do_not_go_are_refused(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["eval", "world", *options]) != 0
    assert message in capsys.readouterr().err
