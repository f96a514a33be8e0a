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

"""Fine-tunes a checkpoint on clips with transformers' Trainer, resumable at any moment.

Layout of the output folder: `checkpoint-N` to resume from, `checkpoint/` at the end: a checkpoint like any
other, with the stream's settings in its `stream.yaml`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
import logging
from pathlib import Path
import shutil
from typing import Any, cast

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.data.seek_index import SampleFile
from svlm_core.errors import SourceError
from svlm_core.evaluation.commentary.text_scores import rouge_l
from svlm_core.evaluation.world import evaluate_world
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import find_checkpoint, load_model, load_skeleton
from svlm_core.model.vision import PROCESSOR_FILES
from svlm_core.stream.defaults import stream_config
from svlm_core.training.arguments import check_machine, training_arguments
from svlm_core.training.clip import Clip, Renderer
from svlm_core.training.disk_clips import DiskClips
from svlm_core.training.dry_run import describe
from svlm_core.training.finetune_recipe import FinetuneRecipe
from svlm_core.training.held_out import evaluate_held_out, SHOWN, stretches
from svlm_core.training.learning import choose_what_learns, merged
from svlm_core.training.optimizer import adamw
from svlm_core.training.packing import Pack, pack
from svlm_core.training.sft import is_main, last_checkpoint, WEIGHTS
from svlm_core.training.spoken_loss import batch, SpokenLoss
from svlm_core.training.weights import learning, load_weights, save_weights
from svlm_core.training.world_clips import WorldClips
from svlm_core.world import FIRST_EVALUATION_SEED
import torch
from torch import nn, Tensor
from torch.utils.data import Dataset, SequentialSampler
from tqdm import tqdm
from transformers import Trainer, TrainerCallback
import yaml

log = logging.getLogger(__name__)

Evaluate = Callable[[Any], dict[str, Any]]  # progress bar -> figures to log


class Rows(Dataset[dict[str, Any]]):
    """Item i is one row of packed clips; the rows of all epochs in the order of training."""

    def __init__(self, clips: Dataset[Clip], count: int, recipe: FinetuneRecipe, renderer: Renderer) -> None:
        """Lay the rows out: `count` clips in an order of their own for each epoch."""
        self._clips, self._renderer, self._silence = clips, renderer, recipe.silence_weight
        rng = np.random.default_rng(recipe.seed)
        size = recipe.clips_per_row
        self._rows = [
            order[start : start + size]
            for order in (rng.permutation(count) for _ in range(recipe.epochs))
            for start in range(0, count, size)
        ]

    def __len__(self) -> int:
        """Rows of all epochs."""
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A row as SpokenLoss takes it."""
        return batch(self.pack(index))

    def pack(self, index: int) -> Pack:
        """A row; clips that cannot be read are left out of it, by name and at every run alike.

        Raises:
            SourceError: none of the row's can be read.
        """
        rendered = []
        for number in self._rows[index]:
            try:
                rendered.append(self._renderer.render(self._clips[int(number)]))
            except SourceError as error:
                log.warning("left out of the training: %s", error)
                broken = error
        if not rendered:
            raise broken
        return pack(rendered, self._silence)


