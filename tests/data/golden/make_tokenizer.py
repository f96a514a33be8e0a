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

"""Write the Qwen2 tokenizer and Qwen2.5-VL processor files from the vocabulary qwen.tiktoken.

Usage: python make_tokenizer.py QWEN_TIKTOKEN OUT_DIR
It needs only the standard library to write, and checks the result with `tokenizers` if installed.
QWEN_TIKTOKEN: resources/qwen.tiktoken of the PyPI package dashscope (Apache-2.0),
sha256 b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186
"""

import base64
import hashlib
import json
import os
import sys

SHA = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
PLAIN = [
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
]
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_letters():
    """GPT-2's printable letter for each byte."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    d, n = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in d:
            d[b] = chr(256 + n)
            n += 1
    return d


def ranks_and_merges(path):
    """The vocabulary in GPT-2's letters with its ranks, and the merges that make each token."""
    with open(path, "rb") as f:
        raw = f.read()
    if hashlib.sha256(raw).hexdigest() != SHA:
        print("warning: not the qwen.tiktoken these files were first made from")
    ranks = {base64.b64decode(t): int(r) for t, r in (ln.split() for ln in raw.splitlines() if ln)}
    assert len(ranks) == 151643
    b2u = byte_letters()

    def u(b):
        return "".join(b2u[x] for x in b)

    def pair(tok, limit):
        """The two tokens whose merge makes tok: byte-pair encode it with the merges that come before it."""
        parts = [tok[i : i + 1] for i in range(len(tok))]
        while True:
            best = None
            for i in range(len(parts) - 1):
                r = ranks.get(parts[i] + parts[i + 1])
                if r is not None and r < limit and (best is None or r < best[0]):
                    best = (r, i)
            if best is None:
                return parts
            i = best[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]

    merges = []
    for tok, r in sorted(ranks.items(), key=lambda kv: kv[1]):
        if len(tok) > 1:
            p = pair(tok, r)
            assert len(p) == 2, (tok, r)
            merges.append((u(p[0]), u(p[1])))
    return {u(t): r for t, r in sorted(ranks.items(), key=lambda kv: kv[1])}, merges


def flags(s, **kw):
    """An added token as tokenizer_config.json describes it."""
    return {"content": s, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, **kw}


def main(src, out):
    """Write the files into the folder `out`."""
    os.makedirs(out, exist_ok=True)
    vocab, merges = ranks_and_merges(src)

    def put(name, obj, **kw):
        with open(os.path.join(out, name), "w", encoding="utf-8") as f:
            f.write(obj if isinstance(obj, str) else json.dumps(obj, ensure_ascii=False, **kw))

    added = [(151643 + i, s, s in SPECIAL) for i, s in enumerate(SPECIAL + PLAIN)]
    put(
        "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": i,
                    "content": s,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "special": sp,
                }
                for i, s, sp in added
            ],
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False},
                    {
                        "type": "ByteLevel",
                        "add_prefix_space": False,
                        "trim_offsets": True,
                        "use_regex": False,
                    },
                ],
            },
            "post_processor": {
                "type": "ByteLevel",
                "add_prefix_space": True,
                "trim_offsets": False,
                "use_regex": True,
            },
            "decoder": {
                "type": "ByteLevel",
                "add_prefix_space": True,
                "trim_offsets": True,
                "use_regex": True,
            },
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": "",
                "end_of_word_suffix": "",
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": vocab,
                "merges": [list(m) for m in merges],
            },
        },
        indent=2,
    )
    put("vocab.json", vocab)  # these two for the slow (pure python) tokenizer
    put("merges.txt", "#version: 0.2\n" + "\n".join(" ".join(m) for m in merges) + "\n")
    put("added_tokens.json", {s: i for i, s, _ in added}, indent=2)
    put(
        "special_tokens_map.json",
        {
            "additional_special_tokens": [flags(s) for s in SPECIAL[1:]],
            "eos_token": "<|im_end|>",
            "pad_token": flags(SPECIAL[0]),
            "unk_token": flags(SPECIAL[0]),
        },
        indent=2,
    )
    put(
        "tokenizer_config.json",
        {
            "added_tokens_decoder": {str(i): flags(s, special=sp) for i, s, sp in added},
            "additional_special_tokens": SPECIAL[1:],
            "bos_token": None,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "extra_special_tokens": {},
            "model_max_length": 131072,
            "pad_token": "<|endoftext|>",
            "processor_class": "Qwen2_5_VLProcessor",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": "<|endoftext|>",
        },
        indent=2,
    )
    px = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "max_pixels": 12845056,
        "merge_size": 2,
        "min_pixels": 3136,
        "patch_size": 14,
        "processor_class": "Qwen2_5_VLProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": 12845056, "shortest_edge": 3136},
        "temporal_patch_size": 2,
    }
    put("preprocessor_config.json", {**px, "image_processor_type": "Qwen2VLImageProcessor"}, indent=2)
    put(
        "video_preprocessor_config.json",
        {
            **px,
            "data_format": "channels_first",
            "default_to_square": True,
            "video_processor_type": "Qwen2VLVideoProcessor",
        },
        indent=2,
    )
    try:
        from tokenizers import Tokenizer
    except ImportError:
        print("written; `tokenizers` not installed, not checked")
        return
    tk = Tokenizer.from_file(os.path.join(out, "tokenizer.json"))

    def e(s):
        return tk.encode(s, add_special_tokens=False).ids

    assert all(e(s) == [i] for i, s, _ in added)
    assert (
        e("previous text\n") == [19702, 1467, 198]
        and e("user") == [872]
        and e("assistant") == [77091]
        and e(" ...") == [2503]
    )
    print("written and checked; 'Time=12.0-13.0s' ->", e("Time=12.0-13.0s"))


if __name__ == "__main__":
    main(*sys.argv[1:3])
