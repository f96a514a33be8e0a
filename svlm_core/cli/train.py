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

"""`svlm train`: a recipe goes in, a checkpoint comes out."""

from __future__ import annotations

import argparse
import importlib.util
import os
from pathlib import Path
import sys
from typing import Any

from svlm_core.config import read_yaml
from svlm_core.errors import ConfigError
from svlm_core.training.finetune_recipe import FinetuneRecipe, is_finetune, load_finetune_recipe
from svlm_core.training.recipe import load_recipe, Recipe


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "train",
        help="train a model from a recipe",
        description="Run a training recipe. Killed at any moment and started again with the same command, "
        "it goes on from its last checkpoint; finished stages are not repeated. The result: OUT/checkpoint.",
    )
    parser.add_argument("recipe", type=Path, help="YAML file, for example training/tiny_world.yaml")
    parser.add_argument("--out", type=Path, help="folder for checkpoints and the result")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="train nothing, and load no weights: print memory, tokens, operations and the first row as the "
        "model sees it (recipes with a base)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train; a recipe that names several processes is run by torchrun, each of which runs this verb again."""
    adapts = is_finetune(read_yaml(options.recipe))
    recipe = load_finetune_recipe(options.recipe) if adapts else load_recipe(options.recipe)
    if importlib.util.find_spec("accelerate") is None:
        raise ConfigError("training needs the package accelerate: pip install 'svlm_ros[train]'")
    if options.dry_run:
        return _dry_run(recipe)
    if options.out is None:
        raise ConfigError("--out is missing: the folder for checkpoints and the result")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {options.out}: cannot be made ({error.strerror})") from error
    import torch

    launched = torch.distributed.is_torchelastic_launched()
    if isinstance(recipe, Recipe) and recipe.processes > 1 and not launched:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={recipe.processes}"]
        verb = ["-m", "svlm_core.cli", "train", str(options.recipe), "--out", str(options.out)]
        os.execv(sys.executable, [sys.executable, *launcher, *verb])
    torch.set_num_threads(1 if launched else torch.get_num_threads())
    target = _train(recipe, options.out)
    if os.environ.get("RANK", "0") == "0":
        print(f"the checkpoint is in {target}; try: svlm stream world://1000007?seconds=60 --model {target}")
    return 0


def _train(recipe: Recipe | FinetuneRecipe, out: Path) -> Path:
    if isinstance(recipe, Recipe):
        from svlm_core.training.sft import train

        return train(recipe, out)
    from svlm_core.training.finetune import Finetuning

    return Finetuning.load(recipe).run(out)


def _dry_run(recipe: Recipe | FinetuneRecipe) -> int:
    if isinstance(recipe, Recipe):
        raise ConfigError("--dry-run is for recipes with a base; this one makes its model from nothing")
    from svlm_core.training.finetune import Finetuning

    for line in Finetuning.sketch(recipe).describe():
        print(line)
    return 0
