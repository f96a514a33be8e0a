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

"""The tiny model's tokenizer: byte-level BPE of the Qwen kind; every word of the world is one token."""

from __future__ import annotations

from itertools import product

from svlm_core.stream.protocol import SILENCE
from svlm_core.world.scene import COLOURS, DIGITS, DIRECTIONS, ENTERS_HEADING
from tokenizers import decoders, models, pre_tokenizers, Tokenizer, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|video_pad|>",
    "<|image_pad|>",
)
_ROLES = ("system", "user", "assistant", "previous text")
_VOCABULARY = 512  # an upper bound; the words below need about 370
_REPEATS = 20  # often enough that every word is merged into one token


def world_sentences() -> list[str]:
    """Every sentence of the world's grammar."""
    enters = [f"{kind} {colour} {digit}" for kind, colour, digit in product(("new", "back"), COLOURS, DIGITS)]
    goes = [f"{colour} goes {direction}" for colour, direction in product(COLOURS, DIRECTIONS)]
    gone = [f"{colour} gone {side}" for colour, side in product(COLOURS, ENTERS_HEADING)]
    return enters + goes + gone + [f"{colour} stops" for colour in COLOURS]


def build_tokenizer(system_prompt: str) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the grammar, the chat roles and the system prompt; deterministic."""
    lines = [f" {sentence}{SILENCE}" for sentence in world_sentences()]
    lines += [f"{role}\n" for role in _ROLES] + [system_prompt]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(lines * _REPEATS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>")
