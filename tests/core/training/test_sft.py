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

"""Training killed and started again, through the command line."""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from svlm_core.model.load import load_model
from svlm_core.training.sft import last_checkpoint
import yaml

SMALL = {
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "intermediate_size": 32,
    "vision_hidden_size": 32,
    "vision_depth": 1,
    "vision_num_heads": 2,
    "vision_intermediate_size": 32,
}
EYES = {"name": "eyes", "steps": 2, "vision": True, "language": False, "pixels": True, "feature_weight": 1.0}
STAGES: list[dict[str, Any]] = [
    {**EYES, "learning_rate": 0.001, "feeds": [{"kind": "scene", "size": 2}]},
    {
        "name": "words",
        "steps": 24,
        "learning_rate": 0.001,
        "feeds": [
            {"kind": "drill", "size": 1},
            {"kind": "stream", "size": 1, "chunk_s": 4, "overlap_s": 2},
        ],
    },
]
PATIENCE_S = 200.0


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    stream = {"min_visual_tokens": 9, "max_visual_tokens": 9, "time_text": False, "system_prompt": "Say."}
    path = tmp_path / "recipe.yaml"
    run = {"processes": 1, "save_steps": 3, "log_steps": 6}
    path.write_text(yaml.safe_dump({**run, "model": SMALL, "stream": stream, "stages": STAGES}))
    return path


def start(recipe: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "svlm_core.cli", "train", str(recipe), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # sums in one order
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(training: subprocess.Popen[str]) -> str:
    output, _ = training.communicate(timeout=PATIENCE_S)
    assert training.returncode == 0, output
    return output


def kill_after_first_checkpoint(training: subprocess.Popen[str], stage: Path) -> None:
    begin = time.monotonic()
    while last_checkpoint(stage, processes=1) is None:
        assert training.poll() is None, training.communicate()[0]
        assert time.monotonic() - begin < PATIENCE_S
        time.sleep(0.005)  # a killed process cannot tell: its files are what there is to watch
    training.send_signal(signal.SIGKILL)
    training.communicate()
    assert not (stage / "model.safetensors").exists(), "killed too late to test anything"


def test_a_killed_run_goes_on_to_the_same_weights_to_the_last_bit(recipe: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    uninterrupted = start(recipe, whole)
    kill_after_first_checkpoint(start(recipe, cut), cut / "01-words")
    finish(uninterrupted)
    # A kill in the midst of saving leaves a newer checkpoint that is not whole.
    newest = Path(last_checkpoint(cut / "01-words", processes=1) or "")
    part = Path(shutil.copytree(newest, newest.with_name("checkpoint-23")))
    (part / "trainer_state.json").unlink()
    (part / "model.safetensors").write_bytes(b"")
    eyes = (cut / "00-eyes" / "model.safetensors").stat().st_mtime_ns
    output = finish(start(recipe, cut))
    assert (cut / "00-eyes" / "model.safetensors").stat().st_mtime_ns == eyes, "a finished stage was repeated"
    assert f"the checkpoint is in {cut / 'checkpoint'}" in output
    for name in ("00-eyes/model.safetensors", "01-words/model.safetensors", "checkpoint/model.safetensors"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes(), name
    model = load_model(str(cut / "checkpoint"))
    assert model.stream_defaults == yaml.safe_load(recipe.read_text())["stream"]


def test_only_a_whole_checkpoint_is_resumed_from(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "nowhere", processes=1) is None
    for step, state in ((3, "{}"), (20, "{}"), (100, '{"cut')):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(state)
        for process in range(2):
            (folder / f"rng_state_{process}.pth").touch()
    assert last_checkpoint(tmp_path, processes=2) == str(tmp_path / "checkpoint-20"), "20 comes after 3"
    (tmp_path / "checkpoint-20" / "rng_state_1.pth").unlink()
    assert last_checkpoint(tmp_path, processes=2) == str(tmp_path / "checkpoint-3")
