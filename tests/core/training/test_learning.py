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

"""What learns: LoRA on weights of four bits, trained, logged, resumed, merged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors import safe_open
from svlm_core.errors import ConfigError
from svlm_core.model.load import load_model
from svlm_core.training.finetune import Finetuning
from svlm_core.training.finetune_recipe import FinetuneRecipe, Lora, WorldData
from svlm_core.training.learning import choose_what_learns, merged
from svlm_core.training.spoken_loss import batch
import torch

RECIPE = FinetuneRecipe(
    base="tiny",
    world=WorldData(clips=4, clip_s=4, overlap_s=2),
    lora=Lora(rank=4, alpha=8, base="nf4"),
    learning_rate=1e-3,
    warmup_steps=1,
    rows_per_step=2,
    save_steps=1,
    log_steps=1,
)


def test_a_family_that_cannot_be_trained_is_refused(random_checkpoints: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="models of type smolvlm can be streamed, not trained"):
        choose_what_learns(load_model(str(random_checkpoints["smolvlm"])), RECIPE)


def logits(tuning: Finetuning) -> torch.Tensor:
    """Of the first row, before the head."""
    row = batch(tuning.rows.pack(0))
    model = tuning.model
    model.hf.eval()
    with torch.no_grad():
        return model.head(model.understand(row["ids"], None, row["positions"])[0])


def test_the_export_answers_as_the_model_of_four_bits_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    recipe = replace(RECIPE, trainer={"report_to": ["tensorboard", "wandb"]})
    tuning = Finetuning.load(recipe)
    layer = tuning.model.hf.model.language_model.layers[0].self_attn.q_proj
    assert layer.base_layer.weight.dtype == torch.uint8
    before = logits(tuning)
    out = tmp_path / "out"
    target = tuning.run(out)
    with safe_open(out / "checkpoint-2" / "model.safetensors", "pt") as file:
        assert all("lora_" in name for name in file.keys())  # noqa: SIM118 - a handle, not a dict
    assert list(out.glob("runs/*/events.out.tfevents.*"))
    assert list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    exported = replace(tuning, model=load_model(str(target)))
    assert exported.model.hf.model.language_model.layers[0].self_attn.q_proj.weight.dtype == torch.float32
    after = logits(exported)
    assert (after - before).abs().max() > 1e-3, "something was learned"

    resumed = Finetuning.load(replace(RECIPE))
    resumed.run(out)  # finished already: its last checkpoint is what is exported
    assert torch.equal(logits(replace(resumed, model=load_model(str(target)))), after)


def test_merging_changes_no_answer() -> None:
    tuning = Finetuning.load(RECIPE)
    with torch.no_grad():
        for name, parameter in tuning.model.hf.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
    before = logits(tuning)
    plain = merged(tuning.adapted)
    assert not [name for name, _ in plain.named_modules() if "lora" in name]
    torch.testing.assert_close(logits(tuning), before, rtol=0, atol=1e-4)
