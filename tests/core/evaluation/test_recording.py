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

"""Recordings in lock step: a bag of the world through the embedded model, twice, cut, and interrupted."""

from __future__ import annotations

from dataclasses import asdict
import itertools
import json
from pathlib import Path
import shutil
from typing import Any

import av
from bags import cut, storage_file
import pytest
from silent_progress import Silent
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError, SourceError
from svlm_core.evaluation import recording
from svlm_core.evaluation.recording import evaluate_recording, Evaluation
from svlm_core.evaluation.report import render_report
from svlm_core.evaluation.runs.outcome import RESULT, TIMING, write_outcome
from svlm_core.evaluation.truth import read_truth
from svlm_core.evaluation.world import evaluate_world
from svlm_core.events import CommentaryEvent
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import EMBEDDED, load_model
from svlm_core.sources.bag import BagSource
from svlm_core.stream.defaults import stream_config
from svlm_core.world.bag import START_NS, TRUTH, write_bag
from svlm_core.world.scene import seconds

SEED, LENGTH_S = 1_000_007, 40
CLOCKLESS = (recording.EVENTS, recording.CAPTIONS, recording.VIDEO, RESULT)


class Bar(Silent):
    """A silent progress bar, as evaluate_world wants it."""

    def set_postfix(self, **figures: Any) -> None:
        pass


@pytest.fixture(scope="module")
def model() -> StreamModel:
    return load_model(EMBEDDED)


@pytest.fixture(scope="module")
def config(model: StreamModel) -> StreamConfig:
    return stream_config(model, ({}, "test"), ({}, "test"))


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bag = tmp_path_factory.mktemp("bags") / "drive"
    write_bag(SEED, LENGTH_S, bag, "mcap", "raw", lambda n: None)
    return bag


def evaluate(
    model: StreamModel, config: StreamConfig, bag: Path, out: Path, truth: bool = True, interrupt_at: int = 0
) -> Evaluation:
    out.mkdir(exist_ok=True)
    with BagSource(bag) as source:
        truths = read_truth(bag / TRUTH, source.origin_ns) if truth else []
        about = {
            "recording": bag.name,
            "model": EMBEDDED,
            "policy": config.policy,
            "settings": asdict(config),
        }
        evaluation = evaluate_recording(model, config, source, truths, out, about, Bar(interrupt_at))
    write_outcome(out, evaluation.result, evaluation.timing, render_report(evaluation))
    return evaluation


def test_two_runs_write_the_same_bytes(
    model: StreamModel, config: StreamConfig, drive: Path, tmp_path: Path
) -> None:
    for run in "ab":
        evaluate(model, config, drive, tmp_path / run)
    for name in CLOCKLESS:
        data = (tmp_path / "a" / name).read_bytes()
        assert data and data == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize("policy", ["streaming", "last-frames"])
def test_accuracy_is_that_of_the_world_itself(
    policy: str, model: StreamModel, config: StreamConfig, drive: Path, tmp_path: Path
) -> None:
    config = config.replace({"policy": policy}, "test")
    result = evaluate(model, config, drive, tmp_path).result
    figures = result["figures"]
    world = evaluate_world(model, config, SEED, LENGTH_S, Bar())
    for name in ("event_accuracy", "silence_precision", "silence_recall"):
        assert figures[name]["mean"] == pytest.approx(world[name], abs=1e-4), name
    kinds = {kind: rate["mean"] for kind, rate in figures["accuracy_by_kind"].items()}
    assert kinds == pytest.approx(world["accuracy_by_kind"], abs=1e-4)
    ages = {age: rate["n"] for age, rate in figures["memory_by_age"].items()}
    assert ages == {age: found["n"] for age, found in world["memory_by_age"].items()}
    delays = {delay: rate["mean"] for delay, rate in figures["said_after"].items()}
    assert delays == world["said_after"]
    assert figures["cache_tokens_max"] == world["cache_tokens_max"]
    assert figures["event_accuracy"]["n"] == world["n_events"] > 15
    assert (result["accounting"]["counted"], result["accounting"]["excluded"]) == (LENGTH_S, 0)


