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

"""Held-out samples as one stream, and what the model says about it on the way through a training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
import json
import logging
from pathlib import Path

import pytest
from svlm_core.data.cut import cut, CutSettings
from svlm_core.data.sample import Sample
from svlm_core.data.seek_index import SampleFile, samples_path, SampleWriter
from svlm_core.data.words import spread, Word
from svlm_core.errors import ConfigError
from svlm_core.model.load import load_model
from svlm_core.stream.defaults import stream_config
from svlm_core.training.finetune import Finetuning
from svlm_core.training.finetune_recipe import FinetuneRecipe
from svlm_core.training.held_out import evaluate_held_out, SHOWN, Stretch, stretches
from svlm_core.world.clip import write_clip

SECONDS = 60


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...]]:
    """Overlapping samples of a video of the world, and its sentences, second by second."""
    folder = tmp_path_factory.mktemp("told")
    truth = write_clip(4, SECONDS, folder / "match.mp4", lambda seconds: None)
    said = tuple(json.loads(line)["sentence"] or "" for line in truth.read_text().splitlines())
    words = [word for n, text in enumerate(said) for word in spread(n + 0.1, n + 0.9, text)]
    with SampleWriter(samples_path(folder, "valid")) as writer:
        for sample in cut("match.mp4", words, float(SECONDS), CutSettings(12.0, 6.0, 1), Counter()):
            writer.write_line(sample.to_line())
    return samples_path(folder, "valid"), said


def test_overlapping_samples_are_one_stretch(told: tuple[Path, tuple[str, ...]]) -> None:
    path, said = told
    (whole,) = stretches(SampleFile(path), 1.0, 600.0)
    assert whole.video == path.parent / "match.mp4"
    assert whole.words == said
    (cut_off,) = stretches(SampleFile(path), 1.0, 25.0)
    assert cut_off.words == said[:25]


def test_a_gap_or_another_video_begins_a_stretch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def lines() -> Iterator[str]:
        yield Sample("a.mp4", 0.0, 4.0, (Word(0.1, 0.9, "one"),)).to_line()
        yield Sample("a.mp4", 4.0, 8.0, (Word(4.1, 4.9, "five"),), "one").to_line()
        yield "not a sample"
        yield Sample("a.mp4", 12.0, 16.0, (), "one five", "What?").to_line()
        yield Sample("b.mp4", 0.0, 4.0, ()).to_line()

    path = tmp_path / "valid.jsonl"
    path.write_text("\n".join(lines()) + "\n")
    with caplog.at_level(logging.WARNING):
        found = stretches(SampleFile(path), 1.0, 600.0)
    assert [(s.video.name, s.start_s, s.words) for s in found] == [
        ("a.mp4", 0.0, ("one", "", "", "", "five", "", "", "")),
        ("a.mp4", 12.0, ("",) * 4),
        ("b.mp4", 0.0, ("",) * 4),
    ]
    assert (found[1].previous, found[1].query) == ("one five", "What?")
    assert "sample 2: not a sample" in caplog.text


def test_the_embedded_model_tells_what_the_transcript_tells(
    told: tuple[Path, tuple[str, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model("tiny")
    (whole,) = stretches(SampleFile(told[0]), 1.0, 600.0)
    gone = Stretch(told[0].parent / "gone.mp4", 0.0, ("new",))
    shown: list[float] = []
    with caplog.at_level(logging.WARNING):
        figures = evaluate_held_out(model, stream_config(model), [gone, whole, whole], shown.append)
    assert sum(shown) == 2 * SECONDS
    assert "left out of the evaluation: " in caplog.text and "gone.mp4" in caplog.text
    assert figures["timely_recall"] > 0.9 and figures["speaking_precision"] > 0.9
    with pytest.raises(ConfigError, match="nothing is said in the stretches"):
        evaluate_held_out(model, stream_config(model), [gone], shown.append)


def test_figures_are_logged_on_the_way_and_at_the_end(
    told: tuple[Path, tuple[str, ...]], tmp_path: Path
) -> None:
    path = str(told[0])
    recipe = FinetuneRecipe("tiny", path, held_out=path, stream_steps=2, stream_s=20, learning_rate=1e-6)
    Finetuning.load(recipe).run(tmp_path)
    (state,) = tmp_path.glob("checkpoint-*/trainer_state.json")
    logged = [line for line in json.loads(state.read_text())["log_history"] if "stream_timely_recall" in line]
    steps = json.loads(state.read_text())["max_steps"]
    assert [line["step"] for line in logged] == [*range(2, steps, 2), steps]
    assert {f"stream_{name}" for name in (*SHOWN, "chrf")} <= logged[-1].keys()
