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

"""Builds a shape with random weights: what it says means nothing, what it costs is the real thing."""

from __future__ import annotations

from pathlib import Path

from svlm_core.bench.shapes import FRAMES_PER_PATCH, MERGE, PATCH_PX, Shape, WINDOW_PX
from svlm_core.errors import ModelError
from svlm_core.model.adapter import StreamModel
from svlm_core.model.load import EMBEDDED, load_model
from svlm_core.model.qwen_vl import QwenVL
from svlm_core.model.vision import Patchifier
import torch
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.initialization import no_init_weights

_STD = 0.02  # transformers' own initializer_range
_GIB = 2**30
_MEMINFO = Path("/proc/meminfo")


def build(shape: Shape, *, dtype: str = "float32", device: str = "cpu", seed: int = 0) -> StreamModel:
    """Build transformers' own Qwen2.5-VL of a geometry, with seeded random weights.

    Its tokenizer is the embedded checkpoint's, which has fewer tokens than the larger shapes' embeddings.

    Args:
        shape: the geometry.
        dtype: one of svlm_core.config.DTYPES.
        device: a torch device: "cpu", "cuda", "cuda:1".
        seed: of the weights.

    Raises:
        ModelError: the dtype or device is not available, or the weights do not fit into its memory.
    """
    embedded = load_model(EMBEDDED, dtype=dtype, device=device)
    check_memory(
        shape.parameters * embedded.dtype.itemsize,
        embedded.device,
        f"the {shape.parameters:,} weights of shape {shape.name} in {dtype}",
    )
    config = qwen_config(shape, embedded.tokenizer)
    with no_init_weights(), embedded.device:  # transformers would fill every matrix twice
        hf = Qwen2_5_VLForConditionalGeneration._from_config(
            config, dtype=embedded.dtype, attn_implementation="sdpa"
        )
    hf.tie_weights()
    generator = torch.Generator(embedded.device).manual_seed(seed)
    with torch.no_grad():
        for name, weights in hf.named_parameters():
            if weights.ndim > 1:
                weights.normal_(0, _STD, generator=generator)
            elif name.endswith("bias"):
                weights.zero_()  # norms are ones already
    return QwenVL(shape.name, hf, embedded.tokenizer, Patchifier(PATCH_PX, FRAMES_PER_PATCH, MERGE), {})


def check_memory(needed_bytes: int, device: torch.device, what: str) -> None:
    """Raise ModelError when `what` does not fit into the free memory of the device.

    Nothing is checked where the system does not tell how much is free.
    """
    free_bytes = _free_bytes(device)
    if free_bytes is not None and needed_bytes > free_bytes:
        raise ModelError(
            f"{what} need {needed_bytes / _GIB:.1f} GiB, {device} has {free_bytes / _GIB:.1f} GiB free; "
            "take a smaller --model, --dtype bfloat16 or smaller windows"
        )


def _free_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return None


def qwen_config(shape: Shape, tokenizer: PreTrainedTokenizerBase) -> Qwen2_5_VLConfig:
    """The shape as its config.json would have it."""
    vocabulary = tokenizer.get_vocab()
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.hidden,
            "intermediate_size": shape.ffn,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "max_position_embeddings": shape.max_positions,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": shape.rope_theta,
                "mrope_section": list(shape.mrope),
            },
            "bos_token_id": None,
            "eos_token_id": vocabulary["<|im_end|>"],
            "pad_token_id": None,
            "tie_word_embeddings": shape.tied,
        },
        vision_config={
            "depth": shape.vision_depth,
            "hidden_size": shape.vision_hidden,
            "num_heads": shape.vision_heads,
            "intermediate_size": shape.vision_ffn,
            "out_hidden_size": shape.hidden,
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": FRAMES_PER_PATCH,
            "tokens_per_second": 2,
            "window_size": WINDOW_PX,
            "fullatt_block_indexes": list(shape.vision_full),
        },
        image_token_id=vocabulary["<|image_pad|>"],
        video_token_id=vocabulary["<|video_pad|>"],
        vision_start_token_id=vocabulary["<|vision_start|>"],
        vision_end_token_id=vocabulary["<|vision_end|>"],
        tie_word_embeddings=shape.tied,
    )
