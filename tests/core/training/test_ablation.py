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

"""A recipe without each ingredient: what changes, and the whole way through the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from svlm_core.cli.main import main
from svlm_core.errors import ConfigError
from svlm_core.model.qwen_vl import QwenVL
from svlm_core.training.ablation import STRATEGY, variants, write_recipe
from svlm_core.training.batches import StageBatches
from svlm_core.training.recipe import load_recipe, Recipe
import yaml

REPOSITORY = Path(__file__).parents[3]
SMALL: dict[str, Any] = {
    "processes": 1,
    "model": {
        "hidden_size": 96,
        "num_hidden_layers": 2,
        "intermediate_size": 32,
        "vision_hidden_size": 32,
        "vision_depth": 1,
        "vision_num_heads": 2,
        "vision_intermediate_size": 32,
    },
    "stream": {"min_visual_tokens": 9, "max_visual_tokens": 9, "time_text": False, "max_new_tokens": 2},
    "stages": [
        {"name": "words", "steps": 2, "learning_rate": 0.001, "feeds": [{"kind": "drill", "size": 1}]},
        {
            "name": "stream",
            "steps": 2,
            "learning_rate": 0.001,
            "feeds": [{"kind": "stream", "size": 2, "chunk_s": 4, "overlap_s": 2}],
        },
        {"name": "last", "steps": 2, "learning_rate": 0.001, "feeds": [{"kind": "rehearsal", "size": 1}]},
    ],
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


def test_each_variant_lacks_one_thing(recipe: Path) -> None:
    found = variants(load_recipe(recipe))
    feeds = {name: each.stages[1].feeds[0] for name, each in found.items()}
    shown = {n: (f.size, f.chunk_s, f.overlap_s, f.previous_text) for n, f in feeds.items()}
    assert shown == {
        STRATEGY: (2, 4, 2, True),
        "no overlap": (2, 4, 0, True),
        "no previous text": (2, 4, 2, False),
        "single clips": (8, 1, 0, False),
    }
    assert all([stage.name for stage in each.stages] == ["words", "stream"] for each in found.values())


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for name, each in variants(load_recipe(REPOSITORY / "training" / "tiny_world.yaml")).items():
        write_recipe(each, tmp_path / "r.yaml")
        assert load_recipe(tmp_path / "r.yaml") == each, name


def test_samples_without_previous_text_have_none(recipe: Path, world_model: QwenVL) -> None:
    head: dict[str, set[tuple[int, ...]]] = {}
    for name, each in variants(load_recipe(recipe)).items():
        batches = StageBatches(each, 1, world_model)
        rows = [batches[i]["input_ids"] for i in range(2)]
        head[name] = {tuple(row[: _head(each, world_model)].tolist()) for batch in rows for row in batch}
    assert len(head["no previous text"]) == len(head["single clips"]) == 1
    assert len(head[STRATEGY]) > 1


def _head(recipe: Recipe, model: QwenVL) -> int:
    """Tokens up to where the previous text begins, and two more."""
    opening = model.tokenizer.encode("<|im_start|>previous text\n", add_special_tokens=False)
    ids = StageBatches(recipe, 1, model)[0]["input_ids"][0].tolist()
    start = next(i for i in range(len(ids)) if ids[i : i + len(opening)] == opening)
    return start + len(opening) + 2


def test_a_recipe_without_streams_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "stages": SMALL["stages"][:1]}))
    assert main(["ablate", str(path), "--out", str(tmp_path / "out")]) == 1
    assert "no feed of kind stream" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        variants(load_recipe(path))


@pytest.mark.slow
def test_the_whole_way(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["ablate", str(recipe), "--out", str(tmp_path / "out"), "--seconds", "20"]
    for _ in range(2):  # the second finds everything done
        assert main(command) == 0
        table = capsys.readouterr().out.splitlines()
        assert [line.split("  ")[0] for line in table[1:]] == [
            STRATEGY,
            "no overlap",
            "no previous text",
            "single clips",
        ]
