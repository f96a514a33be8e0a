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

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from svlm_core.model.qwen_vl import QwenVL
from svlm_core.training.batches import StageBatches
from svlm_core.training.recipe import Feed, load_recipe, Recipe
from svlm_core.world import FIRST_EVALUATION_SEED
import torch
import yaml

STREAM_FEED = {"kind": "stream", "size": 2, "chunk_s": 4, "overlap_s": 2}
STAGES: list[dict[str, Any]] = [
    {
        "name": "eyes",
        "language": False,
        "vision": True,
        "pixels": True,
        "feeds": [{"kind": "scene", "size": 5}],
    },
    {"name": "text", "feeds": [{"kind": "drill", "size": 2, "stop": 0.5}, {**STREAM_FEED, "start": 0.5}]},
    {"name": "joint", "vision": True, "pixels": True, "feeds": [STREAM_FEED]},
]
EYES, TEXT, JOINT = range(3)


@pytest.fixture(scope="module")
def recipe(world_model: QwenVL, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path: Path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    stages = [{"steps": 10, "learning_rate": 0.001, **stage} for stage in STAGES]
    path.write_text(yaml.safe_dump({"processes": 2, "stream": world_model.stream_defaults, "stages": stages}))
    return load_recipe(path)


@pytest.mark.parametrize("stage", [EYES, TEXT, JOINT])
def test_a_batch_is_the_same_each_time_whatever_was_made_before(
    stage: int, recipe: Recipe, world_model: QwenVL
) -> None:
    batches = StageBatches(recipe, stage, world_model)
    first, last = batches[0], batches[17]
    again = StageBatches(recipe, stage, world_model)[17]
    assert again.keys() == last.keys()
    for name in last:
        torch.testing.assert_close(again[name], last[name], rtol=0, atol=0)
    assert any(not torch.equal(first[name], last[name]) for name in first.keys() & last.keys())


def test_there_is_a_batch_for_every_step_of_every_process(recipe: Recipe, world_model: QwenVL) -> None:
    assert len(StageBatches(recipe, TEXT, world_model)) == 10 * 2


def test_feeds_begin_and_end_where_the_recipe_says(recipe: Recipe, world_model: QwenVL) -> None:
    batches = StageBatches(recipe, TEXT, world_model)
    assert ["features" in batches[i] for i in range(0, 20, 3)] == [i >= 10 for i in range(0, 20, 3)]


def test_shapes_are_those_documented(recipe: Recipe, world_model: QwenVL) -> None:
    hidden, patch_values = world_model.hidden_size, 3 * 2 * 14 * 14
    eyes = StageBatches(recipe, EYES, world_model)[0]
    assert {name: list(tensor.shape) for name, tensor in eyes.items()} == {
        "features": [5 * 9, hidden],
        "pixels": [5 * 36, patch_values],
    }
    joint = StageBatches(recipe, JOINT, world_model)[0]
    rows, length = joint["input_ids"].shape
    seconds = 2 * 4
    assert rows == 2
    assert joint["positions"].shape == (3, rows, length)
    assert joint["weights"].shape == joint["tags"].shape == (rows, length)
    assert joint["features"].shape == (seconds * 9, hidden)
    assert joint["pixels"].shape == (seconds * 36, patch_values)
    assert int((joint["input_ids"] == world_model.video_token_id).sum()) == seconds * 9
    padded = joint["input_ids"] == world_model.tokenizer.pad_token_id
    assert padded.any(), "two samples of one length: choose another batch"
    assert not joint["weights"][padded].any()
    assert not joint["weights"][joint["input_ids"] == world_model.video_token_id].any()


def test_training_seeds_never_reach_those_of_evaluation(recipe: Recipe, world_model: QwenVL) -> None:
    batches = StageBatches(recipe, JOINT, world_model)
    feed = Feed("stream", 1, chunk_s=4, overlap_s=2)
    drawn = [batches._sample(np.random.default_rng(i), feed).seed for i in range(60)]
    assert min(seed or 0 for seed in drawn) >= 0
    assert 0.9 * FIRST_EVALUATION_SEED < max(seed or 0 for seed in drawn) < FIRST_EVALUATION_SEED
    assert FIRST_EVALUATION_SEED == 1_000_000
