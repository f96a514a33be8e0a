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

"""The special tokens of a model family: how it writes turns and pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Dialect:
    """What `svlm_core.stream.protocol` renders a stream with.

    Attributes:
        begin: special token before everything else, once a stream; "" for none.
        turn: special token that begins a turn; "" where the role alone does.
        capital_roles: write roles with a capital: User.
        after_role: plain text between a role and its turn's content.
        before_words: plain text behind `after_role` where the content begins with words, not with a picture.
        end_of_turn: special token that ends a turn; a newline follows.
        vision_open: special tokens before a block of visual tokens.
        visual_token: special token that stands for one visual token.
        vision_close: special tokens behind a block.
        block_per_step: each temporal step is a block of its own; else all frames of a chunk are one.
    """

    turn: str
    after_role: str
    end_of_turn: str
    vision_open: tuple[str, ...]
    visual_token: str
    vision_close: tuple[str, ...]
    begin: str = ""
    capital_roles: bool = False
    before_words: str = ""
    block_per_step: bool = False

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Every special token, each a single id of a tokenizer of the family."""
        turns = (self.begin, self.turn, self.end_of_turn)
        return tuple(filter(None, (*turns, *self.vision_open, *self.vision_close, self.visual_token)))


QWEN = Dialect(
    turn="<|im_start|>",
    after_role="\n",
    end_of_turn="<|im_end|>",
    vision_open=("<|vision_start|>",),
    visual_token="<|video_pad|>",
    vision_close=("<|vision_end|>",),
)
QWEN3 = replace(QWEN, block_per_step=True)
SMOL = Dialect(
    begin="<|im_start|>",
    turn="",
    capital_roles=True,
    after_role=":",
    before_words=" ",
    end_of_turn="<end_of_utterance>",
    vision_open=("<fake_token_around_image>", "<global-img>"),
    visual_token="<image>",
    vision_close=("<fake_token_around_image>",),
    block_per_step=True,
)
