"""The token stream: the one place that says which tokens a stream is made of.

Training renders its samples here and streaming appends its rounds here, so both see the same text. The
stream is a list of typed segments; nothing is ever found again by scanning token ids.

    system | previous text: open, content, close | [query] | (user | assistant: open, speech, close) per chunk

Two presets. `streamingvlm` is what the released StreamingVLM checkpoints were trained on (arXiv 2510.09608,
reference implementation): the query rides in the first chunk and leaves with it. `svlm` keeps the query in
the head, for as long as the stream runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from svlm_core.cache.segments import HEAD, Role, Segment, VisionSpan
from svlm_core.config import StreamConfig
from svlm_core.errors import ModelError

SILENCE = " ..."  # said by itself: nothing new; behind a phrase: the phrase ends here
_SPECIAL = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>")


@dataclass(frozen=True)
class Answer:
    """What the model said in one chunk, taken apart."""

    speech: list[int]
    close: list[int]  # silence mark if it was said, end of turn, newline


@dataclass(frozen=True)
class Protocol:
    """Renders the token stream with one tokenizer.

    Attributes:
        tokenizer: any tokenizer that has the Qwen chat and vision tokens.
        query_in_head: keep the query before the rounds; else it rides in the first chunk.
        time_text: write `Time=a-bs` before each chunk's frames.
    """

    tokenizer: PreTrainedTokenizerBase
    query_in_head: bool = True
    time_text: bool = True
    _special: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Look the special tokens up by name; ModelError names the first that the tokenizer lacks."""
        vocabulary = self.tokenizer.get_vocab()
        for token in _SPECIAL:
            if token not in vocabulary:
                raise ModelError(f"the tokenizer has no {token} token: not a chat model with video")
        object.__setattr__(self, "_special", {token: vocabulary[token] for token in _SPECIAL})

    @classmethod
    def from_config(cls, config: StreamConfig, tokenizer: PreTrainedTokenizerBase) -> Protocol:
        """The preset that `config.protocol` names."""
        return cls(tokenizer, config.protocol != "streamingvlm", config.time_text)

    @property
    def end_of_turn(self) -> int:
        """Id of <|im_end|>."""
        return self._special["<|im_end|>"]

    @property
    def silence(self) -> list[int]:
        """Ids of the silence mark."""
        return self.words(SILENCE)

    def words(self, text: str) -> list[int]:
        """Encode text that comes from outside: special tokens in it are plain characters."""
        return self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    def head(self, config: StreamConfig, previous: Sequence[int]) -> list[Segment]:
        """Everything before the first chunk; `previous` are the ids of the old text."""
        segments = [
            Segment(Role.SYSTEM, HEAD, self._turn("system", config.system_prompt)),
            Segment(Role.PREVIOUS_OPEN, HEAD, self._open("previous text")),
            Segment(Role.PREVIOUS, HEAD, list(previous)),
            Segment(Role.PREVIOUS_CLOSE, HEAD, self._close()),
        ]
        if self.query_in_head and config.prompt:
            segments.append(Segment(Role.QUERY, HEAD, self._turn("user", config.prompt)))
        return segments

    def user(
        self, chunk: int, chunk_s: float, grid: tuple[int, int, int], tokens: int, query: str = ""
    ) -> Segment:
        """The user turn of a chunk: its time, its frames and perhaps a query.

        Args:
            chunk: number of the chunk.
            chunk_s: length of a chunk, seconds.
            grid: (t, h, w) of the chunk's frames in patches.
            tokens: visual tokens they make.
            query: what the user asks, put behind the frames.
        """
        ids = self._open("user")
        if self.time_text:
            ids += self.words(f"Time={chunk * chunk_s:.1f}-{(chunk + 1) * chunk_s:.1f}s")
        ids.append(self._special["<|vision_start|>"])
        vision = VisionSpan(len(ids), tokens, grid)
        ids += [self._special["<|video_pad|>"]] * tokens
        ids += [self._special["<|vision_end|>"], *self.words(query), *self._close()]
        return Segment(Role.USER, chunk, ids, vision)

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

    def _open(self, role: str) -> list[int]:
        return [self._special["<|im_start|>"], *self.words(f"{role}\n")]

    def _close(self) -> list[int]:
        return [self.end_of_turn, *self.words("\n")]

    def _turn(self, role: str, text: str) -> list[int]:
        return [*self._open(role), *self.words(text), *self._close()]
