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

"""A small Qwen2.5-VL made from nothing, by transformers' own class."""

from __future__ import annotations

from svlm_core.training.recipe import ModelShape
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

PATCH_PX, MERGE, FRAMES_PER_PATCH = 14, 2, 2
_SHARP = (40.0, 30.0, 20.0, 15.0)  # squared bias per rotary frequency, fastest first: looks at one place
_BROAD = (2.0, 12.0, 20.0, 20.0)  # looks at a neighbourhood


def make_model(
    shape: ModelShape, tokenizer: PreTrainedTokenizerBase, max_positions: int, seed: int
) -> Qwen2_5_VLForConditionalGeneration:
    """Build the model with seeded random weights, float32, and heads that begin by looking back."""
    vocabulary = tokenizer.get_vocab()
    half = shape.hidden_size // shape.num_attention_heads // 2
    spatial = 3 * half // 8  # the 1/4 : 3/8 : 3/8 split of the released models' M-RoPE
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": shape.hidden_size,
            "intermediate_size": shape.intermediate_size,
            "num_hidden_layers": shape.num_hidden_layers,
            "num_attention_heads": shape.num_attention_heads,
            "num_key_value_heads": shape.num_key_value_heads,
            "max_position_embeddings": max_positions,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": shape.rope_theta,
                "mrope_section": [half - 2 * spatial, spatial, spatial],
            },
            "bos_token_id": None,
            "eos_token_id": vocabulary["<|im_end|>"],
            "pad_token_id": vocabulary["<|endoftext|>"],
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": shape.vision_depth,
            "hidden_size": shape.vision_hidden_size,
            "num_heads": shape.vision_num_heads,
            "intermediate_size": shape.vision_intermediate_size,
            "out_hidden_size": shape.hidden_size,
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": FRAMES_PER_PATCH,
            "tokens_per_second": 2,
            "window_size": 112,
            "fullatt_block_indexes": list(range(shape.vision_depth)),
        },
        image_token_id=vocabulary["<|image_pad|>"],
        video_token_id=vocabulary["<|video_pad|>"],
        vision_start_token_id=vocabulary["<|vision_start|>"],
        vision_end_token_id=vocabulary["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    _look_back(model, shape)
    return model


@torch.no_grad()
def _look_back(model: Qwen2_5_VLForConditionalGeneration, shape: ModelShape) -> None:
    """Let some heads of the first layers begin by attending a given distance back.

    Qwen2.5's query and key projections have biases, and `b_q^T R(distance) b_k` is a score of the relative
    position alone. Copying needs heads that see the token before (induction); from random weights they are
    found late or never, so layer 0 starts with one head looking one token back and one looking two back.
    One head in each of the first two layers looks broadly at the visual tokens of the current second.
    """
    head_dim = shape.hidden_size // shape.num_attention_heads
    group = shape.num_attention_heads // shape.num_key_value_heads
    frequencies = shape.rope_theta ** (-torch.arange(head_dim // 2) / (head_dim / 2))

    def look(layer: int, head: int, distance: float, strength: tuple[float, ...]) -> None:
        attention = model.model.language_model.layers[layer].self_attn
        amplitude = torch.zeros(head_dim // 2)
        amplitude[: len(strength)] = torch.tensor(strength).sqrt()
        angle = -distance * frequencies
        query: Tensor = attention.q_proj.bias.view(-1, head_dim)
        key: Tensor = attention.k_proj.bias.view(-1, head_dim)
        key[head // group] = torch.cat([amplitude, torch.zeros_like(amplitude)])
        query[head] = torch.cat([amplitude * torch.cos(angle), amplitude * torch.sin(angle)])

    look(0, 0, 1.0, _SHARP)
    look(0, 1, 2.0, _SHARP)
    vision_distance = 8.7  # from the assistant's opening to the middle of the second's visual tokens
    look(0, 2, vision_distance, _BROAD)
    look(1, 2, vision_distance, _BROAD)
