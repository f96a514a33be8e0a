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

"""Which checkpoints are streamed, and what is said about the others; from config.json alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from svlm_core.errors import ModelError
from svlm_core.model.families import FAMILIES, why_not
from svlm_core.model.load import load_model
from transformers import AutoConfig

STATE = "fold the whole past into one state"
WINDOW = "some layers attend through a sliding window or within chunks"
NO_ROTATION = "it has no rotary positions"
KNOWN = "is not a family svlm knows: supported qwen2_vl, qwen2_5_vl, qwen3_vl, smolvlm"


def refusal(folder: Path, model_type: str, **fields: Any) -> str:
    """What loading a folder with nothing but this model's config.json says."""
    AutoConfig.for_model(model_type, **fields).save_pretrained(folder)
    with pytest.raises(ModelError) as caught:
        load_model(str(folder))
    message = str(caught.value)
    assert message.startswith(f"{folder / 'config.json'}: ") and "\n" not in message
    return message


@pytest.mark.parametrize(
    ("model_type", "fields", "reason"),
    [
        ("mamba", {}, f"mamba cannot be streamed: its linear_attention layers {STATE}"),
        ("qwen3_next", {}, f"qwen3_next cannot be streamed: its linear_attention layers {STATE}"),
        ("qwen3_5", {}, STATE),
        ("recurrent_gemma", {}, STATE),
        (
            "lfm2_vl",
            {"text_config": {"model_type": "lfm2", "full_attn_idxs": [2]}},
            f"its conv layers {STATE}",
        ),
        ("falcon_h1", {}, f"its hybrid layers {STATE}"),
        ("gemma3", {}, f"gemma3 cannot be streamed: {WINDOW}"),
        ("llama4", {}, WINDOW),
        ("mistral", {}, WINDOW),
        ("blip-2", {}, f"blip-2 cannot be streamed: {NO_ROTATION}"),
        ("mpt", {}, NO_ROTATION),
        ("falcon", {"alibi": True}, NO_ROTATION),
        ("llava", {}, f"model_type 'llava' {KNOWN}"),
        ("qwen3_vl_moe", {}, f"model_type 'qwen3_vl_moe' {KNOWN}"),
    ],
)
def test_a_family_that_cannot_be_streamed_is_told_why(
    tmp_path: Path, model_type: str, fields: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(tmp_path, model_type, **fields)


def rope(kind: str, **more: object) -> dict[str, Any]:
    return {"rope_type": kind, "rope_theta": 10000.0, "original_max_position_embeddings": 2048, **more}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "parameters",
    [
        rope("dynamic", factor=4.0),
        rope("longrope", factor=4.0, short_factor=[1.0] * 64, long_factor=[2.0] * 64),
    ],
    ids=["dynamic", "longrope"],
)
def test_rotations_that_change_with_the_length_are_refused(
    tmp_path: Path, family: str, parameters: dict[str, Any]
) -> None:
    text = {"rope_parameters": parameters} | ({"model_type": "llama"} if family == "smolvlm" else {})
    message = refusal(tmp_path, family, text_config=text)
    assert f"its rope_type {parameters['rope_type']} changes the rotation with the length" in message


@pytest.mark.parametrize("parameters", [rope("yarn", factor=4.0), rope("linear", factor=2.0)])
def test_fixed_rotations_are_not(parameters: dict[str, Any]) -> None:
    config = AutoConfig.for_model(
        "smolvlm", text_config={"model_type": "llama", "rope_parameters": parameters}
    )
    assert why_not(config) is None


def test_a_sliding_window_in_a_known_family_is_refused(tmp_path: Path) -> None:
    text = {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 1}
    assert "use_sliding_window), switch that off in config.json" in refusal(
        tmp_path, "qwen2_5_vl", text_config=text
    )


def test_a_decoder_that_is_not_computed_here_is_refused(tmp_path: Path) -> None:
    assert "its decoder is of the type gemma with" in refusal(
        tmp_path, "smolvlm", text_config={"model_type": "gemma"}
    )
    assert "of the type llama with gelu" in refusal(
        tmp_path, "smolvlm", text_config={"model_type": "llama", "hidden_act": "gelu"}
    )


@pytest.mark.parametrize("model_type", ["mine", None, 7, ["qwen2_vl"]])
def test_a_model_type_nobody_knows_is_refused_with_the_known_ones(tmp_path: Path, model_type: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(ModelError) as caught:
        load_model(str(tmp_path))
    assert f"model_type {model_type!r} {KNOWN}" in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_known_family_passes_as_transformers_configures_it(family: str) -> None:
    assert why_not(AutoConfig.for_model(family)) is None
