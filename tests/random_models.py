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

"""Small random checkpoints of every family, written to disk as their users would have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from svlm_core.model.dialect import Dialect, QWEN, QWEN3, SMOL
from tokenizers import AddedToken, decoders, models, pre_tokenizers, Tokenizer
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedTokenizerFast

DIALECTS = {"qwen2_vl": QWEN, "qwen2_5_vl": QWEN, "qwen3_vl": QWEN3, "smolvlm": SMOL}
FAMILIES = tuple(DIALECTS)
VIDEO, IMAGE = QWEN.visual_token, "<|image_pad|>"
VOCAB = 272
MROPE = {"qwen2_vl": [2, 3, 3], "qwen2_5_vl": [2, 3, 3], "qwen3_vl": [4, 2, 2]}
TOWERS: dict[str, dict[str, Any]] = {
    "qwen2_vl": {"patch_size": 14, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2},
    "qwen2_5_vl": {
        **{"patch_size": 14, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32},
        **{"window_size": 56, "fullatt_block_indexes": [1], "tokens_per_second": 2},
    },
    "qwen3_vl": {
        **{"patch_size": 16, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32},
        **{"depth": 3, "deepstack_visual_indexes": [0, 2], "num_position_embeddings": 16},
    },
    "smolvlm": {
        **{"image_size": 56, "patch_size": 14, "hidden_size": 32, "intermediate_size": 64},
        **{"num_hidden_layers": 2, "num_attention_heads": 2},
    },
}


def write_random_model(folder: Path, family: str = "qwen2_5_vl", **text: Any) -> Path:
    """Write a checkpoint of hidden size 32 with two layers and a byte-level tokenizer.

    Nothing is left at one or zero: norms and biases are random, too.

    Args:
        folder: is created.
        family: one of FAMILIES.
        **text: replaces fields of the text config.

    Returns:
        The folder.
    """
    dialect = DIALECTS[family]
    tokenizer = byte_tokenizer(dialect)
    ids = tokenizer.get_vocab()
    text_config: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "intermediate_size": 64,
        "vocab_size": VOCAB,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": ids[dialect.end_of_turn],
        "tie_word_embeddings": True,
    }
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 10000.0}
    common: dict[str, Any] = {"tie_word_embeddings": True, "image_token_id": ids.get(IMAGE)}
    if family == "smolvlm":
        text_config |= {"model_type": "llama", "rope_parameters": rope}
        common |= {"image_token_id": ids[dialect.visual_token], "scale_factor": 2}
        tower = TOWERS[family]
    else:
        text_config["rope_parameters"] = {**rope, "mrope_section": MROPE[family]}
        common |= {
            "video_token_id": ids[VIDEO],
            "vision_start_token_id": ids["<|vision_start|>"],
            "vision_end_token_id": ids["<|vision_end|>"],
        }
        squares = {"depth": 2, "num_heads": 2, "spatial_merge_size": 2, "temporal_patch_size": 2}
        tower = squares | TOWERS[family]
    config = AutoConfig.for_model(family, text_config=text_config | text, vision_config=tower, **common)
    torch.manual_seed(0)
    model: Any = AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def byte_tokenizer(dialect: Dialect = QWEN) -> PreTrainedTokenizerFast:
    """One token for each byte, and the special tokens of a dialect."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    others = (IMAGE,) if dialect.visual_token == VIDEO else ()
    special = dict.fromkeys(("<|endoftext|>", *dialect.special_tokens[:-1], *others, dialect.visual_token))
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=dialect.end_of_turn, pad_token="<|endoftext|>"
    )
