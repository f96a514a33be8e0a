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

"""The recipe of a fine-tuning: one YAML file, read into dataclasses and validated once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from svlm_core.config import DTYPES, read_yaml, StreamConfig
from svlm_core.errors import ConfigError
from svlm_core.training.recipe import build, take

NF4 = "nf4"
_RESERVED = ("output_dir", "max_steps", "num_train_epochs", "per_device_train_batch_size", "seed")


@dataclass(frozen=True)
class WorldData:
    """Clips of the synthetic world, which needs no files.

    Attributes:
        clips: how many.
        clip_s: seconds of a clip.
        overlap_s: by how much the clips of one stream overlap.
        stream_s: seconds of the streams that the clips are cut from.
        previous_text: give the clips what was said before them.
        seed: of the first world.
    """

    clips: int
    clip_s: int = 24
    overlap_s: int = 12
    stream_s: int = 240
    previous_text: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Lora:
    """Low-rank adaptation (arXiv 2106.09685) of the language model's linear layers, merged at the end.

    Attributes:
        rank: of the update.
        alpha: its scale is alpha / rank.
        dropout: before the update.
        base: "nf4" rounds the adapted layers to four bits (QLoRA, arXiv 2305.14314), which the export turns
            back into the numbers trained with; "" leaves them as they are.
    """

    rank: int = 64
    alpha: int = 128
    dropout: float = 0.0
    base: str = ""


@dataclass(frozen=True)
class FinetuneRecipe:
    """Everything that `svlm train` needs to adapt a checkpoint.

    Attributes:
        base: the checkpoint: a local folder, a hub id, or tiny.
        data: file of samples, as `svlm data build` writes it,
        world: or clips of the synthetic world; one of the two.
        stream: StreamConfig fields that win over the checkpoint's own; clips are rendered for them and the
            new checkpoint asks for them.
        lora: adapt the language model by LoRA; not given: all of it.
        language: the language model learns.
        vision: the vision tower learns.
        learning_rate: peak; it falls as a cosine to nothing.
        vision_rate: the vision tower's learning rate, relative.
        warmup_steps: until the peak.
        weight_decay: of matrices.
        silence_weight: of the tokens of answers without words in the loss.
        epochs: passes over the clips.
        clips_per_row: clips packed into one row of tokens: what one device computes at once.
        rows_per_step: rows of an optimiser step, over all devices.
        dtype: of weights and computation.
        gradient_checkpointing: compute activations twice and keep them once.
        save_steps: optimiser steps between checkpoints to resume from.
        log_steps: optimiser steps between two lines of loss and accuracy.
        held_out: file of samples that are not trained on, for recipes with `data`.
        stream_steps: optimiser steps between two streams of the held-out samples' videos, or of an unseen
            world, in which the model lives with its own words: what counts; 0 for none. Not under FSDP or
            DeepSpeed, which shard the weights.
        stream_s: seconds that are streamed each time.
        seed: of the clips' order and everything else.
        trainer: further fields of transformers' TrainingArguments: fsdp, deepspeed, report_to, ...
    """

    base: str
    data: str = ""
    world: WorldData | None = None
    stream: dict[str, Any] = field(default_factory=dict)
    lora: Lora | None = None
    language: bool = True
    vision: bool = False
    learning_rate: float = 1.0e-5
    vision_rate: float = 0.1
    warmup_steps: int = 20
    weight_decay: float = 0.01
    silence_weight: float = 1.0
    epochs: int = 1
    clips_per_row: int = 1
    rows_per_step: int = 1
    dtype: str = "float32"
    gradient_checkpointing: bool = False
    save_steps: int = 200
    log_steps: int = 10
    held_out: str = ""
    stream_steps: int = 0
    stream_s: int = 600
    seed: int = 0
    trainer: dict[str, Any] = field(default_factory=dict)

    @property
    def sharded(self) -> bool:
        """Whether the weights lie on several devices."""
        return bool({"fsdp", "deepspeed"} & self.trainer.keys())


def is_finetune(data: dict[str, Any]) -> bool:
    """Whether a recipe adapts a checkpoint; the others make a model from nothing."""
    return "base" in data


def load_finetune_recipe(path: Path) -> FinetuneRecipe:
    """Read and check a recipe.

    Raises:
        ConfigError: names the file and the field.
    """
    data = read_yaml(path)
    try:
        if ("world" in data) == ("data" in data):
            raise ConfigError("recipe: give data, a file of samples, or world, clips of the synthetic world")
        world = build(WorldData, take(data, "world", dict), "world") if "world" in data else None
        lora = build(Lora, data["lora"] or {}, "lora") if "lora" in data else None
        recipe = build(FinetuneRecipe, {**data, "world": world, "lora": lora}, "recipe")
        if lora and lora.base not in ("", NF4):
            raise ConfigError(f"lora.base must be {NF4!r} or left out, got {lora.base!r}")
        if lora and lora.base and recipe.sharded:
            raise ConfigError("lora.base: weights of four bits are not sharded; leave fsdp and deepspeed out")
        if recipe.dtype not in DTYPES:
            raise ConfigError(f"recipe.dtype must be one of {', '.join(DTYPES)}; got {recipe.dtype!r}")
        if not (recipe.language or recipe.vision):
            raise ConfigError("recipe.language and recipe.vision are both false: nothing would be learned")
        if world and world.overlap_s >= world.clip_s:
            raise ConfigError(f"world.overlap_s must be less than clip_s ({world.clip_s})")
        if recipe.stream_steps and recipe.sharded:
            raise ConfigError("recipe.stream_steps: weights that are sharded cannot stream; set it to 0")
        if recipe.data and bool(recipe.held_out) != bool(recipe.stream_steps):
            raise ConfigError("recipe: held_out, samples to stream on the way, and stream_steps go together")
        if recipe.world and recipe.held_out:
            raise ConfigError("recipe.held_out is for recipes with data; clips of the world have worlds")
        if "deepspeed" in recipe.trainer and recipe.vision and recipe.vision_rate != 1:
            raise ConfigError("recipe.vision_rate: DeepSpeed knows one learning rate for all; set it to 1.0")
        for name in _RESERVED:
            if name in recipe.trainer:
                raise ConfigError(f"trainer.{name} is set by the recipe's own fields")
        StreamConfig().replace(recipe.stream, "stream")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return recipe
