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

"""The families svlm can stream, and why others cannot be: config.json decides, before weights are loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svlm_core.errors import ModelError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.qwen3_vl import Qwen3VL
from svlm_core.model.qwen_vl import QwenVL
from svlm_core.model.smol_vlm import SmolVLM
from svlm_core.model.squarer import load_squarer
from svlm_core.model.vision import CENTRED, load_patchifier
from transformers import (
    PreTrainedConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
    SmolVLMForConditionalGeneration,
)


@dataclass(frozen=True)
class Family:
    """What makes a stream model of a checkpoint.

    Attributes:
        hf: transformers' class.
        adapter: (name, loaded hf, tokenizer, what `load_frames` gave, stream defaults) -> the model.
        load_frames: (checkpoint folder, config) -> how the checkpoint wants its frames.
    """

    hf: Any
    adapter: Callable[..., StreamModel]
    load_frames: Callable[[Path, Any], Any]


FAMILIES = {  # by model_type
    "qwen2_vl": Family(
        Qwen2VLForConditionalGeneration,
        QwenVL,
        lambda folder, config: load_patchifier(folder, config.vision_config),
    ),
    "qwen2_5_vl": Family(
        Qwen2_5_VLForConditionalGeneration,
        QwenVL,
        lambda folder, config: load_patchifier(folder, config.vision_config),
    ),
    "qwen3_vl": Family(
        Qwen3VLForConditionalGeneration,
        Qwen3VL,
        lambda folder, config: load_patchifier(folder, config.vision_config, CENTRED, CENTRED),
    ),
    "smolvlm": Family(SmolVLMForConditionalGeneration, SmolVLM, load_squarer),
}

_STATE = {"linear_attention", "hybrid", "conv", "mamba", "recurrent"}  # layer types that keep a state
_NEAR = {"sliding_attention", "chunked_attention"}  # layer types that see the last tokens only
_GROWING = {"dynamic", "longrope"}  # RoPE types whose frequencies depend on the length


def find_family(path: Path, config: PreTrainedConfig) -> Family:
    """The family of a checkpoint.

    Args:
        path: its config.json, for messages.
        config: what transformers made of it.

    Raises:
        ModelError: it cannot be streamed, and why.
    """
    if reason := why_not(config):
        raise ModelError(f"{path}: {config.model_type} cannot be streamed: {reason}")
    if config.model_type not in FAMILIES:
        raise unknown_family(path, config.model_type)
    return FAMILIES[config.model_type]


def unknown_family(path: Path, model_type: object) -> ModelError:
    """The error for a model_type that is none of FAMILIES."""
    return ModelError(
        f"{path}: model_type {model_type!r} is not a family svlm knows: supported {', '.join(FAMILIES)}"
    )


def why_not(config: PreTrainedConfig) -> str | None:
    """What about a model's text decoder keeps svlm from streaming it; None if nothing does.

    Streaming takes single tokens out of the cache and moves others to new positions. So every layer must keep
    a key for each token, every later token must see it, and its position must be a rotation of it.
    """
    text = config.get_text_config(decoder=True)
    kinds = set(getattr(text, "layer_types", None) or ())
    if state := sorted(kinds & _STATE):
        return (
            f"its {state[0]} layers fold the whole past into one state, out of which nothing can be taken "
            "again, so no old frame can leave"
        )
    if kinds & _NEAR or (not kinds and getattr(text, "sliding_window", None)):
        return (
            "some layers attend through a sliding window or within chunks of the sequence, which svlm's "
            "cache, whose tokens move, cannot do exactly; if the checkpoint was trained without (Qwen2-VL: "
            "use_sliding_window), switch that off in config.json"
        )
    rope = getattr(text, "rope_parameters", None)
    if not rope or getattr(text, "alibi", False):
        return (
            "it has no rotary positions (learned ones, ALiBi or none), so what stays in the cache cannot be "
            "moved when something before it leaves"
        )
    if rope.get("rope_type") in _GROWING:
        return (
            f"its rope_type {rope['rope_type']} changes the rotation with the length of the sequence, so "
            "cached keys would have to be computed anew; use a fixed one (default, linear, yarn, llama3)"
        )
    if config.model_type == "smolvlm" and (text.model_type, text.hidden_act) != ("llama", "silu"):
        return (
            f"its decoder is of the type {text.model_type} with {text.hidden_act}; svlm runs llama with silu"
        )
    return None
