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

"""`svlm ablate`: a recipe trained with and without each ingredient, each result streamed for hours."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import subprocess
import sys
from typing import Any

from svlm_core.errors import ModelError
from svlm_core.training.ablation import share_stages, STRATEGY, variants, write_recipe
from svlm_core.training.recipe import load_recipe
from svlm_core.world import FIRST_EVALUATION_SEED


def add_parser(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "ablate",
        help="train a recipe without each ingredient of the strategy and stream each result",
        description="Train a recipe of the synthetic world as it is, without overlap, without previous text, "
        "and on single clips; stream an unseen world with each for hours; print what each ingredient buys. "
        "Takes as long as the recipe four times. Started again with the same command, it goes on.",
    )
    parser.add_argument("recipe", type=Path, help="YAML file, for example training/tiny_world.yaml")
    parser.add_argument("--out", type=Path, required=True, help="folder for the models and figures")
    parser.add_argument("--seconds", type=int, default=7200, help="of each stream (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=FIRST_EVALUATION_SEED, help="of the world (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train and stream each variant, in processes of their own; print the table."""
    from svlm_core.evaluation.side_by_side import runs_table  # needs torch

    runs: dict[str, Any] = {}
    for name, recipe in variants(load_recipe(options.recipe)).items():
        out = options.out / name.replace(" ", "-")
        out.mkdir(parents=True, exist_ok=True)
        write_recipe(recipe, out / "recipe.yaml")
        share_stages(recipe, options.out / STRATEGY.replace(" ", "-"), out)
        if not (out / "checkpoint" / "config.json").exists():
            _svlm("train", str(out / "recipe.yaml"), "--out", str(out))
        figures = out / f"world-{options.seed}-{options.seconds}.json"
        if not figures.exists():
            stream = ["--model", str(out / "checkpoint"), "--seed", str(options.seed)]
            finished = figures.with_suffix(".partial")
            _svlm("eval", "world", *stream, "--seconds", str(options.seconds), "--json", str(finished))
            finished.replace(figures)
        runs[name] = json.loads(figures.read_text())

    print(runs_table(runs))
    return 0


def _svlm(*arguments: str) -> None:
    """Run a verb; its progress is shown."""
    print(f"svlm {' '.join(arguments)}", file=sys.stderr)
    command = [sys.executable, "-m", "svlm_core.cli", *arguments]
    if code := subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        raise ModelError(f"svlm {arguments[0]} ended with {code}; the same command goes on from there")
