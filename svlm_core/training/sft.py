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

"""Runs a recipe stage by stage on transformers' Trainer, resumable at any moment, and exports the checkpoint.

Layout of the output folder: `NN-name/checkpoint-N` to resume a stage from, `NN-name/model.safetensors` when
the stage is finished, `checkpoint/` at the end: weights, configuration, tokenizer and stream defaults.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from svlm_core.model.qwen_vl import QwenVL
from svlm_core.model.vision import Patchifier
from svlm_core.training.batches import StageBatches
from svlm_core.training.objective import Objective
from svlm_core.training.optimizer import adamw
from svlm_core.training.recipe import Recipe
from svlm_core.training.samples import TAGS
from svlm_core.training.tiny_model import FRAMES_PER_PATCH, make_model, MERGE, PATCH_PX
from svlm_core.training.tokenizer import build_tokenizer
from svlm_core.training.weights import load_weights, save_weights
import torch
from torch import Tensor
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments
import yaml

log = logging.getLogger(__name__)

MAX_POSITIONS = 4096
PIXEL_MEAN, PIXEL_STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
WEIGHTS = "model.safetensors"
_WEIGHT_DECAY = 0.03


def train(recipe: Recipe, out: Path) -> Path:
    """Run all stages that are not finished in `out` and export the checkpoint.

    Runs in every data-parallel process alike. Killed at any moment and started again, it goes on from the
    last saved step with the same samples, optimiser and random state.

    Returns:
        The exported checkpoint's folder.
    """
    tokenizer = build_tokenizer(recipe.stream_config.system_prompt)
    hf = make_model(recipe.model, tokenizer, MAX_POSITIONS, recipe.seed)
    patchifier = Patchifier(PATCH_PX, FRAMES_PER_PATCH, MERGE, PIXEL_MEAN, PIXEL_STD)
    model = QwenVL("tiny", hf, tokenizer, patchifier, recipe.stream_defaults)
    for number, stage in enumerate(recipe.stages):
        folder = out / f"{number:02d}-{stage.name}"
        if (folder / WEIGHTS).exists():
            load_weights(model.hf, folder / WEIGHTS)
            continue
        if is_main():
            log.info("stage %s: %d steps", stage.name, stage.steps)
        _train_stage(recipe, number, model, folder)
    target = out / "checkpoint"
    if is_main():
        export(model, recipe, target)
    return target


def export(model: QwenVL, recipe: Recipe, target: Path) -> None:
    """Write the checkpoint: safetensors, configuration, tokenizer, picture statistics and stream defaults."""
    model.hf.save_pretrained(target)
    model.tokenizer.save_pretrained(target)
    statistics = {"image_mean": PIXEL_MEAN, "image_std": PIXEL_STD}
    (target / "preprocessor_config.json").write_text(json.dumps(statistics, indent=2))
    (target / "stream.yaml").write_text(yaml.safe_dump(recipe.stream_defaults, sort_keys=False))


def _train_stage(recipe: Recipe, number: int, model: QwenVL, folder: Path) -> None:
    stage = recipe.stages[number]
    hf: Any = model.hf
    hf.model.visual.requires_grad_(stage.vision)
    hf.model.language_model.requires_grad_(stage.language)
    objective = Objective(model, stage.feature_weight)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=stage.steps,
        per_device_train_batch_size=1,  # an item of StageBatches is a whole batch
        learning_rate=stage.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": stage.floor},
        warmup_steps=stage.warmup_steps,
        max_grad_norm=1.0,
        logging_steps=recipe.log_steps,
        save_steps=recipe.save_steps,
        save_total_limit=2,
        seed=recipe.seed + number,
        use_cpu=not torch.cuda.is_available(),
        ddp_backend="gloo" if recipe.processes > 1 and not torch.cuda.is_available() else None,
        ddp_find_unused_parameters=stage.vision and stage.language,  # text-only batches do not touch the eyes
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=False,
    )
    trainer = StageTrainer(
        model=objective,
        args=arguments,
        train_dataset=StageBatches(recipe, number, model),
        data_collator=_only_item,
        optimizers=(adamw(objective, stage.learning_rate, stage.vision_rate, _WEIGHT_DECAY), None),
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(folder, recipe.processes))
    if is_main():
        save_weights(model.hf, folder / WEIGHTS)  # its being there says that the stage is finished


def last_checkpoint(folder: Path, processes: int) -> str | None:
    """The newest checkpoint of a stage that is whole: a kill while one is saved leaves a part of it."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1])):
        try:
            json.loads(
                (path / "trainer_state.json").read_text()
            )  # the last file that the first process writes
        except (OSError, ValueError):
            continue
        if len(list(path.glob("rng_state*.pth"))) == processes:  # and the last one of every other
            return str(path)
    return None


class StageTrainer(Trainer):
    """Trainer that keeps the batches' order, reports accuracy by kind of token, and saves tied weights."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As Trainer."""
        super().__init__(*args, **kwargs)
        self._counts = torch.zeros(max(TAGS) + 1, 2, dtype=torch.long)

    def compute_loss(self, model: Any, inputs: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        """The objective's own loss; remembers what was right."""
        outputs = model(**inputs)
        self._counts += outputs["counts"].cpu()
        return outputs["loss"]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the accuracies since the last line."""
        right, all_ = self._counts.unbind(1)
        logs.update(
            {name: round(float(right[tag] / all_[tag]), 4) for tag, name in TAGS.items() if all_[tag]}
        )
        self._counts.zero_()
        super().log(logs, *args, **kwargs)

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if not self.args.should_save:  # every process is asked; two would move the same file
            return
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(self.accelerator.unwrap_model(self.model), folder / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        target: Any = self.model if model is None else model
        load_weights(target, Path(resume_from_checkpoint) / WEIGHTS)


def _only_item(items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return items[0]


def is_main() -> bool:
    """Whether this is the only process, or the first of several, by torchrun's count."""
    return os.environ.get("RANK", "0") == "0"
