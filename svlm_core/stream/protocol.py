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

"""The token stream: the one place that says which tokens a stream is made of.

Training renders its samples here and streaming appends its rounds here, so both see the same text. The
stream is a list of typed segments; nothing is ever found again by scanning token ids.

    system | previous text: open, content, close | [query] | (user | assistant: open, speech, close) per chunk

Two presets. `streamingvlm` is what the released StreamingVLM checkpoints were trained on (arXiv 2510.09608,
reference implementation): the query rides in the first chunk and leaves with it. `svlm` keeps the query in
the head, for as long as the stream runs. How turns and pictures are written is the model family's dialect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from svlm_core.cache.segments import HEAD, Role, Segment, VisionSpan
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError, ModelError
from svlm_core.model.dialect import Dialect, QWEN
from transformers import PreTrainedTokenizerBase

SILENCE = " ..."  # said by itself: nothing new; behind a phrase: the phrase ends here


@dataclass(frozen=True)
class Answer:
    """What the model said in one chunk, taken apart."""

    speech: list[int]
    close: list[int]  # silence mark if it was said, end of turn, newline


@dataclass(frozen=True)
class Protocol:
    """Renders the token stream with one tokenizer.

    Attributes:
        tokenizer: any tokenizer that has the dialect's special tokens.
        query_in_head: keep the query before the rounds; else it rides in the first chunk.
        time_text: write `Time=a-bs` before each chunk's frames.
        dialect: how the model family writes turns and pictures.
    """

    tokenizer: PreTrainedTokenizerBase
    query_in_head: bool = True
    time_text: bool = True
    dialect: Dialect = QWEN
    _special: dict[str, int] = field(init=False, repr=False)
    _encoded: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Look the special tokens up by name; ModelError names the first that the tokenizer lacks."""
        special = {}
        for token in self.dialect.special_tokens:  # not by get_vocab: of 150,000 tokens that takes 0.1 s
            number = self.tokenizer.convert_tokens_to_ids(token)
            if number is None or self.tokenizer.convert_ids_to_tokens(number) != token:
                raise ModelError(f"the tokenizer has no {token} token: not a chat model with video")
            special[token] = number
        object.__setattr__(self, "_special", special)

    @classmethod
    def from_config(
        cls, config: StreamConfig, tokenizer: PreTrainedTokenizerBase, dialect: Dialect = QWEN
    ) -> Protocol:
        """The preset that `config.protocol` names.

        Raises:
            ConfigError: the preset is streamingvlm and the dialect not the one of its checkpoints.
            ModelError: the tokenizer lacks a special token.
        """
        published = config.protocol == "streamingvlm"
        if published and dialect != QWEN:
            raise ConfigError(
                "protocol streamingvlm is the token stream of the released StreamingVLM checkpoints, which "
                "are of the Qwen2.5-VL kind; this model writes turns and pictures in another way: "
                "set protocol to svlm"
            )
        return cls(tokenizer, not published, config.time_text, dialect)

    @property
    def end_of_turn(self) -> int:
        """Id of the special token that ends a turn."""
        return self._special[self.dialect.end_of_turn]

    @property
    def silence(self) -> list[int]:
        """Ids of the silence mark."""
        return self._fixed(SILENCE)

    def words(self, text: str) -> list[int]:
        """Encode text that comes from outside: special tokens in it are plain characters."""
        return (
            self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True) if text else []
        )

    def head(self, config: StreamConfig, previous: Sequence[int]) -> list[Segment]:
        """Everything before the first chunk; `previous` are the ids of the old text."""
        begin = self._specials(self.dialect.begin)
        segments = [
            Segment(Role.SYSTEM, HEAD, [*begin, *self._turn("system", config.system_prompt)]),
            Segment(Role.PREVIOUS_OPEN, HEAD, self._open("previous text")),
            Segment(Role.PREVIOUS, HEAD, list(previous)),
            Segment(Role.PREVIOUS_CLOSE, HEAD, self._close()),
        ]
        if self.query_in_head and config.prompt:
            segments.append(Segment(Role.QUERY, HEAD, self._turn("user", config.prompt)))
        return segments

    def user(
        self, chunk: int, chunk_s: float, grid: tuple[int, int, int], tokens: int, *queries: str
    ) -> list[Segment]:
        """The user turn of a chunk: its time, its frames and perhaps queries.

        Args:
            chunk: number of the chunk.
            chunk_s: length of a chunk, seconds.
            grid: (t, h, w) of the chunk's frames in patches.
            tokens: visual tokens they make.
            queries: what the user asks, put behind the frames, each on a line of its own; empty ones are left
                out.

        Returns:
            One segment for each block of visual tokens: one in all, or, if the dialect wants it so, one for
            each of the t temporal steps. The first opens the turn, the last closes it.
        """
        dialect = self.dialect
        blocks = grid[0] if dialect.block_per_step else 1
        block = (grid[0] // blocks, *grid[1:])
        ids = self._open("user")
        if self.time_text:
            time = f"Time={chunk * chunk_s:.1f}-{(chunk + 1) * chunk_s:.1f}s"
            ids += self.words(dialect.before_words + time)
        segments = []
        for _ in range(blocks):
            ids += self._specials(*dialect.vision_open)
            vision = VisionSpan(len(ids), tokens // blocks, block)
            ids += self._specials(dialect.visual_token) * vision.tokens
            ids += self._specials(*dialect.vision_close)
            segments.append(Segment(Role.USER, chunk, ids, vision))
            ids = []
        asked = [self.words(query) for query in queries if query]
        for i, words in enumerate(asked):
            segments[-1].ids += [*(self._fixed("\n") if i else []), *words]
        segments[-1].ids += self._close()
        return segments

    def answer_open(self, chunk: int) -> Segment:
        """The opening of the assistant's turn, after which the model speaks."""
        return Segment(Role.ANSWER_OPEN, chunk, self._open("assistant"))

    def take_apart(self, said: Sequence[int]) -> Answer:
        """Split generated ids into the words and the closing that the next prefill completes."""
        words = list(said)
        if words and words[-1] == self.end_of_turn:
            words.pop()
        mark = self.silence
        marked = words[len(words) - len(mark) :] == mark
        speech = words[: len(words) - len(mark)] if marked else words
        return Answer(speech, (mark if marked else []) + self._close())

    def answer(self, sentence: str | None) -> list[int]:
        """What the assistant should say in a chunk, end of turn included (training targets)."""
        return [*(self.words(f" {sentence}") if sentence else []), *self.silence, self.end_of_turn]

    def _fixed(self, text: str) -> list[int]:
        """Encode text that every chunk has, once; a list of its own each time."""
        if text not in self._encoded:
            self._encoded[text] = self.words(text)
        return list(self._encoded[text])

    def _specials(self, *tokens: str) -> list[int]:
        """Ids of special tokens; "" is none."""
        return [self._special[token] for token in tokens if token]

    def _open(self, role: str) -> list[int]:
        dialect = self.dialect
        name = role.capitalize() if dialect.capital_roles else role
        return [*self._specials(dialect.turn), *self._fixed(name + dialect.after_role)]

    def _close(self) -> list[int]:
        return [self.end_of_turn, *self._fixed("\n")]

    def _turn(self, role: str, text: str) -> list[int]:
        return [*self._open(role), *self.words(self.dialect.before_words + text), *self._close()]