def test_the_files_tell_one_story(
    model: StreamModel, config: StreamConfig, drive: Path, tmp_path: Path
) -> None:
    evaluation = evaluate(model, config, drive, tmp_path)
    lines = (tmp_path / recording.EVENTS).read_text().splitlines()
    events = [CommentaryEvent.from_json(line) for line in lines]
    world = list(itertools.islice(seconds(SEED), LENGTH_S))
    assert [event.seq for event in events] == list(range(len(events)))
    for event in events:
        assert (event.camera, event.frame_id, event.latency_ms) == ("/camera/image_raw", "camera", 0.0)
        assert event.stamp_oldest_ns == START_NS + event.chunk_index * 10**9
    right = [event for event in events if event.text == world[event.chunk_index].sentence]
    accuracy = evaluation.result["figures"]["event_accuracy"]
    assert len(right) == round(accuracy["mean"] * accuracy["n"])
    captions = (tmp_path / recording.CAPTIONS).read_text()
    assert captions.count(" --> ") == len(events)
    first = events[0].chunk_index
    assert captions.splitlines()[2].startswith(f"00:00:{first:02d}.000 --> "), "from the first picture on"
    with av.open(str(tmp_path / recording.VIDEO)) as video:
        assert sum(1 for _ in video.decode(video=0)) == 2 * LENGTH_S
    assert json.loads((tmp_path / RESULT).read_text()) == json.loads(json.dumps(evaluation.result))
    timing = json.loads((tmp_path / TIMING).read_text())
    assert len(timing["chunk_ms"]) == LENGTH_S and min(timing["chunk_ms"]) > 0
    assert timing["chunk_ms_p50"] <= timing["chunk_ms_p99"]
    spoken = [moment for moment in evaluation.moments if moment.heard.text]
    assert all(moment.jpeg.startswith(b"\xff\xd8") for moment in spoken)
    assert sum(bool(m.jpeg) for m in evaluation.moments) < LENGTH_S, "not of every chunk"
    page = render_report(evaluation)
    for event in events:
        assert event.text in page


def test_without_a_truth_there_are_no_accuracies(
    model: StreamModel, config: StreamConfig, drive: Path, tmp_path: Path
) -> None:
    evaluation = evaluate(model, config, drive, tmp_path, truth=False)
    assert "event_accuracy" not in evaluation.result["figures"]
    assert evaluation.result["accounting"]["items"] == 0
    assert evaluation.result["figures"]["events"] > 15


def test_an_interrupt_keeps_what_was_done(
    model: StreamModel, config: StreamConfig, drive: Path, tmp_path: Path
) -> None:
    evaluation = evaluate(model, config, drive, tmp_path, interrupt_at=24)
    assert evaluation.error is None
    result = evaluation.result
    assert [*result["stopped"].values()] == ["interrupted"]
    chunks = result["figures"]["chunks"]
    assert 10 <= chunks <= 13
    assert result["accounting"]["counted"] == chunks, "what was not reached is not judged"
    assert result["figures"]["event_accuracy"]["mean"] == 1.0
    with av.open(str(tmp_path / recording.VIDEO)) as video:
        assert sum(1 for _ in video.decode(video=0)) == 2 * chunks
    assert "interrupted" in render_report(evaluation)


def test_a_cut_bag_is_evaluated_up_to_the_cut(
    model: StreamModel, config: StreamConfig, drive: Path, tmp_path: Path
) -> None:
    bag = tmp_path / "drive"
    shutil.copytree(drive, bag)
    truth = (bag / TRUTH).read_text()
    (bag / TRUTH).unlink()
    cut(storage_file(bag), 0.6)
    (bag / TRUTH).write_text(truth)
    evaluation = evaluate(model, config, bag, tmp_path / "out")
    assert isinstance(evaluation.error, SourceError)
    assert [*evaluation.result["stopped"].values()] == [str(evaluation.error)]
    assert "breaks after frame" in str(evaluation.error)
    assert 20 <= evaluation.result["figures"]["chunks"] <= 26
    assert evaluation.result["figures"]["event_accuracy"]["mean"] == 1.0


def test_a_file_that_cannot_be_written_is_named(
    model: StreamModel, config: StreamConfig, drive: Path, tmp_path: Path
) -> None:
    (tmp_path / RESULT).mkdir()
    with pytest.raises(ConfigError, match=f"{RESULT}: cannot be written"):
        evaluate(model, config, drive, tmp_path)
