"""Small random Qwen-VL checkpoints, written to disk as their users would have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
)
VIDEO = "<|video_pad|>"
VOCAB = 272
FAMILIES = ("qwen2_vl", "qwen2_5_vl")


def write_random_qwen(folder: Path, family: str = "qwen2_5_vl", **text: Any) -> Path:
    """Write a checkpoint of hidden size 32 with two layers and a byte-level tokenizer.

    Args:
        folder: is created.
        family: one of FAMILIES.
        **text: replaces fields of the text config.

    Returns:
        The folder.
    """
    tokenizer = byte_tokenizer()
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in (*SPECIAL, VIDEO)}
    text_config: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 64,
        "vocab_size": VOCAB,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
        **text,
    }
    vision_config: dict[str, Any] = {
        "depth": 2,
        "num_heads": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    common: dict[str, Any] = {
        "text_config": text_config,
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids[VIDEO],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": True,
    }
    torch.manual_seed(0)
    model: Any
    if family == "qwen2_5_vl":
        window = {"window_size": 56, "fullatt_block_indexes": [1], "tokens_per_second": 2}
        sizes = {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 32}
        config = Qwen2_5_VLConfig(vision_config={**vision_config, **window, **sizes}, **common)
        model = Qwen2_5_VLForConditionalGeneration(config)
    else:
        sizes = {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}
        model = Qwen2VLForConditionalGeneration(
            Qwen2VLConfig(vision_config={**vision_config, **sizes}, **common)
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each byte, and Qwen's special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in (*SPECIAL, VIDEO)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