@dataclass(frozen=True)
class Finetuning:
    """Everything that a fine-tuning needs, loaded.

    Attributes:
        recipe: what is to be done.
        model: the base, with what learns chosen.
        config: the stream's settings.
        clips: how many there are.
        rows: what is trained on.
        adapted: the PEFT model around the base, where LoRA is used.
    """

    recipe: FinetuneRecipe
    model: StreamModel
    config: StreamConfig
    clips: int
    rows: Rows
    adapted: Any

    @classmethod
    def load(cls, recipe: FinetuneRecipe) -> Finetuning:
        """Load the base and find the clips.

        Raises:
            ModelError: the base cannot be loaded.
            ConfigError: a stream setting is wrong, or this machine lacks what the recipe asks for.
            SourceError: the file of samples cannot be read.
        """
        check_machine(recipe)
        device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
        return cls._of(recipe, load_model(recipe.base, dtype=recipe.dtype, device=device))

    @classmethod
    def sketch(cls, recipe: FinetuneRecipe) -> Finetuning:
        """The same without weights, which need not be there: to be described only. Raises as load."""
        return cls._of(recipe, load_skeleton(recipe.base, dtype=recipe.dtype))

    @classmethod
    def _of(cls, recipe: FinetuneRecipe, model: StreamModel) -> Finetuning:
        config = stream_config(model, (recipe.stream, "stream"))
        clips: WorldClips | DiskClips
        clips = WorldClips(recipe.world) if recipe.world else DiskClips(Path(recipe.data), config)
        rows = Rows(clips, len(clips), recipe, Renderer(model, config))
        return cls(recipe, model, config, len(clips), rows, choose_what_learns(model, recipe))

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return -(-len(self.rows) // self.recipe.rows_per_step)

    def describe(self) -> Iterator[str]:
        """What would be done, in lines for people."""
        return describe(self.recipe, self.model, self.clips, self.steps, self.rows)

    def run(self, out: Path) -> Path:
        """Train and export the new checkpoint; runs in every process alike.

        Returns:
            The exported checkpoint's folder.

        Raises:
            ConfigError: a field of `trainer` is wrong.
        """
        # made while nobody shards what is made: what lies on many devices is gathered into it at the end
        whole = Finetuning.sketch(self.recipe) if self.recipe.sharded else self
        arguments = training_arguments(self.recipe, out, self.steps)
        objective = SpokenLoss(self.model)
        recipe = self.recipe
        trainer = ClipTrainer(
            recipe, model=objective, args=arguments, train_dataset=self.rows, data_collator=_only_item
        )
        if recipe.stream_steps and is_main():
            stream = _evaluation(self.model, self.config, recipe)
            trainer.add_callback(StreamEvaluation(trainer, self.model, recipe, stream))
        trainer.train(resume_from_checkpoint=last_checkpoint(out, arguments.world_size))
        target = out / "checkpoint"
        if recipe.sharded:
            gathered = trainer.accelerator.get_state_dict(trainer.model_wrapped)
            if is_main():
                SpokenLoss(whole.model).load_state_dict(gathered, strict=False, assign=True)
                whole.model.hf.tie_weights()
                whole.model.hf.generation_config = self.model.hf.generation_config
        if is_main():
            hf = merged(whole.adapted) if whole.adapted else whole.model.hf
            _export(hf, self.model, self.config, find_checkpoint(self.recipe.base), target)
        return target


class ClipTrainer(Trainer):
    """Trainer that keeps the rows' order, reports how much was right, and saves tied weights."""

    def __init__(self, recipe: FinetuneRecipe, **kwargs: Any) -> None:
        """As Trainer, with the optimiser of a recipe."""
        super().__init__(**kwargs)
        self._recipe = recipe
        self._right = self._learned = 0

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The recipe's; not given to Trainer ready-made, which it refuses under FSDP."""
        if self.optimizer is None:
            recipe, trained = self._recipe, cast(nn.Module, self.model if model is None else model)
            rates = recipe.learning_rate, recipe.vision_rate, recipe.weight_decay
            self.optimizer = adamw(trained, *rates)
        return self.optimizer

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The objective's own loss; remembers what was right."""
        outputs = model(**inputs)
        self._right += int(outputs["right"])
        self._learned += int(outputs["learned"])
        return outputs["loss"]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the share of learned tokens that were right since the last line."""
        if self._learned:
            logs["right"] = round(self._right / self._learned, 4)
        self._right = self._learned = 0
        super().log(logs, *args, **kwargs)

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if not self.args.should_save:
            return
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        module = self.accelerator.unwrap_model(self.model)
        save_weights(module, folder / WEIGHTS, state_dict, learning(module))  # the base has the others

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        target: Any = self.model if model is None else model
        load_weights(target, Path(resume_from_checkpoint) / WEIGHTS, learning(target))


class StreamEvaluation(TrainerCallback):
    """Streams between optimiser steps what is not trained on and logs how good it was."""

    def __init__(
        self, trainer: Trainer, model: StreamModel, recipe: FinetuneRecipe, stream: Evaluate
    ) -> None:
        """Log to `trainer` what `stream` finds."""
        self._trainer, self._model, self._recipe, self._stream = trainer, model, recipe, stream

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stream if it is time."""
        if state.global_step % self._recipe.stream_steps and state.global_step != state.max_steps:
            return
        self._model.hf.eval()
        with tqdm(total=self._recipe.stream_s, unit="s", desc="stream", leave=False) as bar:
            figures = self._stream(bar)
        self._model.hf.train()
        self._trainer.log({f"stream_{name}": value for name, value in figures.items() if value is not None})


def _evaluation(model: StreamModel, config: StreamConfig, recipe: FinetuneRecipe) -> Evaluate:
    """What is streamed on the way: progress bar -> figures."""

    def world(bar: Any) -> dict[str, Any]:
        figures = evaluate_world(model, config, FIRST_EVALUATION_SEED, recipe.stream_s, bar)
        return {name: figures[name] for name in ("event_accuracy", "silence_precision", "silence_recall")}

    if not recipe.held_out:
        return world
    rouge_l()  # what scoring needs is missed now, not hours later
    unseen = stretches(SampleFile(Path(recipe.held_out)), config.chunk_s, recipe.stream_s)

    def held_out(bar: Any) -> dict[str, Any]:
        figures = evaluate_held_out(model, config, unseen, bar.update)
        return {name: figures[name] for name in SHOWN} | {"chrf": (figures["text"] or {}).get("chrf")}

    return held_out


def _export(hf: Any, model: StreamModel, config: StreamConfig, base: Path, target: Path) -> None:
    """Write the checkpoint; its pictures are prepared as the base's are."""
    hf.save_pretrained(target)
    model.tokenizer.save_pretrained(target)
    defaults = StreamConfig()
    fields = {k: v for k, v in vars(config).items() if v != getattr(defaults, k)}
    for name in PROCESSOR_FILES:
        if (base / name).is_file():
            shutil.copy(base / name, target / name)
    (target / "stream.yaml").write_text(yaml.safe_dump(fields, sort_keys=False))


def _only_item(items: list[dict[str, Any]]) -> dict[str, Any]:
    return items[0]
