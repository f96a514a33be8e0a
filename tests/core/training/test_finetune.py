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

from collections import Counter
from importlib.util import find_spec
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
from svlm_core.config import read_yaml
from svlm_core.data.cut import cut, CutSettings
from svlm_core.data.seek_index import samples_path, SampleWriter
from svlm_core.data.words import spread
from svlm_core.model.load import load_model
from svlm_core.stream.defaults import stream_config
from svlm_core.training.finetune_recipe import is_finetune, load_finetune_recipe
from svlm_core.training.recipe import load_recipe
from svlm_core.world.clip import write_clip
import torch
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl
from transformers.models.qwen3_vl import modeling_qwen3_vl
import yaml

REPOSITORY = Path(__file__).parents[3]
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
        fields = {name: value for name, value in {**RECIPE, **changes}.items() if value is not None}
        path.write_text(yaml.safe_dump(fields))
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


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("deepspeed") is None, reason="pip install 'svlm_ros[deepspeed]': it compiles kernels"
)
def test_deepspeed_of_two_processes_learns_what_one_learns(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    automatic = ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
    zero: dict[str, Any] = {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}
    sharded = {"deepspeed": {"zero_optimization": zero, **dict.fromkeys(automatic, "auto")}}
    one, two = tmp_path / "one", tmp_path / "two"
    finish(start(recipe(save_steps=STEPS, vision_rate=1.0), one))
    finish(start(recipe(save_steps=STEPS, vision_rate=1.0, trainer=sharded), two, processes=2))
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)
    whole, gathered = (load_model(str(out / "checkpoint")) for out in (one, two))
    for name, weight in whole.hf.named_parameters():
        away = (gathered.hf.get_parameter(name) - weight).abs().mean()
        assert away < 1e-4, name  # Adam makes whole steps of gradients that are nothing but rounding
    assert gathered.eos_token_ids == whole.eos_token_ids


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
    ({"data": "samples.jsonl"}, "recipe: give data, a file of samples, or world"),
    ({"world": {"clips": 0}}, "world.clips must be above 0"),
    ({"world": {"clips": 4, "clip_s": 6, "overlap_s": 6}}, "world.overlap_s must be less than clip_s"),
    ({"language": False, "vision": False}, "nothing would be learned"),
    ({"dtype": "int4"}, "recipe.dtype must be one of"),
    ({"stream": {"fsp": 2.0}}, "did you mean 'fps'"),
    ({"trainer": {"seed": 3}}, "trainer.seed is set by the recipe's own fields"),
    ({"trainer": {"no_such": 3}}, "no_such"),
    ({"trainer": {"fsdp": True}}, "trainer.fsdp shards over GPUs"),
    ({"trainer": {"report_to": ["nobody"]}}, "trainer.report_to: 'nobody' is not one of tensorboard, wandb"),
    ({"trainer": {"use_liger_kernel": True}}, "trainer.use_liger_kernel: Liger's kernels run on GPUs"),
    ({"lora": {"base": "int3"}}, "lora.base must be 'nf4' or left out"),
    ({"lora": {"base": "nf4"}, "trainer": {"fsdp": True}}, "lora.base: weights of four bits are not sharded"),
    ({"held_out": "valid.jsonl"}, "recipe.held_out is for recipes with data"),
    ({"world": None, "data": "a.jsonl", "stream_steps": 5}, "held_out, samples to stream on the way, and"),
    ({"trainer": {"deepspeed": {"a": 1}}}, "recipe.vision_rate: DeepSpeed knows one learning rate for all"),
    ({"base": "nowhere/at-all-here"}, "nowhere/at-all-here"),
]


def test_samples_on_disk_are_trained_on_and_broken_ones_named(recipe: Any, tmp_path: Path) -> None:
    truth = write_clip(4, 30, tmp_path / "match.mp4", lambda seconds: None)
    said = [json.loads(line)["sentence"] or "" for line in truth.read_text().splitlines()]
    words = [word for n, text in enumerate(said) for word in spread(n + 0.1, n + 0.9, text)]
    samples = samples_path(tmp_path, "train")
    with SampleWriter(samples) as writer:
        for video in ("match.mp4", "gone.mp4"):
            for sample in cut(video, words, 30.0, CutSettings(12.0, 6.0, 1), Counter()):
                writer.write_line(sample.to_line())
    beside = {"dataloader_num_workers": 1}  # videos are decoded in a process of their own
    path = recipe(world=None, data=str(samples), epochs=1, clips_per_row=4, rows_per_step=1, trainer=beside)
    output = finish(start(path, tmp_path / "out"))
    assert "left out of the training: " in output and "gone.mp4" in output
    assert load_model(str(tmp_path / "out" / "checkpoint")).stream_defaults["text_sink_tokens"] == 8


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


@pytest.mark.parametrize("path", sorted((REPOSITORY / "training").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_of_ours_is_a_recipe_and_says_how_it_is_run(path: Path) -> None:
    command, _, rest = path.read_text().partition("\n")
    assert f"train training/{path.name} --out runs/" in command
    assert rest.startswith("#\n# ")
    if not is_finetune(read_yaml(path)):
        assert load_recipe(path).stages
        return
    sharding = load_finetune_recipe(path).trainer.get("fsdp_config", {})
    known = {name for module in (modeling_qwen2_5_vl, modeling_qwen3_vl) for name in dir(module)}
    assert set(sharding.get("transformer_layer_cls_to_wrap", [])) <= known


def test_a_base_of_another_family_is_named(
    recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text('{"model_type": "bert"}')
    for more in (["--out", str(tmp_path / "out")], ["--dry-run"]):
        assert main(["train", str(recipe(base=str(base))), *more]) != 0
        printed = capsys.readouterr().err.strip()
        assert "base/config.json: bert cannot be streamed" in printed and "\n" not in printed


@pytest.mark.parametrize(("change", "message"), BAD_RECIPES)
def test_a_wrong_recipe_is_refused_in_one_line(
    recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    if {"fsdp", "use_liger_kernel"} & change.get("trainer", {}).keys() and torch.cuda.is_available():
        pytest.skip("GPUs are here")
    assert main(["train", str(recipe(**change)), "--out", str(tmp_path / "out")]) != 0
    printed = capsys.readouterr().err.strip()
    assert message in printed and "\n" not in printed
