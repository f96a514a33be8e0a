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

"""Write the XS test checkpoint: a tiny random Qwen2.5-VL, each weight made from its tensor's name and shape.

Usage: python make_xs.py OUT_DIR
It needs numpy only and writes config.json, generation_config.json and model.safetensors.

Only integer arithmetic on PCG64's raw 64-bit stream and IEEE double multiply/divide are used (no numpy
Generator distribution, whose streams numpy does not promise to keep), so the file is the same everywhere.
"""

import hashlib
import json
import math
import os
import sys

import numpy as np

HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCAB = 128, 2, 2, 1, 64, 256, 151936
V_DEPTH, V_HIDDEN, V_HEADS, V_FFN = 2, 64, 2, 128
PATCH, T_PATCH, MERGE = 14, 2, 2

CONFIG = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "model_type": "qwen2_5_vl",
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "text_config": {
        "model_type": "qwen2_5_vl_text",
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "intermediate_size": FFN,
        "vocab_size": VOCAB,
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "max_position_embeddings": 128000,
        "rope_theta": 1000000.0,
        "rms_norm_eps": 1e-06,
        "use_cache": True,
        "use_sliding_window": False,
        "sliding_window": 32768,
        "max_window_layers": LAYERS,
        "tie_word_embeddings": True,
        "rope_scaling": {"type": "default", "rope_type": "default", "mrope_section": [8, 12, 12]},
    },
    "vision_config": {
        "model_type": "qwen2_5_vl",
        "depth": V_DEPTH,
        "hidden_size": V_HIDDEN,
        "num_heads": V_HEADS,
        "intermediate_size": V_FFN,
        "out_hidden_size": HIDDEN,
        "hidden_act": "silu",
        "in_channels": 3,
        "in_chans": 3,
        "initializer_range": 0.02,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": T_PATCH,
        "tokens_per_second": 2,
        "window_size": 112,
        "fullatt_block_indexes": [1],
    },
}
GENERATION_CONFIG = {
    "bos_token_id": 151643,
    "pad_token_id": 151643,
    "eos_token_id": [151645, 151643],
    "do_sample": True,
    "repetition_penalty": 1.05,
    "temperature": 1e-06,
}


def shapes():
    """Name on disk -> shape. The head is tied to the embeddings: there is no lm_head."""
    s = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        s[p + "input_layernorm.weight"] = s[p + "post_attention_layernorm.weight"] = (HIDDEN,)
        for n, o in (("q", HEADS * HEAD_DIM), ("k", KV_HEADS * HEAD_DIM), ("v", KV_HEADS * HEAD_DIM)):
            s[p + f"self_attn.{n}_proj.weight"] = (o, HIDDEN)
            s[p + f"self_attn.{n}_proj.bias"] = (o,)
        s[p + "self_attn.o_proj.weight"] = (HIDDEN, HEADS * HEAD_DIM)
        s[p + "mlp.gate_proj.weight"] = s[p + "mlp.up_proj.weight"] = (FFN, HIDDEN)
        s[p + "mlp.down_proj.weight"] = (HIDDEN, FFN)
    s["visual.patch_embed.proj.weight"] = (V_HIDDEN, 3, T_PATCH, PATCH, PATCH)
    for i in range(V_DEPTH):
        p = f"visual.blocks.{i}."
        s[p + "norm1.weight"] = s[p + "norm2.weight"] = (V_HIDDEN,)
        linears = {
            "attn.qkv": (3 * V_HIDDEN, V_HIDDEN),
            "attn.proj": (V_HIDDEN, V_HIDDEN),
            "mlp.gate_proj": (V_FFN, V_HIDDEN),
            "mlp.up_proj": (V_FFN, V_HIDDEN),
            "mlp.down_proj": (V_HIDDEN, V_FFN),
        }
        for n, (o, k) in linears.items():
            s[p + n + ".weight"], s[p + n + ".bias"] = (o, k), (o,)
    m = V_HIDDEN * MERGE * MERGE
    s["visual.merger.ln_q.weight"] = (V_HIDDEN,)
    s["visual.merger.mlp.0.weight"], s["visual.merger.mlp.0.bias"] = (m, m), (m,)
    s["visual.merger.mlp.2.weight"], s["visual.merger.mlp.2.bias"] = (HIDDEN, m), (HIDDEN,)
    return s


def std(name, shape):
    """Standard deviation of a tensor; None: it is all ones."""
    if len(shape) < 2:
        return 0.1 if name.endswith("bias") else None
    if "embed_tokens" in name:
        return 0.1
    return (2.0 if "q_proj" in name or "k_proj" in name else 1.0) / math.sqrt(math.prod(shape[1:]))


def bell(name, n):
    """N float64, about normal(0, 1): the 16-bit fields of each 64-bit draw summed, centred and scaled."""
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:16], 16)
    r = np.random.PCG64(seed).random_raw(n)
    s = sum(((r >> np.uint64(16 * k)) & np.uint64(0xFFFF)).astype(np.int64) for k in range(4)) - 2 * 65535
    return s / math.sqrt(4 * (65536**2 - 1) / 12)


def to_bf16_bits(x):
    """The 16 bits of the bfloat16 nearest to each float32, ties to even."""
    u = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(
        np.uint16
    )


def tensor_bits(name, shape):
    """The tensor as bfloat16 bits (uint16 array)."""
    sd = std(name, shape)
    if sd is None:
        return to_bf16_bits(np.ones(shape, np.float32))
    return to_bf16_bits((bell(name, math.prod(shape)) * sd).astype(np.float32).reshape(shape))


def main(out):
    """Write the checkpoint into the folder `out`."""
    os.makedirs(out, exist_ok=True)
    for f, d in (("config.json", CONFIG), ("generation_config.json", GENERATION_CONFIG)):
        with open(os.path.join(out, f), "w") as h:
            json.dump(d, h, indent=2)
    sh, head, pos = dict(sorted(shapes().items())), {"__metadata__": {"format": "pt"}}, 0
    for n, s in sh.items():
        size = 2 * math.prod(s)
        head[n] = {"dtype": "BF16", "shape": list(s), "data_offsets": [pos, pos + size]}
        pos += size
    h = json.dumps(head, separators=(",", ":")).encode()
    h += b" " * (-len(h) % 8)
    digest = hashlib.sha256()
    with open(os.path.join(out, "model.safetensors"), "wb") as f:
        for b in (len(h).to_bytes(8, "little"), h):
            f.write(b)
            digest.update(b)
        for n, s in sh.items():
            b = tensor_bits(n, s).astype("<u2").tobytes()
            f.write(b)
            digest.update(b)
    print(len(sh), "tensors,", pos // 2, "parameters, model.safetensors sha256", digest.hexdigest())


if __name__ == "__main__":
    main(sys.argv[1])
