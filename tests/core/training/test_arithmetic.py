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

"""Counted costs against measured ones, and the costs of a model whose weights are not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from random_models import byte_tokenizer
from svlm_core.cli import main
from svlm_core.model.load import load_skeleton
from svlm_core.training.arithmetic import activation_bytes, memory, row_flops
from svlm_core.training.finetune import Finetuning
from svlm_core.training.finetune_recipe import FinetuneRecipe, Lora, WorldData
from svlm_core.training.spoken_loss import batch, SpokenLoss
import torch
from torch import Tensor
from torch.nn.attention import sdpa_kernel, SDPBackend
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig
import yaml

RECIPE = FinetuneRecipe(base="tiny", world=WorldData(clips=2, clip_s=24))
FACTOR = 1.25  # what svlm_core.training.arithmetic promises
RECIPES = {
    "language": RECIPE,
    "both": replace(RECIPE, vision=True),
    "checkpointed": replace(RECIPE, vision=True, gradient_checkpointing=True),
    "vision": replace(RECIPE, vision=True, language=False),
    "lora": replace(RECIPE, lora=Lora(8, 16)),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_row_costs_what_is_counted(name: str) -> None:
    recipe = RECIPES[name]
    tuning = Finetuning.load(recipe)
    row, objective = tuning.rows.pack(0), SpokenLoss(tuning.model)
    tuning.model.hf.train()
    own = {parameter.untyped_storage().data_ptr() for parameter in objective.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        objective(**batch(row))["loss"]
    measured_bytes = sum(kept.values())
    # torch counts no operations of its fused attention on CPUs
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        objective(**batch(row))["loss"].backward()
    assert 1 / FACTOR < row_flops(tuning.model, recipe, row) / counter.get_total_flops() < FACTOR
    if recipe.gradient_checkpointing:  # what is computed again in the backward pass comes on top
        assert activation_bytes(tuning.model, recipe, row) > measured_bytes
    else:
        ratio = activation_bytes(tuning.model, recipe, row) / measured_bytes
        assert 1 / FACTOR < ratio < FACTOR
    gradients = [p.grad for p in objective.parameters() if p.grad is not None]
    counted = memory(tuning.model, recipe)
    assert counted.gradients == sum(grad.numel() * grad.element_size() for grad in gradients)
    assert counted.optimizer == 2 * counted.gradients
    assert counted.weights == sum(p.numel() * p.element_size() for p in objective.parameters())


@pytest.fixture(scope="module")
def seven_billion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shape of Qwen2.5-VL-7B, without weights."""
    folder = tmp_path_factory.mktemp("seven")
    tokenizer = byte_tokenizer()
    ids = tokenizer.get_vocab()
    text: dict[str, Any] = {
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18944,
        "vocab_size": 152064,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        "bos_token_id": None,
    }
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584}
    AutoConfig.for_model(
        "qwen2_5_vl",
        text_config=text,
        vision_config={**vision, "num_heads": 16, "tokens_per_second": 2},
        tie_word_embeddings=False,
        video_token_id=ids["<|video_pad|>"],
        image_token_id=ids["<|image_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("lora", "weights_gib"), [(None, 30.9), ({"rank": 64, "base": "nf4"}, 10.6)])
def test_a_dry_run_of_seven_billion_needs_no_weights(
    seven_billion: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lora: dict[str, Any] | None,
    weights_gib: float,
) -> None:
    path = tmp_path / "recipe.yaml"
    recipe = {"base": str(seven_billion), "world": {"clips": 4}, "rows_per_step": 2}
    path.write_text(yaml.safe_dump(recipe | ({"lora": lora} if lora else {})))
    assert main(["train", str(path), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    model = load_skeleton(str(seven_billion))
    assert model.device.type == "meta"
    assert sum(p.numel() for p in model.hf.parameters()) == 8_292_166_656  # as released
    assert ("8.29 G parameters" in printed) == (lora is None)
    found = float(printed.partition("weights ")[2].split()[0])
    assert found == pytest.approx(weights_gib, abs=1.0)
    assert "in a step" in printed and "GiB on one device" in printed and "[ ..." in printed
