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

"""A baseline without a stream: a model behind an endpoint that captions one chunk after another."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from itertools import groupby
import re

import cv2
from svlm_core.chat.client import ChatClient, Message
from svlm_core.chat.reply import NoReplyError
from svlm_core.errors import ConfigError
from svlm_core.evaluation.benchmarks.asking import sample_evenly
from svlm_core.evaluation.benchmarks.narration import Narration, Spoken
from svlm_core.evaluation.recording import Progress
from svlm_core.frames import Frame, NS_PER_S
from svlm_core.sources.source import Source

_WIDTH_PX = 512
_JPEG_QUALITY = 85
_OWN_WORDS = 100  # of what it said itself, handed on from chunk to chunk
_TASK = (
    "You comment live on a video. You see frames of its next stretch, in order. Say in plain, short "
    "sentences what happens in them, as on air. No lists, no headings, nothing about the frames "
    "themselves, nothing that cannot be seen."
)


class CaptionerSide:
    """Captions chunks of a video through an endpoint.

    Attributes:
        name: for tables.
    """

    def __init__(self, client: ChatClient, chunk_s: float, frames: int) -> None:
        """Prepare.

        Args:
            client: asks the model.
            chunk_s: length of a chunk, seconds.
            frames: pictures of a chunk.

        Raises:
            ConfigError: one of them is out of range.
        """
        if chunk_s < 1 or frames < 1:
            raise ConfigError("a captioner needs chunks of at least a second, and at least one frame of each")
        self.name = f"captioner {client.endpoint.model}"
        self._client, self._chunk_s, self._frames = client, chunk_s, frames

    def narrate(
        self, source: Source, start_s: float, prompt: str, previous: str, progress: Progress
    ) -> Narration:
        """As Side.narrate; a chunk without a reply ends the narration."""
        spoken: list[Spoken] = []
        end_s = start_s
        for index, frames in self._chunks(source):
            begin_s = start_s + index * self._chunk_s
            own = " ".join(words.text for words in spoken).split()[-_OWN_WORDS:]
            said_before = " ".join([*previous.split(), *own])
            try:
                reply = self._client.ask(_messages(frames, prompt, said_before), str)
            except NoReplyError as error:
                return Narration(start_s, end_s, spoken, stopped=f"at {begin_s:g} s: {error}")
            end_s = begin_s + (frames[-1].stamp_ns / NS_PER_S - index * self._chunk_s)
            end_s = min(begin_s + self._chunk_s, max(end_s, begin_s + 1))
            spoken += _spread(reply, begin_s, end_s)
            progress.update(round(end_s - begin_s))
        return Narration(start_s, end_s, spoken)

    def _chunks(self, source: Source) -> Iterator[tuple[int, list[Frame]]]:
        for index, frames in groupby(source, lambda frame: int(frame.stamp_ns / NS_PER_S // self._chunk_s)):
            yield index, sample_evenly(frames, self._frames)


def _messages(frames: list[Frame], prompt: str, previous: str) -> list[Message]:
    words = [prompt] if prompt else []
    if previous:
        words.append(f"Said before: {previous}")
    content: list[Message] = [{"type": "text", "text": "\n".join([*words, "Go on."])}]
    for frame in frames:
        url = f"data:image/jpeg;base64,{b64encode(_jpeg(frame)).decode()}"
        content.append({"type": "image_url", "image_url": {"url": url}})
    return [{"role": "system", "content": _TASK}, {"role": "user", "content": content}]


def _jpeg(frame: Frame) -> bytes:
    height, width = frame.size_px
    rgb = frame.rgb
    if width > _WIDTH_PX:
        size = (_WIDTH_PX, max(1, round(height * _WIDTH_PX / width)))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)[1].tobytes()


def _spread(reply: str, begin_s: float, end_s: float) -> list[Spoken]:
    """A caption's sentences, spread evenly over its chunk: it says what, not when."""
    sentences = [s for s in re.split(r"(?<=[.!?])\s+", " ".join(reply.split())) if s]
    step_s = (end_s - begin_s) / max(1, len(sentences))
    return [
        Spoken(round(begin_s + i * step_s, 6), round(begin_s + (i + 1) * step_s, 6), sentence)
        for i, sentence in enumerate(sentences)
    ]
