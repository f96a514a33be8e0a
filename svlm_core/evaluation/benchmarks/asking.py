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

"""Questions put to a model about moments of a video: on the streaming path, or on the offline path.

Streaming: the video runs once, from its beginning, under the stream's policy, with the stream's memory. A
question rides in the chunk of its moment, on a copy of the stream that is thrown away with the answer. So the
stream never hears of it, questions do not colour one another, and no answer sees more than that chunk.
Offline: each question gets frames spread evenly over all that came before its moment, at once, and no stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
import math

import numpy as np
from svlm_core.config import StreamConfig
from svlm_core.errors import ConfigError
from svlm_core.evaluation.benchmarks.question import Question
from svlm_core.evaluation.recording import Progress
from svlm_core.evaluation.thumbnail import thumbnail
from svlm_core.frames import Chunk, Frame
from svlm_core.model.adapter import StreamModel
from svlm_core.model.vision import VisionInput
from svlm_core.sources.source import Source
from svlm_core.stream.budget import ChunkBudget
from svlm_core.stream.query import Query
from svlm_core.stream.result import ChunkResult
from svlm_core.stream.run import StreamRun
from svlm_core.stream.session import Hear, StreamSession

_OFFLINE_MARGIN_TOKENS = 1024  # of the offline path's cache, for all that is neither frames nor question


@dataclass(frozen=True)
class Answer:
    """What a model said to a question.

    Attributes:
        question: what was asked.
        reply: its words.
        seen_until_s: end of the last chunk it had seen, seconds since the stream's beginning.
        ms: wall time of the answer's chunk, milliseconds.
        jpeg: the newest frame it saw, small.
    """

    question: Question
    reply: str
    seen_until_s: float
    ms: float
    jpeg: bytes


class AskingSession(StreamSession):
    """A stream to which questions are put aside.

    Attributes:
        answers: those so far, in the order of their moments.
    """

    def __init__(self, model: StreamModel, config: StreamConfig, questions: Iterable[Question]) -> None:
        """Prepare a stream.

        Args:
            model: the model.
            config: the stream's settings; its cache gets room for the longest question beside them.
            questions: all of one stretch of video.

        Raises:
            ConfigError: the policy cannot be copied.
        """
        waiting = [(_chunk_of(question, config.chunk_s), question) for question in questions]
        longest = max((_tokens(model, question) for _, question in waiting), default=0)
        super().__init__(model, config, spare_tokens=longest)
        if self._policy.recompute:
            raise ConfigError(
                f"policy {config.policy} computes its window anew from pictures and cannot be asked aside; "
                "take another --policy"
            )
        self._waiting = sorted(waiting, key=lambda pair: (pair[0], pair[1].id), reverse=True)
        self.answers: list[Answer] = []

    def step(
        self,
        chunk: Chunk,
        vision: VisionInput | None = None,
        budget: ChunkBudget | None = None,
        query: Query | None = None,
        hear: Hear | None = None,
    ) -> ChunkResult:
        """As StreamSession.step, after the questions of this chunk have been answered."""
        vision = vision or self.preprocess(chunk)
        while self._waiting and self._waiting[-1][0] <= chunk.index:
            question = self._waiting.pop()[1]
            result = self._aside(chunk, vision, Query(question.text, question.id))
            self.answers.append(_answer(question, result, chunk, self.config.chunk_s))
        return super().step(chunk, vision, budget, query, hear)

    def check_query(self, query: Query) -> None:
        """Any question of this benchmark may be asked: there is room."""

    @property
    def done(self) -> bool:
        """Whether all questions have been answered; the rest of the video is of no use then."""
        return not self._waiting

    def _aside(self, chunk: Chunk, vision: VisionInput, query: Query) -> ChunkResult:
        if not self.cache_tokens:
            result = super().step(chunk, vision, None, query)
            self.reset()
            return result
        tensors, plain = self.freeze()
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}  # some share the stream's memory
        plain = deepcopy(plain)
        result = super().step(chunk, vision, None, query)
        self.thaw(tensors, plain)
        return result


def answer_streaming(
    model: StreamModel,
    config: StreamConfig,
    source: Source,
    questions: Sequence[Question],
    progress: Progress,
) -> list[Answer]:
    """Stream a video and answer questions as their moments come.

    Args:
        model: the model.
        config: the stream's settings.
        source: begins where the questions' start_s says.
        questions: all about this source.
        progress: shows answers.

    Returns:
        Answers to all questions whose moment the video reaches.

    Raises:
        SvlmError: the video or the stream broke; its `answers` are what there was until then.
    """
    session = AskingSession(model, config, questions)
    answered = 0
    try:
        for _ in StreamRun(source, session):
            if len(session.answers) > answered:
                progress.update(len(session.answers) - answered)
                answered = len(session.answers)
            if session.done:
                source.close()
                break
    except Exception as error:
        error.answers = session.answers  # type: ignore[attr-defined]
        raise
    return session.answers


def answer_offline(
    model: StreamModel, config: StreamConfig, source: Source, question: Question, frames: int
) -> Answer:
    """Answer one question from frames spread evenly over a source that ends at the question's moment.

    Raises:
        SvlmError: the source broke or is empty, or the frames are too many for the model.
    """
    shown = sample_evenly(source, frames)
    if not shown:
        raise ConfigError(f"{source.name}: no frame before {question.at_s:g} s")
    chunk = Chunk(0, tuple(shown))
    vision = model.preprocess(chunk.rgb(), config.min_visual_tokens, config.max_visual_tokens)
    whole = with_room_for(model, config, [question])
    capacity = vision.tokens + whole.max_query_tokens + whole.max_new_tokens + _OFFLINE_MARGIN_TOKENS
    fields = {"policy": "full", "time_text": False, "full_capacity_tokens": capacity}
    session = StreamSession(model, whole.replace(fields, "--offline-path"))
    result = session.step(chunk, vision, None, Query(question.text, question.id))
    return _answer(question, result, chunk, question.at_s - question.start_s)


def with_room_for(model: StreamModel, config: StreamConfig, questions: Iterable[Question]) -> StreamConfig:
    """The settings with a max_query_tokens that lets all questions be asked."""
    most = max([config.max_query_tokens, *(_tokens(model, question) for question in questions)])
    return config.replace({"max_query_tokens": most}, "the longest question")


def sample_evenly(frames: Iterable[Frame], most: int) -> list[Frame]:
    """At most so many of the frames, evenly spread, the last one included; memory for three times as many."""
    kept: list[Frame] = []
    stride, last = 1, None
    for number, frame in enumerate(frames):
        last = frame
        if number % stride == 0:
            kept.append(frame)
            if len(kept) > 2 * most:
                kept, stride = kept[::2], 2 * stride
    if last is None:
        return []
    if kept[-1] is not last:
        kept.append(last)
    return [kept[i] for i in np.unique(np.linspace(len(kept) - 1, 0, most).round().astype(int))]


def _tokens(model: StreamModel, question: Question) -> int:
    return len(model.tokenizer.encode(question.text, add_special_tokens=False, split_special_tokens=True))


def _chunk_of(question: Question, chunk_s: float) -> int:
    """The chunk in which the moment lies, or that ends at it."""
    return max(0, math.ceil((question.at_s - question.start_s) / chunk_s) - 1)


def _answer(question: Question, result: ChunkResult, chunk: Chunk, chunk_s: float) -> Answer:
    until_s = (chunk.index + 1) * chunk_s
    return Answer(
        question, result.text, until_s, sum(result.stage_ms.values()), thumbnail(chunk.frames[-1].rgb)
    )
