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

"""A recipe as transformers' TrainingArguments; what this machine lacks for it is said at once."""

from __future__ import annotations

from importlib.util import find_spec
import os
from pathlib import Path
from typing import Any

from svlm_core.errors import ConfigError, MissingPackageError
from svlm_core.training.finetune_recipe import FinetuneRecipe
import torch
from transformers import TrainingArguments

_LOGGERS = {"tensorboard": "tensorboard", "wandb": "wandb"}  # name for report_to -> package


def check_machine(recipe: FinetuneRecipe) -> None:
    """Make sure that the recipe can run here.

    Raises:
        ConfigError: it needs GPUs, or its rows cannot be shared by the processes.
        MissingPackageError: says what to install.
    """
    cuda, trainer = torch.cuda.is_available(), recipe.trainer
    if trainer.get("fsdp") and not cuda:
        raise ConfigError("trainer.fsdp shards over GPUs, and none is here; leave it out: DDP is the rest")
    if trainer.get("use_liger_kernel"):
        if not cuda:
            raise ConfigError("trainer.use_liger_kernel: Liger's kernels run on GPUs, and none is here")
        _need("trainer.use_liger_kernel", "liger_kernel", "liger")
    if trainer.get("deepspeed"):
        _need("trainer.deepspeed", "deepspeed", "deepspeed")
    for name in loggers(recipe):
        if name not in _LOGGERS:
            raise ConfigError(f"trainer.report_to: {name!r} is not one of {', '.join(_LOGGERS)}")
        _need(f"trainer.report_to {name}", _LOGGERS[name], "log")
    processes = process_count()
    if recipe.rows_per_step % processes:
        raise ConfigError(f"recipe.rows_per_step must be a multiple of the {processes} processes")


def loggers(recipe: FinetuneRecipe) -> list[str]:
    """Where the figures go beside the terminal."""
    wanted = recipe.trainer.get("report_to", [])
    return [wanted] if isinstance(wanted, str) else list(wanted)


def process_count() -> int:
    """Data-parallel processes, by torchrun's and accelerate's count."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def training_arguments(recipe: FinetuneRecipe, out: Path, steps: int) -> TrainingArguments:
    """The arguments.

    Args:
        recipe: what is to be done.
        out: folder for what is saved.
        steps: optimiser steps.

    Raises:
        ConfigError: a field of `trainer` is wrong.
    """
    cuda, processes = torch.cuda.is_available(), process_count()
    own: dict[str, Any] = {
        "output_dir": str(out),
        "max_steps": steps,
        "per_device_train_batch_size": 1,  # an item of Rows is a whole batch
        "gradient_accumulation_steps": recipe.rows_per_step // processes,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": recipe.warmup_steps,
        "max_grad_norm": 1.0,
        "logging_steps": recipe.log_steps,
        "save_steps": recipe.save_steps,
        "save_total_limit": 2,
        "seed": recipe.seed,
        "bf16": recipe.dtype == "bfloat16" and cuda,
        "use_cpu": not cuda,
        "ddp_backend": "gloo" if processes > 1 and not cuda else None,
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": cuda,
        "remove_unused_columns": False,
        "report_to": [],
        "run_name": out.name,
    }
    given = {name: value for name, value in recipe.trainer.items() if name != "use_liger_kernel"}
    try:
        return TrainingArguments(**{**own, **given})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"trainer: {error}") from None


def _need(what: str, package: str, extra: str) -> None:
    if find_spec(package) is None:
        raise MissingPackageError(f"{what} needs the package {package}: pip install 'svlm_ros[{extra}]'")
