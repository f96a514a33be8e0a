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

"""Fine-tuning through the command line: killed and resumed, over processes, by LoRA; wrong recipes."""

from __future__ import annotations

import json
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from svlm_core.cli import main
from svlm_core.model.load import load_model
from svlm_core.stream.defaults import stream_config
import torch
import yaml

PATIENCE_S = 200.0
RECIPE: dict[str, Any] = {
    "base": "tiny",
    "world": {"clips": 16, "clip_s": 6, "overlap_s": 3, "stream_s": 30},
    "stream": {"text_sink_tokens": 8},
    "learning_rate": 3e-4,
    "warmup_steps": 2,
    "vision": True,
    "clips_per_row": 2,
    "rows_per_step": 2,
    "epochs": 5,
    "save_steps": 2,
    "log_steps": 1,
}
STEPS = 20


@pytest.fixture
def recipe(tmp_path: Path) -> Any:
    def write(**changes: Any) -> Path:
        path = tmp_path / f"recipe-{len(list(tmp_path.iterdir()))}.yaml"
        path.write_text(yaml.safe_dump({**RECIPE, **changes}))
        return path

    return write


def start(recipe: Path, out: Path, processes: int = 1) -> subprocess.Popen[str]:
    module = ["-m", "svlm_core.cli", "train", str(recipe), "--out", str(out)]
    if processes > 1:
        module = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *module]
    return subprocess.Popen(
        [sys.executable, *module],
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # sums in one order
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(training: subprocess.Popen[str]) -> str:
    output, _ = training.communicate(timeout=PATIENCE_S)
    assert training.returncode == 0, output
    return output


def losses(out: Path) -> list[float]:
    state = json.loads((out / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
    return [line["loss"] for line in state["log_history"] if "loss" in line]


def kill_between(training: subprocess.Popen[str], out: Path, step: int, delay_s: float) -> None:
    """Kill it a moment after it has saved a step, wherever it is then."""
    begin = time.monotonic()
    while not list(out.glob(f"checkpoint-{step}*/trainer_state.json")):
        assert training.poll() is None, training.communicate()[0]
        assert time.monotonic() - begin < PATIENCE_S
        time.sleep(0.002)  # a killed process cannot tell: its files are what there is to watch
    time.sleep(delay_s)  # the moment is what is tried
    training.send_signal(signal.SIGKILL)
    training.communicate()


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_to_the_same_weights_to_the_last_bit(
    recipe: Any, tmp_path: Path, kills: int
) -> None:
    path, whole, cut = recipe(), tmp_path / "whole", tmp_path / "cut"
    finish(start(path, whole))
    moments = random.Random(kills)
    for number in range(kills):
        step = 2 * (number + 1)
        kill_between(start(path, cut), cut, step, moments.uniform(0.0, 0.05))
    finish(start(path, cut))
    weights = "checkpoint/model.safetensors"
    assert (whole / weights).read_bytes() == (cut / weights).read_bytes()
    assert losses(whole) == losses(cut)


def test_two_processes_learn_what_one_learns(recipe: Any, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    finish(start(recipe(), one))
    output = finish(start(recipe(), two, processes=2))
    assert output.count("the checkpoint is in") == 1
    assert len(losses(one)) == STEPS
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)


def test_lora_leaves_a_plain_checkpoint_behind(recipe: Any, tmp_path: Path) -> None:
    path = recipe(lora={"rank": 4, "alpha": 8}, vision=False, epochs=1)
    finish(start(path, tmp_path / "out"))
    base, adapted = load_model("tiny"), load_model(str(tmp_path / "out" / "checkpoint"))
    old, new = dict(base.hf.named_parameters()), dict(adapted.hf.named_parameters())
    assert old.keys() == new.keys()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed and all(".language_model.layers." in name and "proj" in name for name in changed)
    assert stream_config(adapted) == stream_config(base).replace(RECIPE["stream"], "test")


BAD_RECIPES: list[tuple[dict[str, Any], str]] = [
    ({"learning_rat": 1.0}, "recipe: unknown field 'learning_rat'"),
    ({"world": {"clips": 0}}, "world.clips must be above 0"),
    ({"world": {"clips": 4, "clip_s": 6, "overlap_s": 6}}, "world.overlap_s must be less than clip_s"),
    ({"language": False, "vision": False}, "nothing would be learned"),
    ({"dtype": "int4"}, "recipe.dtype must be one of"),
    ({"stream": {"fsp": 2.0}}, "did you mean 'fps'"),
    ({"trainer": {"seed": 3}}, "trainer.seed is set by the recipe's own fields"),
    ({"trainer": {"no_such": 3}}, "no_such"),
    ({"trainer": {"fsdp": True}}, "trainer.fsdp shards over GPUs"),
    ({"base": "nowhere/at-all-here"}, "nowhere/at-all-here"),
]


def test_it_is_streamed_on_the_way_and_at_the_end(recipe: Any, tmp_path: Path) -> None:
    path = recipe(stream_steps=3, stream_s=40, epochs=1, learning_rate=1e-6, base="tiny")
    finish(start(path, tmp_path / "out"))
    state = json.loads((tmp_path / "out" / "checkpoint-4" / "trainer_state.json").read_text())
    streamed = [line for line in state["log_history"] if "stream_event_accuracy" in line]
    assert [line["step"] for line in streamed] == [3, 4]
    assert all(line["stream_event_accuracy"] > 0.9 for line in streamed), "the embedded model, hardly changed"


def test_a_dry_run_shows_what_would_be_learned(
    recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(recipe()), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "16 x 5 epochs, 2 in a row, 2 rows in a step: 20 steps" in printed
    assert "[ ...<|im_end|>]" in printed and "<9 visual tokens>" in printed


@pytest.mark.parametrize(("change", "message"), BAD_RECIPES)
def test_a_wrong_recipe_is_refused_in_one_line(
    recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    if "fsdp" in change.get("trainer", {}) and torch.cuda.is_available():
        pytest.skip("GPUs are here")
    assert main(["train", str(recipe(**change)), "--out", str(tmp_path / "out")]) != 0
    printed = capsys.readouterr().err.strip()
    assert message in printed and "\n" not in printed
