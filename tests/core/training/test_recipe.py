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

import pytest
from svlm_core.errors import ConfigError
from svlm_core.training.recipe import load_recipe
import yaml

SHIPPED = Path(__file__).parents[3] / "training" / "tiny_world.yaml"


@pytest.fixture
def recipe() -> dict[str, Any]:
    data = yaml.safe_load(SHIPPED.read_text())
    assert isinstance(data, dict)
    return data


def refusal(data: Any, tmp_path: Path) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_the_shipped_recipe_is_read_whole(recipe: dict[str, Any]) -> None:
    loaded = load_recipe(SHIPPED)
    assert [stage.name for stage in loaded.stages] == [stage["name"] for stage in recipe["stages"]]
    assert loaded.model.hidden_size == recipe["model"]["hidden_size"]
    assert loaded.stream == recipe["stream"]
    assert loaded.stream_config.vision_window_s == recipe["stream"]["vision_window_s"]
    for stage, written in zip(loaded.stages, recipe["stages"], strict=True):
        assert [feed.kind for feed in stage.feeds] == [feed["kind"] for feed in written["feeds"]]
        assert stage.learning_rate == written["learning_rate"]
        for name, weight in written.get("weights", {}).items():
            assert getattr(stage.weights, name) == weight


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"porcesses": 2},
            "recipe: unknown field 'porcesses'; the fields are export, log_steps, model, processes",
        ),
        ({"processes": 0}, "recipe.processes must be above 0, got 0"),
        ({"seed": "one"}, "recipe.seed must be of type int, got 'one'"),
        ({"model": {"hiden_size": 64}}, "model: unknown field 'hiden_size'; the fields are hidden_size"),
        ({"model": {"hidden_size": 130}}, "model.hidden_size must be a multiple of num_attention_heads"),
        ({"model": {"hidden_size": 32}}, "model.hidden_size is too small: "),
        ({"stages": []}, "stages must be a list that is not empty"),
        ({"stages": {"name": "vision"}}, "stages must be a list that is not empty"),
        ({"stream": None}, "stream must be a mapping that is not empty"),
        ({"stream": {"fsp": 2.0}}, "stream: unknown field 'fsp'; did you mean 'fps'?"),
        ({"stream": {"fps": 0.0}}, "stream: fps must"),
    ],
)
def test_a_wrong_field_of_the_recipe_is_named(
    change: dict[str, Any], message: str, recipe: dict[str, Any], tmp_path: Path
) -> None:
    assert refusal({**recipe, **change}, tmp_path).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stepz": 3}, "stages[1]: unknown field 'stepz'"),
        ({"steps": 2.5}, "stages[1].steps must be of type int, got 2.5"),
        ({"steps": True}, "stages[1].steps must be of type int, got True"),
        ({"pixels": 1}, "stages[1].pixels must be of type bool, got 1"),
        ({"steps": -3}, "stages[1].steps must be above 0, got -3"),
        ({"warmup_steps": -3}, "stages[1].warmup_steps must not be negative, got -3"),
        (
            {"learning_rate": "2e-3"},
            "stages[1].learning_rate must be of type float, got '2e-3' (YAML reads 2e-3 as text",
        ),
        ({"weights": {"wrod": 1.0}}, "stages[1].weights: unknown field 'wrod'"),
        ({"weights": [1.0]}, "stages[1].weights must be a mapping, got [1.0]"),
        ({"feeds": []}, "feeds must be a list that is not empty"),
        ({"feeds": [{"kind": "drill"}]}, "stages[1].feeds: the field 'size' is missing"),
        ({"feeds": [{"kind": "dril", "size": 2}]}, "stages[1].feeds: kind must be one of scene, repeat"),
        (
            {"feeds": [{"kind": "stream", "size": 2, "chunk_s": 8, "overlap_s": 8}]},
            "stages[1].feeds: overlap_s (8) must be less than chunk_s (8)",
        ),
        (
            {"feeds": [{"kind": "drill", "size": 2, "stop": 0.5}]},
            "stages[1].feeds: no feed from 0.5 of the stage on",
        ),
        (
            {"feeds": [{"kind": "drill", "size": 2, "start": 0.5}]},
            "stages[1].feeds: no feed from 0 of the stage on",
        ),
    ],
)
def test_a_wrong_field_of_a_stage_is_named_with_the_stage(
    change: dict[str, Any], message: str, recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe["stages"][1].update(change)
    assert refusal(recipe, tmp_path).startswith(message)


@pytest.mark.parametrize("name", ["name", "steps", "learning_rate", "feeds"])
def test_a_missing_field_is_named(name: str, recipe: dict[str, Any], tmp_path: Path) -> None:
    del recipe["stages"][0][name]
    message = refusal(recipe, tmp_path)
    assert name in message
    assert "missing" in message or "not empty" in message


def test_no_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read \(No such file"):
        load_recipe(tmp_path / "none.yaml")
